"""A batch that never ran -> superseded: it gives its members back."""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.model import Batch, Job, JobState
from orchestrator.domain.transitions import Superseded
from orchestrator.engine.context import Context
from orchestrator.registry import batches, jobs, requests


def withdraw(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Take a batch back before it was made; its members wait again, or end with their job."""
    now = ctx.now()

    def work(db: Connection) -> Batch:
        moved = batches.move(db, batch, Superseded(), now=now, due_at=now, actor=ctx.actor)
        count = requests.unsend(db, batch.id)
        jobs.count(db, job.id, in_flight=-count, waiting=count)
        if jobs.get(db, job.id).state is JobState.CANCELLING:
            cancelled = requests.cancel_pending(db, job.id)
            jobs.count(db, job.id, waiting=-cancelled, cancelled=cancelled)
        jobs.set_due(db, job.id, now)
        return moved

    return ctx.registry.write(work)
