"""Claims: rows taken by one worker at a time, whatever table they stand in.

A table whose rows are claimed has the columns `id`, `owner`, `epoch` and `due_at`. A claim holds as
long as its worker's lease; each one raises the epoch, by which every later write is guarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Table, bindparam, or_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.dml import ReturningUpdate

from orchestrator.registry.bulk import one_of, packed
from orchestrator.registry.tables import workers
from orchestrator.registry.workers import lease_clock


def columns_of(table: Table) -> list[Column[Any]]:
    """Return what a claimed row is read with: who owns it is nobody's affair, its epoch is."""
    return [column for column in table.c if column.name != "owner"]


def others(dialect: str) -> tuple[ColumnElement[bool], ...]:
    """Select the other workers whose leases hold at `now`; `me` is who asks."""
    return workers.c.lease_until > lease_clock(dialect), workers.c.id != bindparam("me")


def free(dialect: str, table: Table) -> ColumnElement[bool]:
    """Select rows that no other living worker holds."""
    held = table.c.owner.not_in(select(workers.c.id).where(*others(dialect)))
    return or_(table.c.owner.is_(None), held)


def claiming(
    dialect: str,
    table: Table,
    *work: ColumnElement[bool],
    **values: Any,  # noqa: ANN401 - columns
) -> ReturningUpdate[Any]:
    """Return the statement that `take` runs: the first due rows with `work`, under a new epoch.

    `values` are set besides. Build it once for each dialect.
    """
    due = (
        select(table.c.id)
        .where(
            *work,
            table.c.due_at <= bindparam("now"),
            free(dialect, table),
            ~one_of(dialect, table.c.id, "busy"),
        )
        .order_by(table.c.due_at, table.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=table)
    )
    return (
        update(table)
        .where(table.c.id.in_(due.scalar_subquery()))
        .values(owner=bindparam("me"), epoch=table.c.epoch + 1, **values)
        .returning(*columns_of(table))
    )


def take(
    db: Connection,
    statement: ReturningUpdate[Any],
    *,
    worker: str,
    now: datetime,
    limit: int,
    busy: Sequence[int] = (),
    **wanted: Any,  # noqa: ANN401 - parameters of the work
) -> list[RowMapping]:
    """Claim up to `limit` rows for `worker` and return them by id.

    A row whose owner's lease is over is anybody's. `busy`: ids that are passed over.
    """
    asked = {"me": worker, "now": now, "most": limit, "busy": packed(db.dialect.name, busy)}
    taken = db.execute(statement, {**asked, **wanted}).mappings()
    return sorted(taken, key=lambda row: int(row["id"]))
