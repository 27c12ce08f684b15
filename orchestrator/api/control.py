"""Steer: pause, resume, cancel, retry. Each is one transaction, idempotent, and leaves events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from orchestrator.domain.auditing import CLONED
from orchestrator.domain.cost import estimate
from orchestrator.domain.errors import GuardError, NotFound
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import (
    Batch,
    BatchState,
    Gate,
    Job,
    JobState,
    RequestState,
    StageState,
)
from orchestrator.domain.money import Money
from orchestrator.domain.transitions import (
    JOB_FINAL,
    CancelAsked,
    Event,
    JobCancelAsked,
    Paused,
    ReleasedToCollected,
    ReleasedToCollecting,
    ReleasedToFollowing,
    ReleasedToLooking,
    Reopened,
    Resumed,
    Superseded,
)
from orchestrator.engine import canary, sharing
from orchestrator.engine.admission import check_raise
from orchestrator.engine.context import Context, Providers, read_spec
from orchestrator.engine.steps.withdraw import take_back
from orchestrator.registry import (
    accounts,
    batches,
    deliveries,
    events,
    jobs,
    repairs,
    requests,
    stages,
)
from orchestrator.registry.session import Registry
from orchestrator.registry.sharing import these
from orchestrator.registry.where import record_tests

_UNSENT = frozenset({BatchState.PLANNED, BatchState.BUILT, BatchState.UPLOADED})
_BEING_SENT = frozenset(
    {
        BatchState.UPLOADING,
        BatchState.UPLOAD_UNKNOWN,
        BatchState.CREATING,
        BatchState.CREATE_UNKNOWN,
    }
)


@dataclass(frozen=True)
class Steered:
    """What a command moved. All empty: nothing had to be done."""

    jobs: list[str] = field(default_factory=list)
    providers: list[str] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    records: int = 0
    stages: list[str] = field(default_factory=list)
    sinks: list[str] = field(default_factory=list)


class _Rehearsed(Exception):
    """Ends a rehearsal: what was moved is rolled back."""

    def __init__(self, done: Steered) -> None:
        super().__init__()
        self.done = done


def _run(ctx: Context, work: Callable[[Connection], Steered], *, dry_run: bool) -> Steered:
    """Do `work` in one transaction; a dry run does it all the same, and rolls it back."""
    if not dry_run:
        return _told_once(ctx, work)

    def rehearse(db: Connection) -> Steered:
        raise _Rehearsed(work(db))

    try:
        return ctx.registry.write(rehearse)
    except _Rehearsed as rehearsed:
        return rehearsed.done


def _told_once(ctx: Context, work: Callable[[Connection], Steered]) -> Steered:
    """Do `work` and return what its first run did.

    Run again after a commit that nobody acknowledged, it finds nothing left to do.
    """
    told: list[Steered] = []

    def telling(db: Connection) -> Steered:
        told.append(work(db))
        return told[0]

    return ctx.registry.write(telling)


def pause(
    ctx: Context, *, names: list[str], providers: list[str], dry_run: bool = False
) -> Steered:
    """Send nothing new for these jobs and providers; what is in flight is still collected."""
    now = ctx.now()

    def work(db: Connection) -> Steered:
        done = Steered()
        for job in _named(db, names):
            if job.state is JobState.RUNNING:
                jobs.move(db, job, Paused(), now=now, actor=ctx.actor)
                done.jobs.append(job.name)
        for provider in providers:
            if not accounts.ensure(db, provider, now).paused:
                _set_paused(ctx, db, provider, now, paused=True)
                done.providers.append(provider)
        return done

    return _run(ctx, work, dry_run=dry_run)


def resume(
    ctx: Context,
    *,
    names: list[str],
    providers: list[str],
    budget: Money | None = None,
    dry_run: bool = False,
) -> Steered:
    """Go on with jobs and providers; release parked batches and held sinks; open gates.

    A canary that has failed is accepted. `budget` is put in the place of the jobs' own. Raises
    BudgetExceeded for one in a currency that the job is not paid in.
    """
    now = ctx.now()

    def work(db: Connection) -> Steered:
        done = Steered()
        begun = _release_stages(ctx, db, names, done, now)
        for job in _named(db, begun):
            if job.state is JobState.PAUSED:
                jobs.move(db, job, Resumed(), now=now, actor=ctx.actor)
                done.jobs.append(job.name)
            if _let_go(ctx, db, job, budget, now) and job.name not in done.jobs:
                done.jobs.append(job.name)
            for batch in batches.parked(db, job.id):
                _release(ctx, db, batch, now)
                done.batches.append(f"{job.name}/{batch.label}")
            waiting = [batch.id for batch in batches.unfinished(db, job.id)]
            batches.hurry(db, waiting, now)
            jobs.set_due(db, job.id, now)
            released = deliveries.release(db, job, now=now, actor=ctx.actor)
            done.sinks.extend(delivery.name for delivery in released)
        for provider in providers:
            if _open(ctx, db, provider, now):
                done.providers.append(provider)
        return done

    return _run(ctx, work, dry_run=dry_run)


def _release_stages(
    ctx: Context, db: Connection, names: list[str], done: Steered, now: datetime
) -> list[str]:
    """Let held stages of these names try again; return the names that have a job."""
    for name in names:
        stage = stages.find(db, name)
        if stage is not None and stage.state is StageState.HELD:
            stages.resume(db, stage, now=now, actor=ctx.actor)
            done.stages.append(name)
    return [n for n in names if jobs.find(db, n) is not None or stages.find(db, n) is None]


def cancel_stage(ctx: Context, name: str, *, dry_run: bool = False) -> Steered:
    """End a stage of a workflow that has not begun: its job ends as cancelled, without a record.

    So whatever waits for it learns of it as of any other job that was cancelled.
    """
    now = ctx.now()

    def work(db: Connection) -> Steered:
        stage = stages.find(db, name)
        if stage is None or jobs.find(db, name) is not None:
            return Steered()
        spec = read_spec(stage.spec)
        job = jobs.add(
            db,
            name=name,
            provider=spec.provider,
            spec=stage.spec,
            digest=stage.digest,
            now=now,
            actor=ctx.actor,
        )
        if job is None:
            return Steered()
        stages.take_over(db, stage, state=StageState.FED, job_id=job.id, finished_at=now)
        jobs.move(db, job, JobCancelAsked(), now=now, actor=ctx.actor)
        return Steered(jobs=[name])

    return _run(ctx, work, dry_run=dry_run)


def cancel_job(ctx: Context, name: str, *, dry_run: bool = False) -> Steered:
    """Ask no further; what is finished already is still collected."""
    now = ctx.now()

    def work(db: Connection) -> Steered:
        (job,) = _named(db, [name])
        if job.state in JOB_FINAL or job.state is JobState.CANCELLING:
            return Steered()
        done = Steered(jobs=[name])
        job = jobs.move(db, jobs.lock(db, job.id), JobCancelAsked(), now=now, actor=ctx.actor)
        waiting = requests.cancel_pending(db, job.id, stamp=jobs.next_stamp(db, job.id))
        jobs.count(db, job.id, waiting=-waiting, cancelled=waiting)
        for batch in batches.unfinished(db, job.id):
            if batch.state is BatchState.LIVE and batch.cancel_asked_at is None:
                _ask_cancel(ctx, db, batch, now)
                done.batches.append(f"{name}/{batch.label}")
        batches.hurry(db, [batch.id for batch in batches.unfinished(db, job.id)], now)
        return Steered(jobs=done.jobs, batches=done.batches, records=waiting)

    return _run(ctx, work, dry_run=dry_run)


def cancel_batch(ctx: Context, job_name: str, number: int, *, dry_run: bool = False) -> Steered:
    """Cancel one batch: its finished answers are collected, its other requests are cancelled.

    Raises GuardError for a batch that is being sent at this moment.
    """
    now = ctx.now()

    def work(db: Connection) -> Steered:
        (job,) = _named(db, [job_name])
        batch = batches.find(db, job_id=job.id, number=number)
        if batch is None:
            raise NotFound(
                f"job {job_name} has no batch b{number:02d}", next="orchestrator batches"
            )
        label = f"{job_name}/{batch.label}"
        if batch.state in _BEING_SENT:
            raise GuardError(
                f"{label} is being sent right now",
                code="ORC7007",
                why=f"it is {batch.state}: whether the provider has it is not settled yet",
                safe="nothing was changed",
                next=f"orchestrator explain {label}, and cancel it when it is live",
            )
        if batch.state is BatchState.LIVE and batch.cancel_asked_at is None:
            _ask_cancel(ctx, db, batch, now)
            return Steered(batches=[label])
        if batch.state in _UNSENT or (batch.state is BatchState.PARKED and batch.remote_id is None):
            count = _drop(ctx, db, batch, now)
            return Steered(batches=[label], records=count)
        return Steered()

    return _run(ctx, work, dry_run=dry_run)


def retry(
    ctx: Context, name: str, where: Filter, *, provider: str | None = None, dry_run: bool = False
) -> Steered:
    """Reopen failed and expired records of a job, all or those that match; say how many."""
    now = ctx.now()

    def work(db: Connection) -> Steered:
        (job,) = _named(db, [name])
        ids = requests.failed_ids(db, job.id, record_tests(where, db.dialect.name))
        if not ids:
            return Steered(jobs=[name], records=len(ids))
        if job.state in {JobState.CANCELLING, JobState.CANCELLED}:
            raise GuardError(
                f"job {name} is {job.state}; what was cancelled is not asked again",
                code="ORC7008",
                safe="nothing was changed",
                next="submit the records under another name",
            )
        job = jobs.move(db, jobs.lock(db, job.id), Reopened(), now=now, actor=ctx.actor)
        repairs.clear(db, ids)
        reopened = requests.reopen(db, ids)
        moved = sum(reopened.values())
        delta = {word: -count for word, count in reopened.items()}
        jobs.count(db, job.id, waiting=moved, **delta)
        if provider is not None and provider != job.provider:
            _send_elsewhere(ctx, db, job, provider, now)
        sharing.join(db, jobs.get(db, job.id), read_spec(job.spec), these(db, ids), now=now)
        return Steered(jobs=[name], records=moved)

    return _run(ctx, work, dry_run=dry_run)


def steerable(registry: Registry) -> tuple[list[str], list[str]]:
    """Return the jobs that have not ended and the providers that were ever used, by name."""
    with registry.read() as db:
        names = [job.name for job in jobs.active(db) if job.state is not JobState.REGISTERING]
        return names, [account.provider for account in accounts.everyone(db)]


def cost_of(registry: Registry, providers: Providers, name: str, records: int) -> Money | None:
    """Estimate what `records` of a job cost, at what its recorded ones have used so far.

    None where the price is unknown, or nothing was recorded yet.
    """
    with registry.read() as db:
        (job,) = _named(db, [name])
    spec = read_spec(job.spec)
    model = providers.profile(job.provider).models.get(spec.model or "")
    if model is None or not job.books.recorded or not job.tokens_in:
        return None
    share = records / job.books.recorded
    return estimate(int(job.tokens_in * share), int(job.tokens_out * share), model.latest_price)


def _let_go(ctx: Context, db: Connection, job: Job, budget: Money | None, now: datetime) -> bool:
    """Accept a failed canary, and take another budget; return whether anything changed."""
    changed = False
    if job.canary == canary.FAILED_WORD and job.state not in JOB_FINAL:
        jobs.set_canary(db, job.id, canary.ACCEPTED_WORD)
        events.record(db, "canary_accepted", at=now, actor=ctx.actor, job_id=job.id)
        changed = True
    if budget is not None and str(budget) != job.budget:
        check_raise(ctx, job, budget)
        jobs.set_budget(db, job.id, str(budget))
        data = {"from": job.budget or ctx.spec_of(job).budget, "to": str(budget)}
        events.record(db, "budget_set", at=now, actor=ctx.actor, job_id=job.id, data=data)
        changed = True
    if changed:
        jobs.unhold(db, job, now=now, actor=ctx.actor)
    return changed


def _named(db: Connection, names: list[str]) -> list[Job]:
    found = [jobs.find(db, name) for name in names]
    for name, job in zip(names, found, strict=True):
        if job is None:
            raise NotFound(f'there is no job "{name}"', next="orchestrator jobs")
    return [job for job in found if job is not None]


def _set_paused(
    ctx: Context, db: Connection, provider: str, now: datetime, *, paused: bool
) -> None:
    accounts.change(db, provider, paused=paused)
    kind = "provider_paused" if paused else "provider_resumed"
    events.record(db, kind, at=now, actor=ctx.actor, provider=provider)


def _open(ctx: Context, db: Connection, provider: str, now: datetime) -> bool:
    """Lift a pause and a closed gate; the next call is the probe."""
    account = accounts.ensure(db, provider, now)
    if account.paused:
        _set_paused(ctx, db, provider, now, paused=False)
    if account.code == CLONED:
        # Settled with the stop that it was for: a later pause is a person's.
        accounts.change(db, provider, code=None, reason=None)
    if account.gate is not Gate.OPEN:
        accounts.set_gate(db, account, Gate.OPEN, now=now, actor=ctx.actor)
    for job in jobs.active(db):
        if job.provider == provider:
            batches.hurry(db, [batch.id for batch in batches.unfinished(db, job.id)], now)
            jobs.set_due(db, job.id, now)
    accounts.look_by(db, provider, now)
    return account.paused or account.gate is not Gate.OPEN


def _release(ctx: Context, db: Connection, batch: Batch, now: datetime) -> None:
    """Let a parked batch go on in the way that its cause allows."""
    batch = batches.take_over(db, batch)
    event: Event
    if batch.parked_from == BatchState.CREATE_UNKNOWN:
        event = ReleasedToLooking()
    elif batch.parked_from == BatchState.LIVE:
        event = ReleasedToFollowing()
    elif batch.parked_from == BatchState.REMOTE_DONE or batch.code == "ORC5203":
        event = ReleasedToCollecting()
    elif batch.code == "ORC5206":
        event = ReleasedToCollected()
    else:
        take_back(ctx, db, batch, now, ran=batch.remote_id is not None)
        return
    batches.move(db, batch, event, now=now, due_at=now, actor=ctx.actor)


def _ask_cancel(ctx: Context, db: Connection, batch: Batch, now: datetime) -> None:
    asked = CancelAsked(cancel_asked_at=now)
    batches.move(db, batch, asked, now=now, due_at=now, actor=ctx.actor)


def _drop(ctx: Context, db: Connection, batch: Batch, now: datetime) -> int:
    """End a batch that never ran; its members are cancelled with it."""
    batch = batches.take_over(db, batch)
    batches.move(db, batch, Superseded(), now=now, due_at=now, actor=ctx.actor)
    members = [member.id for member in requests.members(db, batch.id)]
    stamp = jobs.next_stamp(db, batch.job_id)
    count = requests.close(db, batch.id, members, RequestState.CANCELLED, stamp=stamp)
    jobs.count(db, batch.job_id, in_flight=-count, cancelled=count)
    jobs.set_due(db, batch.job_id, now)
    return count


def _send_elsewhere(ctx: Context, db: Connection, job: Job, provider: str, now: datetime) -> None:
    """Let what is not sent yet go to another provider, which must know the job's models."""
    spec = read_spec(job.spec)
    profile = ctx.providers.profile(provider)
    known = profile.models.get(spec.model or "")
    if profile.models_closed and (known is None or not known.batch):
        raise GuardError(
            f"{provider} has no batch model {spec.model}",
            code="ORC7009",
            why="the requests were rendered for that model",
            safe="nothing was changed",
            next="submit the failed records as a new job for the other model",
        )
    changed = msgspec.structs.replace(spec, provider=provider)
    text = msgspec.json.encode(changed).decode()
    jobs.redirect(db, job.id, provider=provider, spec=text)
    data = {"from": job.provider, "to": provider}
    events.record(db, "job_redirected", at=now, actor=ctx.actor, job_id=job.id, data=data)
