"""A SQL table as a sink: outcomes merged by key, or appended once each, in one transaction a chunk.

A chunk that comes again changes nothing: merged, it writes the same rows; appended, the table
`orchestrator_deliveries` beside it says up to where it has them, kept in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
)

from orchestrator.failpoints import hit
from orchestrator.sinks.chunks import CHUNK, Arrived, SinkRefused
from orchestrator.sinks.row_values import RowValues
from orchestrator.sinks.sql_target import (
    MISFIT,
    Row,
    Target,
    first_line,
    fit_row,
    fitters,
    is_unique,
    names_of,
    ready_table,
    told,
)

MARKS = "orchestrator_deliveries"


class SqlSink:
    """Writes chunks to one table. `mark`: the delivery's name among those that append."""

    whole_stamps = False

    def __init__(self, engine: Engine, target: Target, values: RowValues, *, mark: str) -> None:
        self.size = CHUNK
        self._engine = engine
        self._target = target
        self._values = values
        self._mark = mark
        self._dialect = engine.dialect.name
        with told(target.table):
            self._table = ready_table(engine, target, values)
            if target.mode == "append":
                _MARKS.create(engine, checkfirst=True)
        self._names = names_of(target, values)
        self._fit = fitters(engine, self._table, target, values)
        self._keys = tuple(target.name_of(key) for key in target.key)
        self._write = self._writer()

    def write(self, chunk: Sequence[Arrived]) -> str:
        """Write a chunk in one transaction. Raises SinkRefused that names record and column."""
        rows = [fit_row(self._fit, self._target, self._values.read(row)) for _, _, row in chunk]
        with told(self._target.table):
            try:
                with self._engine.begin() as db:
                    self._take(db, chunk, rows)
                    hit("sink.commit")
                hit("sink.committed")
            except (DataError, IntegrityError) as exc:
                raise self._culprit(rows, exc) from exc
        return ""

    def close(self) -> None:
        """Do nothing: the connections are the pool's."""

    def _take(self, db: Connection, chunk: Sequence[Arrived], rows: list[Row]) -> None:
        if self._target.mode == "append":
            done = _marked(db, self._mark)
            rows = [row for (at, rid, _), row in zip(chunk, rows, strict=True) if (at, rid) > done]
            if rows:
                _move_mark(db, self._mark, chunk[-1][:2])
        if rows:
            self._write(db, rows)

    def _culprit(self, rows: Sequence[Row], exc: DBAPIError) -> SinkRefused:
        """Find the row that the database refuses, by itself in a transaction that is undone."""
        for row in rows:
            with self._engine.connect() as db:
                try:
                    self._write(db, [row])
                except (DataError, IntegrityError) as own:
                    key = ", ".join(str(row[name])[:80] for name in self._keys)
                    return self._refusal(f"record {key}" if key else "a record", own)
                finally:
                    db.rollback()
        return self._refusal("a chunk", exc)

    def _refusal(self, what: str, exc: DBAPIError) -> SinkRefused:
        return SinkRefused(
            f"the table {self._target.table} refuses {what}",
            code=MISFIT,
            why=first_line(exc),
            safe="nothing of its chunk was written; the outcomes stay in the registry",
            next="mend the table or the option columns",
        )

    def _writer(self) -> Callable[[Connection, Sequence[Row]], None]:
        """Return what merges rows: by the database's own upsert where the key is unique there."""
        if self._target.mode == "append":
            return self._insert
        if self._dialect in {"sqlite", "postgresql"} and is_unique(
            self._engine, self._table, self._keys
        ):
            return self._upsert
        return self._update_or_insert

    def _upsert(self, db: Connection, rows: Sequence[Row]) -> None:
        from sqlalchemy.dialects import postgresql, sqlite  # noqa: PLC0415 - heavy, and seldom

        kind = sqlite.insert if self._dialect == "sqlite" else postgresql.insert
        statement: Any = kind(self._table)
        others = {
            name: statement.excluded[name]
            for name in self._names.values()
            if name not in self._keys
        }
        if others:
            statement = statement.on_conflict_do_update(index_elements=self._keys, set_=others)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=self._keys)
        db.execute(statement, list(rows))

    def _update_or_insert(self, db: Connection, rows: Sequence[Row]) -> None:
        columns = [self._table.c[name] for name in self._keys]
        there = {
            tuple(found)
            for part in _parts(rows)
            for found in db.execute(
                select(*columns).where(
                    or_(*(and_(*(c == row[c.name] for c in columns)) for row in part))
                )
            )
        }
        old = [row for row in rows if tuple(row[name] for name in self._keys) in there]
        new = [row for row in rows if tuple(row[name] for name in self._keys) not in there]
        update_by_key(db, self._table, self._keys, old)
        if new:
            self._insert(db, new)

    def _insert(self, db: Connection, rows: Sequence[Row]) -> None:
        db.execute(insert(self._table), list(rows))


def update_by_key(db: Connection, table: Table, keys: Sequence[str], rows: Sequence[Row]) -> int:
    """Set the other columns of the rows with these keys; return how many were there."""
    names = [name for name in (rows[0] if rows else ()) if name not in keys]
    if not names:
        return 0
    where = and_(*(table.c[name] == bindparam(f"key_{name}") for name in keys))
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names}
    given = [
        {f"key_{n}": row[n] for n in keys} | {f"new_{n}": row[n] for n in names} for row in rows
    ]
    return db.execute(update(table).where(where).values(values), given).rowcount


def _parts(rows: Sequence[Row], most: int = 200) -> Iterator[Sequence[Row]]:
    """Cut rows so that a condition over each part stays within what any database takes."""
    return (rows[first : first + most] for first in range(0, len(rows), most))


_MARKS = Table(
    MARKS,
    MetaData(),
    Column("delivery", String(120), primary_key=True),
    Column("stamp", BigInteger, nullable=False),
    Column("request", BigInteger, nullable=False),
)


def _marked(db: Connection, mark: str) -> tuple[int, int]:
    query = select(_MARKS.c.stamp, _MARKS.c.request).where(_MARKS.c.delivery == mark)
    found = db.execute(query).first()
    return (found.stamp, found.request) if found else (0, 0)


def _move_mark(db: Connection, mark: str, place: tuple[int, int]) -> None:
    db.execute(delete(_MARKS).where(_MARKS.c.delivery == mark))
    db.execute(insert(_MARKS).values(delivery=mark, stamp=place[0], request=place[1]))
