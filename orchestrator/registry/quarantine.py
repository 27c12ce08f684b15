"""Quarantine: the odd lines, kept with their place and why no request could take them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from orchestrator.registry.tables import batches, jobs, quarantine


class OddLine(NamedTuple):
    """A kept line: `raw` is its beginning, `length` its whole size in bytes."""

    id: int
    job: str
    number: int
    provider: str
    source: str
    line: int
    reason: str
    length: int
    recorded_at: datetime
    raw: bytes


def _select(head: int | None) -> Select[Any]:
    raw = quarantine.c.raw if head is None else func.substr(quarantine.c.raw, 1, head)
    return (
        select(
            quarantine.c.id,
            jobs.c.name,
            batches.c.number,
            batches.c.provider,
            quarantine.c.source,
            quarantine.c.line,
            quarantine.c.reason,
            quarantine.c.length,
            quarantine.c.recorded_at,
            raw,
        )
        .join(batches, batches.c.id == quarantine.c.batch_id)
        .join(jobs, jobs.c.id == batches.c.job_id)
    )


def page(
    db: Connection,
    *,
    head: int,
    job_id: int | None = None,
    batch_id: int | None = None,
    after: int = 0,
    limit: int = 50,
) -> list[OddLine]:
    """Return odd lines in the order they were met, after one id, each with `head` bytes of it."""
    query = _select(head).where(quarantine.c.id > after)
    if job_id is not None:
        query = query.where(batches.c.job_id == job_id)
    if batch_id is not None:
        query = query.where(quarantine.c.batch_id == batch_id)
    return [_read(row) for row in db.execute(query.order_by(quarantine.c.id).limit(limit))]


def find(db: Connection, odd_id: int) -> OddLine | None:
    """Return one odd line with everything that is kept of it."""
    row = db.execute(_select(None).where(quarantine.c.id == odd_id)).first()
    return _read(row) if row else None


def _read(row: Row[Any]) -> OddLine:
    return OddLine._make(row)._replace(raw=bytes(row[-1]))
