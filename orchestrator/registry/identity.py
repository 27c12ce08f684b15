"""The registry's own name: a random id that stands on everything it sends."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from orchestrator.registry.tables import instance


def identity(db: Connection) -> str | None:
    """Return the registry's id; None if it has never sent anything, nor prepared to."""
    found = db.execute(select(instance.c.id)).scalar_one_or_none()
    return str(found) if found else None


def lock(db: Connection) -> None:
    """Lock the registry's own row until the transaction ends: for limits over all accounts."""
    db.execute(select(instance.c.id).with_for_update())


def rename(db: Connection, new: str, now: datetime) -> None:
    """Give the registry another id; what the old one sent is known by its rows alone from now."""
    db.execute(delete(instance))
    db.execute(insert(instance).values(id=new, created_at=now))
