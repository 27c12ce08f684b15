"""Waiting requests -> a planned batch: fix its members in one commit."""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.model import Batch, BatchState, Job, JobState
from orchestrator.domain.pacing import seconds
from orchestrator.domain.packing import FileLimits, SizedRequest, pack
from orchestrator.domain.profile import Profile
from orchestrator.domain.transitions import Finished
from orchestrator.engine.context import Context, Told
from orchestrator.registry import accounts, batches, events, jobs, requests

_FILES_A_BATCH = 3


def prepare(ctx: Context, job: Job) -> int:
    """Plan as many batches of `job` as there is room for, or end it; return how many."""
    profile = ctx.providers.profile(job.provider)
    planned = 0
    while not ctx.stopping():
        batch = ctx.registry.write(lambda db: _plan_one(ctx, db, job.id, profile))
        if batch is None:
            break
        planned += 1
        ctx.tell(Told(kind="Planned", batch=batch))
    return planned


def _plan_one(ctx: Context, db: Connection, job_id: int, profile: Profile) -> Batch | None:
    now = ctx.now()
    job = jobs.lock(db, job_id)
    if job.books.open == 0:
        _finish(ctx, db, job)
        return None
    if job.state is not JobState.RUNNING:
        jobs.set_due(db, job_id, now + seconds(ctx.pace.cap))
        return None
    model = requests.first_pending_model(db, job_id)
    if model is None:
        # The batches of the job make it due again when they end.
        jobs.set_due(db, job_id, now + seconds(ctx.pace.cap))
        return None
    if not _has_room(ctx, db, job, profile):
        jobs.set_due(db, job_id, now + seconds(ctx.pace.poll_min))
        return None
    limits = FileLimits.of(profile, ctx.requests_per_batch)
    waiting = requests.pending(db, job_id, model, limits.max_requests)
    return _plan(ctx, db, job, model, next(pack(waiting, limits)))


def _has_room(ctx: Context, db: Connection, job: Job, profile: Profile) -> bool:
    """Whether one more batch fits: in flight, in the account's files and in its storage."""
    account = accounts.ensure(db, job.provider, ctx.now())
    if account.paused:
        return False
    if batches.count_in_flight(db, job.provider) >= ctx.providers.max_in_flight(job.provider):
        return False
    limits = profile.limits
    count, size = batches.remote_files(db, job.provider)
    if limits.files is not None and count + _FILES_A_BATCH > limits.files:
        return False
    return limits.storage_bytes is None or size + limits.max_file_bytes <= limits.storage_bytes


def _plan(ctx: Context, db: Connection, job: Job, model: str, members: list[SizedRequest]) -> Batch:
    now = ctx.now()
    batch = batches.add(
        db,
        job_id=job.id,
        number=job.batches + 1,
        provider=job.provider,
        state=BatchState.PLANNED,
        model=model,
        requests=len(members),
        bytes=sum(member.size for member in members),
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
