"""Workers: who is at work, and until when its claims hold."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from orchestrator.registry.tables import instance, workers


def instance_id(db: Connection, now: datetime) -> str:
    """Return the registry's own random id, made at first use."""
    found = db.execute(select(instance.c.id)).scalar_one_or_none()
    if found:
        return str(found)
    made = secrets.token_hex(8)
    db.execute(insert(instance).values(id=made, created_at=now))
    return made


def begin(
    db: Connection,
    *,
    worker: str,
    kind: str,
    host: str,
    pid: int,
    version: str,
    now: datetime,
    lease: timedelta,
) -> None:
    """Enter a worker with a fresh lease."""
    db.execute(
        insert(workers).values(
            id=worker,
            kind=kind,
            host=host,
            pid=pid,
            version=version,
            started_at=now,
            seen_at=now,
            lease_until=now + lease,
        )
    )


def beat(db: Connection, worker: str, *, now: datetime, lease: timedelta) -> bool:
    """Renew a worker's lease; False if it was over already: its claims may be lost."""
    written = db.execute(
        update(workers)
        .where(workers.c.id == worker, workers.c.lease_until >= now, workers.c.stopped_at.is_(None))
        .values(seen_at=now, lease_until=now + lease)
    )
    return written.rowcount == 1


def end(db: Connection, worker: str, now: datetime) -> None:
    """Give a worker's lease back, and with it all its claims."""
    db.execute(
        update(workers)
        .where(workers.c.id == worker)
        .values(seen_at=now, lease_until=now, stopped_at=now)
    )


def end_all(db: Connection, now: datetime) -> int:
    """End every lease: for the one holder of an SQLite registry, all others are dead."""
    written = db.execute(
        update(workers)
        .where(workers.c.stopped_at.is_(None))
        .values(lease_until=now, stopped_at=now)
    )
    return written.rowcount


def alive(db: Connection, now: datetime) -> list[tuple[str, str, int, datetime]]:
    """Return kind, host, pid and start of the workers whose lease holds."""
    query = select(workers.c.kind, workers.c.host, workers.c.pid, workers.c.started_at)
    rows = db.execute(query.where(workers.c.lease_until > now).order_by(workers.c.started_at))
    return [(row.kind, row.host, row.pid, row.started_at) for row in rows]
