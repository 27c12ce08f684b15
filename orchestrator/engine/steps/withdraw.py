"""A batch that never ran -> superseded: it gives its members back."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from orchestrator.domain.model import Batch, Job, JobState
from orchestrator.domain.transitions import Superseded
from orchestrator.engine.context import Context
from orchestrator.registry import batches, jobs, requests


def withdraw(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Take a batch back before it was made; its members wait again, or end with their job."""
    now = ctx.now()

    def work(db: Connection) -> Batch:
        moved = take_back(ctx, db, batch, now)
        if jobs.get(db, job.id).state is JobState.CANCELLING:
            cancelled = requests.cancel_pending(db, job.id)
            jobs.count(db, job.id, waiting=-cancelled, cancelled=cancelled)
        return moved

    return ctx.registry.write(work)


def take_back(ctx: Context, db: Connection, batch: Batch, now: datetime) -> Batch:
    """End a batch that never ran; its members wait for another one."""
    moved = batches.move(db, batch, Superseded(), now=now, due_at=now, actor=ctx.actor)
    count = requests.unsend(db, batch.id)
    jobs.count(db, batch.job_id, in_flight=-count, waiting=count)
    jobs.set_due(db, batch.job_id, now)
    return moved
