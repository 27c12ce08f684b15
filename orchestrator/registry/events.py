"""The audit trail: written in the same transaction as the move it tells of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, insert, select

from orchestrator.registry.tables import events


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the audit trail. `data` is JSON text."""

    id: int
    at: datetime
    kind: str
    job_id: int | None
    batch_id: int | None
    provider: str | None
    actor: str
    data: str


_UNTOLD = frozenset({"remote_raw", "spare_tokens", "looked_at", "changed_at"})
"""Changes that a story does not need: bulky, or told by the event's own time."""


_APPEND = insert(events)


def record(
    db: Connection,
    kind: str,
    *,
    at: datetime,
    actor: str,
    job_id: int | None = None,
    batch_id: int | None = None,
    provider: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append one event, in the caller's transaction."""
    told = {k: v for k, v in (data or {}).items() if v is not None and k not in _UNTOLD}
    row = {
        "at": at,
        "kind": kind,
        "job_id": job_id,
        "batch_id": batch_id,
        "provider": provider,
        "actor": actor,
        "data": msgspec.json.encode(told, enc_hook=str).decode(),
    }
    db.execute(_APPEND, row)


def page(
    db: Connection,
    *,
    job_id: int | None = None,
    batch_id: int | None = None,
    after: int = 0,
    newest: bool = False,
    limit: int = 50,
) -> Sequence[Entry]:
    """Return events in order of their ids, after one id; `newest`: the last `limit` ones."""
    query = select(events).where(events.c.id > after)
    if job_id is not None:
        query = query.where(events.c.job_id == job_id)
    if batch_id is not None:
        query = query.where(events.c.batch_id == batch_id)
    order = events.c.id.desc() if newest else events.c.id
    rows = db.execute(query.order_by(order).limit(limit)).mappings()
    found = [Entry(**row) for row in rows]
    return found[::-1] if newest else found
