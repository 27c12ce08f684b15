"""Lists of jobs, batches and events, filtered and cut by key. Records stand in `outcomes`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Batch, Job
from orchestrator.registry import batches as batch_rows
from orchestrator.registry import jobs as job_rows
from orchestrator.registry.events import Entry
from orchestrator.registry.tables import batches, events, jobs
from orchestrator.registry.where import batch_tests, event_tests, job_tests


def list_jobs(
    db: Connection,
    where: Filter = (),
    *,
    after: Job | None = None,
    sort: str = "newest",
    limit: int = 50,
) -> list[Job]:
    """Return jobs that match, newest, oldest or by name, behind one of them."""
    column: Any = jobs.c.name if sort == "name" else jobs.c.id
    query = select(jobs.c.id).where(*job_tests(where, db.dialect.name))
    if after is not None:
        place = after.name if sort == "name" else after.id
        query = query.where(column < place if sort == "newest" else column > place)
    order = column.desc() if sort == "newest" else column
    ids = list(db.execute(query.order_by(order).limit(limit)).scalars())
    return [job_rows.get(db, job_id) for job_id in ids]


def list_batches(
    db: Connection,
    where: Filter = (),
    *,
    job_id: int | None = None,
    after: int | None = None,
    sort: str = "newest",
    limit: int = 50,
) -> list[Batch]:
    """Return batches that match, in the order they were planned or newest first."""
    query = (
        select(batches.c.id)
        .join(jobs, jobs.c.id == batches.c.job_id)
        .where(*batch_tests(where, db.dialect.name))
    )
    if job_id is not None:
        query = query.where(batches.c.job_id == job_id)
    newest = sort == "newest"
    if after is not None:
        query = query.where(batches.c.id < after if newest else batches.c.id > after)
    order = batches.c.id.desc() if newest else batches.c.id
    ids = list(db.execute(query.order_by(order).limit(limit)).scalars())
    return [batch_rows.get(db, batch_id) for batch_id in ids]


def list_events(
    db: Connection,
    where: Filter = (),
    *,
    job_id: int | None = None,
    batch_id: int | None = None,
    after: int | None = None,
    newest: bool = False,
    limit: int = 50,
) -> list[Entry]:
    """Return events that match by their ids, or the newest first."""
    query = select(events).where(*event_tests(where, db.dialect.name))
    if where:
        query = query.outerjoin(jobs, jobs.c.id == events.c.job_id)
    if job_id is not None:
        query = query.where(events.c.job_id == job_id)
    if batch_id is not None:
        query = query.where(events.c.batch_id == batch_id)
    if after is not None:
        query = query.where(events.c.id < after if newest else events.c.id > after)
    order = events.c.id.desc() if newest else events.c.id
    return [Entry(**row) for row in db.execute(query.order_by(order).limit(limit)).mappings()]
