"""What people look at: batches counted by state, durations, causes of failure, stories.

Nothing here reads requests or bodies; what it costs depends on the batches and failures of the
jobs that are asked about.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, case, func, select

from orchestrator.domain.model import Batch, BatchState, JobState, RequestState
from orchestrator.domain.progress import BatchGroup
from orchestrator.registry import batches as batch_rows
from orchestrator.registry.bulk import among
from orchestrator.registry.tables import batches, failures, jobs, requests

_COUNTED = (BatchState.LIVE, BatchState.REMOTE_DONE, BatchState.COLLECTED)


def _reported() -> ColumnElement[int]:
    """Return what the provider counts as done and we have not recorded, never below zero."""
    done = func.coalesce(batches.c.remote_completed, 0) + func.coalesce(batches.c.remote_failed, 0)
    counts = batches.c.state.in_(_COUNTED) & (done > batches.c.cursor)
    return case((counts, done - batches.c.cursor), else_=0)


def groups(db: Connection, job_ids: Sequence[int]) -> dict[int, list[BatchGroup]]:
    """Return the batches of some jobs, counted by state, provider and model."""
    keys = (batches.c.job_id, batches.c.state, batches.c.provider, batches.c.model)
    query = (
        select(
            *keys,
            func.count().label("batches"),
            func.sum(batches.c.requests).label("requests"),
            func.sum(_reported()).label("reported"),
            func.sum(batches.c.odd).label("odd"),
            func.min(batches.c.state_at).label("since"),
            func.min(batches.c.due_at).label("due_at"),
            func.max(batches.c.looked_at).label("looked_at"),
            func.max(batches.c.remote_created_at).label("last_created_at"),
            func.min(batches.c.expires_at).label("first_window_ends"),
            func.max(batches.c.expires_at).label("last_window_ends"),
        )
        .where(among(db, batches.c.job_id, job_ids))
        .group_by(*keys)
        .order_by(*keys)
    )
    found: dict[int, list[BatchGroup]] = {job_id: [] for job_id in job_ids}
    for row in db.execute(query).mappings():
        values = {**row, "state": BatchState(row["state"])}
        for name in ("requests", "reported", "odd"):
            values[name] = int(values[name])
        found[values["job_id"]].append(BatchGroup(**values))
    return found


def turnarounds(db: Connection, provider: str, model: str, limit: int = 50) -> list[float]:
    """Return how many seconds the latest completed batches of a model took, newest first."""
    query = (
        select(batches.c.remote_created_at, batches.c.remote_ended_at)
        .where(
            batches.c.provider == provider,
            batches.c.model == model,
            batches.c.remote_status == "completed",
            batches.c.remote_created_at.is_not(None),
            batches.c.remote_ended_at.is_not(None),
        )
        .order_by(batches.c.id.desc())
        .limit(limit)
    )
    return [max(0.0, (ended - began).total_seconds()) for began, ended in db.execute(query)]


def labels(db: Connection, batch_ids: Sequence[int]) -> dict[int, int]:
    """Return the numbers of batches by their ids."""
    query = select(batches.c.id, batches.c.number).where(among(db, batches.c.id, batch_ids))
    return {row.id: row.number for row in db.execute(query)}


_WORDS = 60
"""Characters of a message that must be the same where there is no code."""


class CauseGroup(NamedTuple):
    """Failed attempts of one cause and code, or of one wording where there is no code.

    `records`: whose outcome this is, now.
    """

    job_id: int
    cause: str
    code: str
    attempts: int
    records: int
    last_id: int


def causes(db: Connection, job_ids: Sequence[int], limit: int = 50) -> list[CauseGroup]:
    """Return the failed attempts of some jobs by cause and code, most frequent first.

    Reads the failures of these jobs, not their requests.
    """
    closed = requests.c.state.in_(
        (RequestState.FAILED, RequestState.EXPIRED, RequestState.CANCELLED)
    )
    later = failures.alias("later")
    superseded = (
        select(later.c.id)
        .where(later.c.request_id == failures.c.request_id, later.c.id > failures.c.id)
        .exists()
    )
    standing = case((failures.c.final & closed & ~superseded, 1), else_=0)
    # Where a server gives no code, its words are all there is to tell one failure from another.
    words = case((failures.c.code == "", func.substr(failures.c.message, 1, _WORDS)), else_="")
    keys = (failures.c.job_id, failures.c.cause, failures.c.code)
    attempts = func.count().label("attempts")
    query = (
        select(*keys, words.label("words"), attempts, func.sum(standing), func.max(failures.c.id))
        .join(requests, requests.c.id == failures.c.request_id)
        .where(among(db, failures.c.job_id, job_ids))
        .group_by(*keys, "words")
        .order_by(attempts.desc(), *keys, "words")
        .limit(limit)
    )
    return [
        CauseGroup(job_id, cause, code, count, int(records), last)
        for job_id, cause, code, _, count, records, last in db.execute(query)
    ]


class Example(NamedTuple):
    """One failed attempt, for a group of them."""

    id: int
    key: str
    message: str
    status_code: int | None
    recorded_at: datetime


def examples(db: Connection, failure_ids: Sequence[int]) -> dict[int, Example]:
    """Return failed attempts by their ids, with the keys of their records."""
    query = (
        select(
            failures.c.id,
            func.coalesce(requests.c.key, requests.c.custom_id),
            failures.c.message,
            failures.c.status_code,
            failures.c.recorded_at,
        )
        .join(requests, requests.c.id == failures.c.request_id)
        .where(among(db, failures.c.id, failure_ids))
    )
    return {row[0]: Example(*row) for row in db.execute(query)}


def parked_groups(db: Connection, limit: int = 100) -> list[tuple[int, str, str, int, int, Any]]:
    """Return parked batches by job, code and reason: their number, requests and first moment."""
    keys = (batches.c.job_id, batches.c.code, batches.c.reason)
    query = (
        select(*keys, func.count(), func.sum(batches.c.requests), func.min(batches.c.state_at))
        .where(batches.c.state == BatchState.PARKED)
        .group_by(*keys)
        .order_by(*keys)
        .limit(limit)
    )
    return [
        (job_id, code or "", reason or "", count, int(size), since)
        for job_id, code, reason, count, size, since in db.execute(query)
    ]


def overdue(db: Connection, now: datetime, limit: int = 100) -> list[Batch]:
    """Return live batches past our own deadline for them, oldest first."""
    query = (
        select(batches.c.id)
        .where(batches.c.state == BatchState.LIVE, batches.c.deadline_at <= now)
        .order_by(batches.c.id)
        .limit(limit)
    )
    return [batch_rows.get(db, batch_id) for batch_id in db.execute(query).scalars()]


def waiting_at(db: Connection, provider: str) -> tuple[int, int]:
    """Return how many jobs have open records that wait for a provider, and how many records."""
    open_states = (JobState.RUNNING, JobState.CANCELLING)
    query = select(
        func.count(), func.coalesce(func.sum(jobs.c.waiting + jobs.c.in_flight), 0)
    ).where(jobs.c.provider == provider, jobs.c.state.in_(open_states))
    count, records = db.execute(query).one()
    return int(count), int(records)
