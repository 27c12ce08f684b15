"""Jobs that grow: fed by an earlier stage of their workflow, batch by batch, to its end."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from orchestrator.domain.model import Job, JobState
from orchestrator.domain.pacing import seconds
from orchestrator.domain.packing import FileLimits, SizedRequest
from orchestrator.engine.context import Context
from orchestrator.registry import jobs


def will_grow(job: Job) -> bool:
    """Whether a job without an open record is not at its end: there will be more."""
    return job.growing and job.state is not JobState.CANCELLING


def lingers(
    ctx: Context,
    db: Connection,
    job: Job,
    members: Sequence[SizedRequest],
    limits: FileLimits,
    *,
    planned: int,
) -> bool:
    """Whether what is left over for a batch that is not full waits for company; put off then.

    Full batches are made at once. The rest of a job that grows waits as long as refused requests
    do: a batch for each chunk would cost time at every provider, and files in its quota.
    """
    full = len(members) >= limits.max_requests or len(members) < job.books.waiting
    if not (job.growing and planned) or full:
        return False
    linger = seconds(ctx.spec_of(job).policy.linger_seconds)
    jobs.set_due(db, job.id, ctx.now() + linger)
    return True
