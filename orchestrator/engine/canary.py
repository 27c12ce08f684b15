"""The canary of a job: its first records go ahead, are judged, and let the rest go or hold it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import Connection

from orchestrator.domain import canary as rules
from orchestrator.domain.answers import Checker
from orchestrator.domain.canary import Condition, Slice, Verdict
from orchestrator.domain.charging import priced_anew
from orchestrator.domain.holds import CANARY
from orchestrator.domain.model import Job, RequestState
from orchestrator.domain.spec import Canary, JobSpec
from orchestrator.engine.context import Context, Told
from orchestrator.provider.answer_text import answer_text
from orchestrator.registry import charges, events, jobs, requests, slices
from orchestrator.registry.requests import request_id

PASSED_WORD, FAILED_WORD, ACCEPTED_WORD = "passed", "failed", "accepted"
_SETTLED = frozenset({PASSED_WORD, ACCEPTED_WORD})


def frontier(ctx: Context, db: Connection, job: Job) -> int | None:
    """Return the first request that must wait for the canary's verdict; None when all may go.

    Judges the canary when each of its records has its outcome.
    """
    spec = ctx.spec_of(job)
    if spec.canary is None or job.canary in _SETTLED:
        return None
    end = request_id(job.id, spec.canary.records)
    if requests.open_below(db, job.id, end):
        if job.canary is not None:
            _out_again(ctx, db, job)
        return end
    if job.growing and job.books.records < spec.canary.records:
        return end
    if job.canary == FAILED_WORD:
        return end
    return None if _judged(ctx, db, job, spec, spec.canary) else end


def close(ctx: Context, db: Connection, job: Job) -> None:
    """Judge the canary of a job that ends with it: nothing is left to hold, but it is told."""
    spec = ctx.spec_of(job)
    if spec.canary is not None and job.canary is None and job.books.recorded:
        _judged(ctx, db, job, spec, spec.canary, hold=False)


def _out_again(ctx: Context, db: Connection, job: Job) -> None:
    """Let records of a failed canary that were asked for again be judged anew."""
    jobs.set_canary(db, job.id, None)
    if job.hold_code == CANARY:
        jobs.unhold(db, job, now=ctx.now(), actor=ctx.actor)


def _judged(
    ctx: Context, db: Connection, job: Job, spec: JobSpec, canary: Canary, *, hold: bool = True
) -> bool:
    """Judge the canary, once; return whether the rest may go."""
    conditions = [rules.read_condition(text) for text in canary.require]
    found = measure(ctx, db, job, spec, conditions)
    verdicts = rules.judge(found, conditions)
    broken = [verdict for verdict in verdicts if not verdict.holds]
    word = FAILED_WORD if broken else PASSED_WORD
    jobs.set_canary(db, job.id, word)
    data = {"records": found.records, "measured": [verdict.measured for verdict in verdicts]}
    data |= {"broken": [verdict.condition for verdict in broken]} if broken else {}
    now = ctx.now()
    events.record(db, f"canary_{word}", at=now, actor=ctx.actor, job_id=job.id, data=data)
    told = "; ".join(verdict.measured for verdict in verdicts)
    ctx.tell(Told(kind="CanaryJudged", job=job, facts={"word": word, "measured": told}))
    if broken and hold:
        reason = _words(found, verdicts, broken)
        jobs.hold(db, job, code=CANARY, reason=reason, now=now, actor=ctx.actor)
    return not broken


def _words(found: Slice, verdicts: Sequence[Verdict], broken: Sequence[Verdict]) -> str:
    told = "; ".join(f"{each.measured}, wanted {each.condition}" for each in broken)
    missed = f"{len(broken)} of {len(verdicts)} conditions"
    return f"its canary of {found.records:,} records misses {missed}: {told}"


def measure(
    ctx: Context, db: Connection, job: Job, spec: JobSpec, conditions: Sequence[Condition] = ()
) -> Slice:
    """Count what the first records of a job have brought; answers are read only for their JSON."""
    records = spec.canary.records if spec.canary else job.books.records
    by_state = slices.states(db, job.id, records)
    causes = slices.causes(db, job.id, records)
    told = slices.told(db, job.id, records)
    cost, currency = _cost(ctx, db, job)
    needs_json = any(condition.name == "valid_json" for condition in conditions)
    return Slice(
        records=sum(by_state.values()),
        succeeded=by_state.get(RequestState.SUCCEEDED, 0),
        failed=by_state.get(RequestState.FAILED, 0),
        expired=by_state.get(RequestState.EXPIRED, 0),
        cancelled=by_state.get(RequestState.CANCELLED, 0),
        refused=causes.get("refused", 0),
        invalid=causes.get("invalid", 0),
        valid_json=_valid(db, job, spec, records) if needs_json else 0,
        told=told.answers,
        tokens_in=told.tokens_in,
        tokens_out=told.tokens_out,
        cost=cost,
        currency=currency,
    )


def _valid(db: Connection, job: Job, spec: JobSpec, records: int) -> int:
    fits = _fits(spec)
    return sum(fits(answer_text(body) or "") for body in slices.bodies(db, job.id, records))


def _fits(spec: JobSpec) -> Callable[[str], bool]:
    """Return what says whether a text is JSON, and fits the job's schema if it has one."""
    if spec.answer is None:
        return _is_json
    checker = Checker(spec.answer)
    return lambda text: checker.check(text).value is not None


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _cost(ctx: Context, db: Connection, job: Job) -> tuple[int | None, str]:
    """Return what the job has cost so far, which is its canary's cost; None if that is unknown."""
    rows = charges.of_jobs(db, [job.id])[job.id]
    known = [priced_anew(row.charge, ctx.price(row.provider, row.model, row.day)) for row in rows]
    currencies = {each.currency for each in known}
    if any(each.unpriced for each in known) or len(currencies) != 1:
        return None, ""
    return sum(each.amount for each in known), currencies.pop()
