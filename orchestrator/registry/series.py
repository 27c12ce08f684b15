"""Series: jobs that are runs of one and the same source, and what each record came to in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, Select, func, literal_column, select

from orchestrator.domain.model import JobState
from orchestrator.registry.bulk import among
from orchestrator.registry.tables import jobs, payloads, requests


class Run(NamedTuple):
    """A job of a series that was registered whole."""

    id: int
    name: str
    source_digest: str
    spec: str
    shape: str


class Held(NamedTuple):
    """What the latest job that holds a record has of it."""

    custom_id: str
    state: str
    record: str


def runs(db: Connection, series: str, limit: int | None = None) -> list[Run]:
    """Return the jobs of a series, the latest first. One that is being registered is none yet."""
    query = (
        select(*(jobs.c[name] for name in Run._fields))
        # The words of the partial index: SQLite proves nothing of bound parameters.
        .where(jobs.c.series != literal_column("''"), jobs.c.series == series)
        .where(jobs.c.state != JobState.REGISTERING)
        .order_by(jobs.c.id.desc())
        .limit(limit)
    )
    return [Run(*row) for row in db.execute(query)]


def held(db: Connection, run_ids: Sequence[int], custom_ids: Sequence[str]) -> Iterator[Held]:
    """Yield what the latest of some jobs has of each record that any of them holds.

    Two queries, however many jobs and records.
    """
    if not run_ids or not custom_ids:
        return
    # Ids of requests rise with those of their jobs.
    latest: Select[int] = (
        select(func.max(requests.c.id))
        .where(among(db, requests.c.job_id, run_ids), among(db, requests.c.custom_id, custom_ids))
        .group_by(requests.c.custom_id)
    )
    ids = list(db.execute(latest).scalars())
    if not ids:
        return
    query = (
        select(requests.c.custom_id, requests.c.state, payloads.c.record)
        .join(payloads, payloads.c.request_id == requests.c.id)
        .where(among(db, requests.c.id, ids))
    )
    for row in db.execute(query):
        yield Held(*row)
