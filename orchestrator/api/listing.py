"""Lists of jobs, batches, records and events, a page at a time, cut by key, never by offset."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Connection

from orchestrator.api.lookup import batch_named, job_named, record_in
from orchestrator.api.views import BatchView, JobView, batch_views, views_of
from orchestrator.domain.errors import NotFound
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Batch, Job
from orchestrator.domain.progress import DayPrices, Prices, no_day_prices, no_prices
from orchestrator.registry import jobs, lists, outcomes, reports
from orchestrator.registry.events import Entry
from orchestrator.registry.outcomes import Listed
from orchestrator.registry.session import Registry


@dataclass(frozen=True, kw_only=True)
class EventView:
    """One line of the audit trail, with the names people know."""

    id: int
    at: datetime
    kind: str
    job: str | None
    batch: str | None
    provider: str | None
    actor: str
    data: dict[str, object]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "id": self.id,
            "at": self.at,
            "event": self.kind,
            "job": self.job,
            "batch": self.batch,
            "provider": self.provider,
            "actor": self.actor,
            "data": self.data,
        }


def list_jobs(
    registry: Registry,
    where: Filter = (),
    *,
    now: datetime,
    after: str | None = None,
    sort: str = "newest",
    limit: int = 50,
    prices: Prices = no_prices,
) -> list[JobView]:
    """Return jobs that match; `sort`: newest, oldest, name; `after`: behind the job so named."""
    with registry.read() as db:
        behind = job_named(db, after) if after is not None else None
        found = lists.list_jobs(db, where, after=behind, sort=sort, limit=limit)
        return views_of(db, found, now=now, prices=prices)


def list_batches(
    registry: Registry,
    where: Filter = (),
    *,
    now: datetime,
    job: str | None = None,
    after: str | None = None,
    sort: str = "newest",
    limit: int = 50,
    prices: DayPrices = no_day_prices,
) -> list[BatchView]:
    """Return batches that match; `sort`: newest, oldest; `after`: behind this `JOB/b07`."""
    with registry.read() as db:
        owner = job_named(db, job).id if job is not None else None
        behind = batch_named(db, after)[1].id if after is not None else None
        found = lists.list_batches(db, where, job_id=owner, after=behind, sort=sort, limit=limit)
        return batch_views(db, found, now=now, prices=prices)


def list_records(
    registry: Registry,
    where: Filter = (),
    *,
    job: str | None = None,
    after: str | None = None,
    sort: str = "source",
    limit: int = 50,
) -> list[Listed]:
    """Return records that match, in source order or the last first.

    `after` is the key of a record of `job`, or a record's number (its `id`) in any job.
    """
    with registry.read() as db:
        owner = job_named(db, job) if job is not None else None
        behind = None if after is None else _record_place(db, owner, after)
        return outcomes.page(
            db,
            where,
            job_id=owner.id if owner else None,
            after=behind,
            newest=sort == "last",
            limit=limit,
        )


def _record_place(db: Connection, owner: Job | None, after: str) -> int:
    found = record_in(db, owner, after) if owner is not None else None
    if found is not None:
        return found
    if after.isascii() and after.isdigit() and len(after) <= 18:
        return int(after)
    raise NotFound(
        f'there is no record "{after}" to go on behind',
        next="--after takes the key of a record of that job, or its id as --json shows it",
    )


def list_events(
    registry: Registry,
    where: Filter = (),
    *,
    job: str | None = None,
    after: int | None = None,
    sort: str = "newest",
    limit: int = 50,
) -> list[EventView]:
    """Return events that match; `sort`: newest, oldest; `after`: behind the event of this id."""
    with registry.read() as db:
        owner = job_named(db, job).id if job is not None else None
        found = lists.list_events(
            db, where, job_id=owner, after=after, newest=sort == "newest", limit=limit
        )
        return event_views(db, found)


def batch_events(registry: Registry, batch: Batch, limit: int = 200) -> list[EventView]:
    """Return what happened to a batch, oldest first: the latest `limit` events."""
    with registry.read() as db:
        found = lists.list_events(db, batch_id=batch.id, newest=True, limit=limit)
        return event_views(db, found[::-1])


def event_views(db: Connection, found: Sequence[Entry]) -> list[EventView]:
    """Return events with the names of their jobs and batches."""
    owners = jobs.names(db, list({e.job_id for e in found if e.job_id is not None}))
    numbers = reports.labels(db, list({e.batch_id for e in found if e.batch_id is not None}))
    view = functools.partial(_event, owners, numbers)
    return [view(entry) for entry in found]


def _event(owners: dict[int, str], numbers: dict[int, int], entry: Entry) -> EventView:
    job = owners.get(entry.job_id) if entry.job_id is not None else None
    number = numbers.get(entry.batch_id) if entry.batch_id is not None else None
    return EventView(
        id=entry.id,
        at=entry.at,
        kind=entry.kind,
        job=job,
        batch=f"{job}/b{number:02d}" if number is not None else None,
        provider=entry.provider,
        actor=entry.actor,
        data=msgspec.json.decode(entry.data, type=dict[str, object]),
    )
