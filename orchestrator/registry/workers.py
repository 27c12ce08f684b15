"""Workers: who is at work, and until when its claims hold."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Interval,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from orchestrator.registry.tables import Utc, instance, workers

_REMEMBERED = timedelta(days=30)
"""For how long a dead worker is known: longer than any remote batch of its is listed as live."""


def lease_time(db: Connection, now: datetime) -> ColumnElement[datetime]:
    """Return the time by which leases are judged: the database's own, shared by all workers.

    On SQLite, which one worker holds alone, it is that worker's `now`.
    """
    return literal(now, Utc) if db.dialect.name == "sqlite" else func.now(type_=Utc())


def lease_clock(dialect: str) -> ColumnElement[datetime]:
    """Return `lease_time` for a statement that is built once: on SQLite the parameter `now`."""
    return bindparam("now", type_=Utc()) if dialect == "sqlite" else func.now(type_=Utc())


def _until(db: Connection, now: datetime, lease: timedelta) -> ColumnElement[datetime]:
    if db.dialect.name == "sqlite":
        return literal(now + lease, Utc)
    return func.now() + literal(lease, Interval)


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
    """Enter a worker with a fresh lease; rows of those long gone are removed."""
    db.execute(delete(workers).where(workers.c.lease_until < now - _REMEMBERED))
    db.execute(
        insert(workers).values(
            id=worker,
            kind=kind,
            host=host,
            pid=pid,
            version=version,
            started_at=now,
            seen_at=now,
            lease_until=_until(db, now, lease),
        )
    )


def beat(db: Connection, worker: str, *, now: datetime, lease: timedelta) -> bool:
    """Renew a worker's lease; False if it was over already: its claims may be lost."""
    written = db.execute(
        update(workers)
        .where(
            workers.c.id == worker,
            workers.c.lease_until >= lease_time(db, now),
            workers.c.stopped_at.is_(None),
        )
        .values(seen_at=now, lease_until=_until(db, now, lease))
    )
    return written.rowcount == 1


def end(db: Connection, worker: str, now: datetime) -> None:
    """Give a worker's lease back, and with it all its claims."""
    db.execute(
        update(workers)
        .where(workers.c.id == worker)
        .values(seen_at=now, lease_until=lease_time(db, now), stopped_at=now)
    )


def end_all(db: Connection, now: datetime) -> int:
    """End every lease: for the one holder of an SQLite registry, all others are dead."""
    written = db.execute(
        update(workers)
        .where(workers.c.stopped_at.is_(None))
        .values(lease_until=lease_time(db, now), stopped_at=now)
    )
    return written.rowcount


def alive(db: Connection, now: datetime) -> list[tuple[str, str, int, datetime]]:
    """Return kind, host, pid and start of the workers whose lease holds."""
    query = select(workers.c.kind, workers.c.host, workers.c.pid, workers.c.started_at)
    living = workers.c.lease_until > lease_time(db, now)
    rows = db.execute(query.where(living).order_by(workers.c.started_at))
    return [(row.kind, row.host, row.pid, row.started_at) for row in rows]


def boots(db: Connection, ids: Sequence[str]) -> set[str]:
    """Return which of these boot ids are workers of this registry, alive or dead."""
    return set(db.execute(select(workers.c.id).where(workers.c.id.in_(ids))).scalars())


def is_alive(db: Connection, worker: str, now: datetime) -> bool:
    """Whether a worker's lease holds."""
    living = workers.c.lease_until > lease_time(db, now)
    return (
        db.execute(select(workers.c.id).where(workers.c.id == worker, living)).first() is not None
    )
