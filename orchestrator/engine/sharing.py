"""Equal requests of a job are asked once; what an earlier job was told is not asked again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import ColumnElement, Connection

from orchestrator.domain.model import Job, JobState, RequestState
from orchestrator.domain.spec import JobSpec
from orchestrator.engine.context import Context
from orchestrator.engine.repeats import Bodies
from orchestrator.registry import jobs, sharing
from orchestrator.registry.session import Registry

CHUNK = 5_000
"""Twins that get their word in one transaction."""

_ASKED_AT_ONCE = 1_000


@dataclass(frozen=True)
class Reuse:
    """How many requests of a planned job earlier jobs have answers to, and how old these are."""

    requests: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


def at_hand(registry: Registry, spec: JobSpec, bodies: Bodies, *, now: datetime) -> Reuse:
    """Return what a job that is planned would be answered by earlier ones."""
    total, since = 0, oldest_usable(spec, now)
    times: list[datetime] = []
    for part in bodies.counts():
        hashes = iter(part)
        while some := [value.hex() for value in islice(hashes, _ASKED_AT_ONCE)]:
            with registry.read() as db:
                found = sharing.answers_at_hand(db, spec.provider, some, since=since)
            total += sum(part[bytes.fromhex(known)] for known in found)
            times = sorted([*times, *found.values()])
            del times[1:-1]
    return Reuse(total, min(times, default=None), max(times, default=None))


def oldest_usable(spec: JobSpec, now: datetime) -> datetime | None:
    """Return when an answer must have been recorded to be used again; None for any time."""
    return now - timedelta(seconds=spec.cache_max_age) if spec.cache_max_age else None


def join(
    db: Connection, job: Job, spec: JobSpec, chosen: ColumnElement[bool], *, now: datetime
) -> None:
    """Let requests that wait to be sent share what equal ones are told, as far as `spec` asks.

    `chosen`: at most a few thousand, registered or reopened in this very transaction.
    """
    if spec.dedup:
        sharing.pair(db, job.id, chosen)
    if spec.cache:
        since = oldest_usable(spec, now)
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
