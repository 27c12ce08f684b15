"""A batch that the provider will not take whole -> two halves, planned in the same commit."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.packing import SizedRequest, load_of
from orchestrator.domain.transitions import Superseded
from orchestrator.engine.context import Context
from orchestrator.registry import batches, events, jobs, requests

_MOST = 3
"""How often a batch is halved: an eighth of it is small enough to be looked at by a person."""


def may_split(batch: Batch) -> bool:
    """Whether `batch` may still be halved."""
    return batch.requests > 1 and batch.splits < _MOST


def split(ctx: Context, batch: Batch, job: Job, reason: str) -> Batch:
    """Give the members of a batch that never ran to two new ones; return the old one."""
    now = ctx.now()

    def work(db: Connection) -> Batch:
        moved = batches.move(db, batch, Superseded(), now=now, due_at=now, actor=ctx.actor)
        members = requests.sizes(db, batch.id)
        middle = len(members) // 2
        number = jobs.lock(db, job.id).batches
        for half in (members[:middle], members[middle:]):
            number += 1
            _plan_half(ctx, db, batch, number, half, reason)
        jobs.count(db, job.id, batches=2)
        return moved

    return ctx.registry.write(work)


def _plan_half(
    ctx: Context,
    db: Connection,
    batch: Batch,
    number: int,
    members: Sequence[SizedRequest],
    reason: str,
) -> None:
    now = ctx.now()
    child = batches.add(
        db,
        job_id=batch.job_id,
        number=number,
        provider=batch.provider,
        state=BatchState.PLANNED,
        model=batch.model,
        **load_of(members)._asdict(),
        token=ctx.new_token(),
        splits=batch.splits + 1,
        planned_at=now,
        due_at=now,
        state_at=now,
    )
    requests.hand_over(db, batch.id, child.id, [member.id for member in members])
    events.record(
        db,
        "planned",
        at=now,
        actor=ctx.actor,
        job_id=batch.job_id,
        batch_id=child.id,
        provider=batch.provider,
        data={"requests": child.requests, "half_of": batch.label, "reason": reason},
    )
