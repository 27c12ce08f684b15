"""Waiting requests -> a planned batch: fix its members in one commit."""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.model import Batch, BatchState, Job, JobState, StrayVerdict
from orchestrator.domain.pacing import seconds
from orchestrator.domain.packing import FileLimits, SizedRequest, load_of, pack
from orchestrator.domain.profile import Profile
from orchestrator.domain.transitions import Finished
from orchestrator.engine import canary
from orchestrator.engine.context import Context, Told
from orchestrator.engine.guards import lock_whole, within_budget
from orchestrator.engine.room import has_room
from orchestrator.engine.sharing import is_settled, settle, shares
from orchestrator.engine.steps.growing import lingers, will_grow
from orchestrator.registry import accounts, batches, events, jobs, requests, stages, strays

_CLEANED_AT_ONCE = 10


def prepare(ctx: Context, job: Job) -> int:
    """Plan as many batches of `job` as there is room for, or end it; return how many."""
    profile = ctx.providers.profile(job.provider)
    planned = 0
    settle(ctx, job)
    while not ctx.stopping():
        batch = ctx.registry.write(lambda db: _plan_one(ctx, db, job.id, profile, planned))  # noqa: B023 - called at once
        if batch is None:
            break
        planned += 1
        ctx.tell(Told(kind="Planned", batch=batch))
    return planned


def _plan_one(
    ctx: Context, db: Connection, job_id: int, profile: Profile, planned: int
) -> Batch | None:
    now = ctx.now()
    lock_whole(ctx, db)
    # Locked first: what the account may hold is counted by one worker at a time.
    account = accounts.lock(db, jobs.get(db, job_id).provider, now)
    job = jobs.lock(db, job_id)
    if job.state is JobState.CANCELLING and job.books.waiting:
        # Given back by a batch that ended while the cancel was asked for.
        cancelled = requests.cancel_pending(db, job_id, stamp=jobs.next_stamp(db, job_id))
        jobs.count(db, job_id, waiting=-cancelled, cancelled=cancelled)
        job = jobs.get(db, job_id)
    stages.wake_streams(db, job.name, now)
    if job.books.open == 0 and not will_grow(job):
        canary.close(ctx, db, job)
        _finish(ctx, db, job)
        return None
    if job.state is not JobState.RUNNING:
        jobs.set_due(db, job_id, now + seconds(ctx.pace.cap))
        return None
    # An outcome may have come just now: what waits for it goes first.
    late = shares(ctx, job) and not is_settled(job)
    below = None if late else canary.frontier(ctx, db, job)
    model = None if late else requests.first_pending_model(db, job_id, below=below)
    if model is None:
        # The batches of the job make it due again when they end.
        jobs.set_due(db, job_id, now if late else now + seconds(ctx.pace.cap))
        return None
    holding = strays.holding_up(db, job.name)
    if holding:
        # One that waits for its job is taken in by the next audit; a lost one waits for a person.
        later = ctx.pace.cap
        if StrayVerdict.WAITING in holding:
            accounts.audit_by(db, job.provider, now)
            later = ctx.pace.gate_probe
        jobs.set_due(db, job_id, now + seconds(later))
        return None
    if not has_room(ctx, db, account, profile):
        batches.hurry(db, batches.due_for_cleaning(db, job.provider, _CLEANED_AT_ONCE), now)
        # Whoever lifts a pause makes the account's jobs due.
        later = ctx.pace.cap if account.paused else ctx.pace.poll_min
        jobs.set_due(db, job_id, now + seconds(later))
        return None
    members = _chosen(ctx, db, job, model, profile, below=below, planned=planned)
    return _plan(ctx, db, job, model, members) if members else None


def _chosen(
    ctx: Context,
    db: Connection,
    job: Job,
    model: str,
    profile: Profile,
    *,
    below: int | None,
    planned: int,
) -> list[SizedRequest]:
    """Return the members of the next batch; none when it waits for company, or for money."""
    limits = FileLimits.of(profile, ctx.requests_per_batch)
    waiting = requests.pending(db, job.id, model, limits.max_requests, below=below)
    members = next(pack(waiting, limits))
    if lingers(ctx, db, job, members, limits, planned=planned):
        return []
    return within_budget(ctx, db, job, model, members)


def _plan(ctx: Context, db: Connection, job: Job, model: str, members: list[SizedRequest]) -> Batch:
    now = ctx.now()
    batch = batches.add(
        db,
        job_id=job.id,
        number=job.batches + 1,
        provider=job.provider,
        state=BatchState.PLANNED,
        model=model,
        **load_of(members)._asdict(),
        token=ctx.new_token(),
        planned_at=now,
        due_at=now,
        state_at=now,
    )
    count = requests.assign(db, batch.id, [member.id for member in members])
    jobs.count(db, job.id, batches=1, waiting=-count, in_flight=count)
    facts = {"requests": count, "bytes": batch.bytes, "model": model}
    events.record(
        db,
        "planned",
        at=now,
        actor=ctx.actor,
        job_id=job.id,
        batch_id=batch.id,
        provider=job.provider,
        data=facts,
    )
    return batch


def _finish(ctx: Context, db: Connection, job: Job) -> None:
    if job.state in {JobState.RUNNING, JobState.CANCELLING}:
        ended = jobs.move(db, job, Finished(), now=ctx.now(), actor=ctx.actor)
        ctx.tell(Told(kind="Finished", job=ended))
