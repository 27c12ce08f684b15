"""A batch that never ran, or that a person gives up -> superseded: it gives its members back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from orchestrator.domain.model import Batch, Job, JobState
from orchestrator.domain.transitions import Superseded
from orchestrator.engine.context import Context, Told
from orchestrator.registry import batches, jobs, requests


def withdraw(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Take a batch back before it was made; its members wait again, or end with their job."""
    now = ctx.now()

    def work(db: Connection) -> Batch:
        moved = take_back(ctx, db, batch, now)
        if jobs.get(db, job.id).state is JobState.CANCELLING:
            cancelled = requests.cancel_pending(db, job.id, stamp=jobs.next_stamp(db, job.id))
            jobs.count(db, job.id, waiting=-cancelled, cancelled=cancelled)
        return moved

    return ctx.registry.write(work)


def take_back(
    ctx: Context, db: Connection, batch: Batch, now: datetime, *, ran: bool = False
) -> Batch:
    """End a batch; its members wait for another one. `ran`: it counts as a round of theirs."""
    moved = batches.move(db, batch, Superseded(), now=now, due_at=now, actor=ctx.actor)
    count = (requests.give_back if ran else requests.unsend)(db, batch.id)
    jobs.count(db, batch.job_id, in_flight=-count, waiting=count)
    jobs.set_due(db, batch.job_id, now)
    return moved


def give_up(ctx: Context, batch: Batch) -> Batch:
    """End a batch that a person has released: its answers can't be had, its members go again."""
    now = ctx.now()
    moved = ctx.registry.write(lambda db: take_back(ctx, db, batch, now, ran=True))
    ctx.tell(Told(kind="Superseded", batch=moved))
    return moved
