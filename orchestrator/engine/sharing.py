"""Equal requests of a job are asked once; what an earlier job was told is not asked again."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection

from orchestrator.domain.model import Job, JobState, RequestState
from orchestrator.domain.spec import JobSpec
from orchestrator.engine.context import Context
from orchestrator.registry import jobs, sharing

CHUNK = 5_000
"""Twins that get their word in one transaction."""


def join(
    db: Connection, job: Job, spec: JobSpec, chosen: ColumnElement[bool], *, now: datetime
) -> None:
    """Let requests that wait to be sent share what equal ones are told, as far as `spec` asks.

    `chosen`: at most a few thousand, registered or reopened in this very transaction.
    """
    if spec.dedup:
        sharing.pair(db, job.id, chosen)
    if spec.cache:
        since = now - timedelta(seconds=spec.cache_max_age) if spec.cache_max_age else None
        stamp = jobs.next_stamp(db, job.id)
        count = sharing.answer_from_earlier(db, job, chosen, since=since, stamp=stamp)
        jobs.count(db, job.id, waiting=-count, succeeded=count, cached=count)
    if spec.dedup:
        # Whose leader has its word already would never be met again.
        _pass_on(db, job, chosen, limit=1 << 30)


def settle(ctx: Context, job: Job) -> None:
    """Give the twins of a running job the words that their leaders have got since the last time."""
    if not shares(ctx, job):
        return
    while not ctx.stopping() and ctx.registry.write(lambda db: _settle_some(db, job.id)):
        """Go on until none is left."""


def shares(ctx: Context, job: Job) -> bool:
    """Whether equal requests of the job are sent once."""
    return ctx.spec_of(job).dedup


def is_settled(job: Job) -> bool:
    """Whether every outcome of a job that shares was passed on to the twins that wait for it."""
    return job.settled >= job.stamp


def _settle_some(db: Connection, job_id: int) -> bool:
    """Settle one chunk; return whether more may be left."""
    job = jobs.lock(db, job_id)
    if job.state is not JobState.RUNNING or is_settled(job):
        return False
    more = _pass_on(db, job, sharing.of_leaders_after(job), limit=CHUNK) == CHUNK
    if not more:
        sharing.note_settled(db, job_id, jobs.get(db, job_id).stamp)
    return more


def _pass_on(db: Connection, job: Job, twins: ColumnElement[bool], *, limit: int) -> int:
    stamp = jobs.next_stamp(db, job.id)
    words = sharing.pass_on(db, twins, stamp=stamp, limit=limit)
    passed = sum(words.values())
    shared = words.get(RequestState.SUCCEEDED, 0)
    jobs.count(db, job.id, waiting=-passed, shared=shared, **words)
    return passed
