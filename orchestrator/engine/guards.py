"""Guards: what a job may send of its next requests, before a batch is made of them.

Asked in the transaction that plans the batch, with the account locked: what several workers plan
at the same time is counted one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta

from sqlalchemy import Connection

from orchestrator.domain import budget
from orchestrator.domain.budget import Ceiling, Go, Limit, Stop, Wait, at_most, budget_of
from orchestrator.domain.charging import in_units, money
from orchestrator.domain.holds import (
    BUDGET,
    BUDGETS,
    DAY,
    NO_BOUND,
    NO_PRICE,
    NO_USAGE,
    OF_A_DAY,
    OTHER_CURRENCY,
    TOTAL,
    WHOLE_DAY,
)
from orchestrator.domain.model import Job
from orchestrator.domain.money import Money
from orchestrator.domain.pacing import seconds
from orchestrator.domain.packing import SizedRequest, load_of
from orchestrator.domain.profile import Price
from orchestrator.engine.context import Context, Told
from orchestrator.engine.ledger import in_flight, ratios, spent
from orchestrator.registry import identity, jobs


def lock_whole(ctx: Context, db: Connection) -> None:
    """Lock what all accounts share, where a limit is for all of them; before any account."""
    if ctx.budgets.per_day is not None:
        identity.lock(db)


def within_budget(
    ctx: Context, db: Connection, job: Job, model: str, members: list[SizedRequest]
) -> list[SizedRequest]:
    """Return those of the next requests that may be sent now; with none the job is put off.

    It is held with the reason where nothing in flight may change that.
    """
    wanted = tuple(_wanted(ctx, job))
    if not wanted:
        _let_go(ctx, db, job)
        return members
    prices = ctx.prices_from(job.provider, model, ctx.now().date())
    refused = _unkept(wanted, prices, members, model)
    if refused:
        return _held(ctx, db, job, *refused)
    decision = _decided(ctx, db, job, wanted, Ceiling.of(prices), members)
    if decision is None:
        return _held(ctx, db, job, NO_USAGE, f"what {job.name} has spent is not known: {_UNTOLD}")
    if isinstance(decision, Stop):
        return _held(ctx, db, job, decision.limit.code, _reached(decision.limit))
    _let_go(ctx, db, job)
    if isinstance(decision, Go):
        return members[: decision.count]
    # The batches of the job make it due again when they end; those of another job do not.
    later = ctx.pace.cap if decision.limit.code == BUDGET else ctx.pace.gate_probe
    jobs.set_due(db, job.id, ctx.now() + seconds(later))
    return []


def _decided(
    ctx: Context,
    db: Connection,
    job: Job,
    wanted: Sequence[tuple[str, str, Money]],
    ceiling: Ceiling,
    members: Sequence[SizedRequest],
) -> Go | Wait | Stop | None:
    """Hold the next requests against every limit; None where what was spent is not known."""
    # What is in flight is read before what was spent: what ends in between counts twice, not never.
    limits = [_limit(ctx, db, job, *each) for each in wanted]
    known = [limit for limit in limits if limit is not None]
    if len(known) < len(limits):
        return None
    ratio = ratios(db, [job.id]).get(job.id)
    costs = [at_most(load_of([member]), ceiling, ratio) or 0 for member in members]
    return budget.decide(known, costs)


_UNTOLD = "its answers tell no usage, or had no price on their day"


def _wanted(ctx: Context, job: Job) -> Iterator[tuple[str, str, Money]]:
    """Yield the limits that a job is under: code, whose it is, amount."""
    own = budget_of(job)
    theirs = ctx.budgets.of(job.provider)
    for code, whose, limit in (
        (BUDGET, f"the budget of {job.name}", own),
        (TOTAL, f"the budget of provider {job.provider}", theirs.total),
        (DAY, f"the budget a day of provider {job.provider}", theirs.per_day),
        (WHOLE_DAY, "the budget a day of all jobs", ctx.budgets.per_day),
    ):
        if limit is not None:
            yield code, whose, limit


def _unkept(
    wanted: Sequence[tuple[str, str, Money]],
    prices: Sequence[Price],
    members: Sequence[SizedRequest],
    model: str,
) -> tuple[str, str] | None:
    """Return why a limit can't be kept at all, if it can't: its code and words."""
    whose = wanted[0][1]
    if not prices:
        return NO_PRICE, f"{whose} can't be kept: the price of {model} is not known"
    currencies = {price.currency for price in prices} | {limit.currency for *_, limit in wanted}
    if len(currencies) > 1:
        listed = " and ".join(sorted(currencies))
        return OTHER_CURRENCY, f"{whose} can't be kept: {listed} can't be compared"
    if any(member.est_out is None for member in members):
        return NO_BOUND, f"{whose} can't be kept: answers of {model} have no bound (max_tokens)"
    return None


def _limit(
    ctx: Context, db: Connection, job: Job, code: str, whose: str, limit: Money
) -> Limit | None:
    """Return how far a limit is used; None where that is not known."""
    job_id = job.id if code == BUDGET else None
    provider = job.provider if code in {TOTAL, DAY} else None
    day = ctx.now().date().isoformat() if code in OF_A_DAY else None
    moving = in_flight(ctx, db, limit.currency, job_id=job_id, provider=provider)
    used = spent(ctx, db, limit.currency, job_id=job_id, provider=provider, day=day)
    if used is None:
        return None
    return Limit(
        code=code,
        whose=whose,
        money=limit,
        amount=in_units(limit.amount),
        spent=used,
        in_flight=moving,
    )


def _reached(limit: Limit) -> str:
    used = money(limit.spent, limit.money.currency).rounded()
    return f"{limit.whose} is reached: {used} of {limit.money} spent, the next request may pass it"


def _held(ctx: Context, db: Connection, job: Job, code: str, reason: str) -> list[SizedRequest]:
    now = ctx.now()
    jobs.hold(db, job, code=code, reason=reason, now=now, actor=ctx.actor)
    if job.hold_code != code:
        ctx.tell(Told(kind="Held", job=job, facts={"code": code, "reason": reason}))
    due_at = now + seconds(ctx.pace.cap)
    if code in OF_A_DAY:
        due_at = min(due_at, next_day(now))
    jobs.set_due(db, job.id, due_at)
    return []


def next_day(now: datetime) -> datetime:
    """Return when the next day begins, in UTC."""
    return datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def _let_go(ctx: Context, db: Connection, job: Job) -> None:
    if job.hold_code in BUDGETS:
        jobs.unhold(db, job, now=ctx.now(), actor=ctx.actor)
