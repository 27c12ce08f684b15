"""A SQL table as a sink: outcomes merged by key, or appended once each, in one transaction a chunk.

A chunk that comes again changes nothing: merged, it writes the same rows; appended, the table
`orchestrator_deliveries` beside it says up to where it has them, kept in the same transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchTableError,
    OperationalError,
    SQLAlchemyError,
)

from orchestrator.failpoints import hit
from orchestrator.sinks.chunks import CHUNK, Arrived, SinkAway, SinkRefused
from orchestrator.sinks.row_values import RowValues
from orchestrator.sinks.sql_types import Misfit, fitter, type_for

MISFIT = "ORC6022"
UNFIT = "ORC6023"
MARKS = "orchestrator_deliveries"

Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a table takes: how, by which key, and which columns under which names."""

    table: str
    mode: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    rename: Mapping[str, str] | None = None
    add_columns: bool = False
    nul: str = ""

    def name_of(self, column: str) -> str:
        """Return what a column of the outcomes is called in the table."""
        return (self.rename or {}).get(column, column)


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
        self._names = _names(target, values)
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
                db.execute(insert(self._table), rows)
                _move_mark(db, self._mark, chunk[-1][:2])
            return
        self._write(db, rows)

    def _culprit(self, rows: Sequence[Row], exc: DBAPIError) -> SinkRefused:
        """Find the row that the database refuses, by itself in a transaction that is undone."""
        for row in rows:
            with self._engine.connect() as db:
                try:
                    db.execute(insert(self._table), row) if not self._keys else self._write(
                        db, [row]
                    )
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
            return lambda db, rows: None if not rows else _insert(db, self._table, rows)
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
            _insert(db, self._table, new)


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


def _insert(db: Connection, table: Table, rows: Sequence[Row]) -> None:
    db.execute(insert(table), list(rows))


Fitters = dict[str, tuple[str, Callable[[Any], Any]]]
"""By the name of a column of the outcomes: its name in the table, and what makes values fit."""


def fitters(engine: Engine, table: Table, target: Target, values: RowValues) -> Fitters:
    """Return what makes the values of a row fit the columns of `table`."""
    dialect = engine.dialect.name
    return {
        column: (name, fitter(table.c[name].type, dialect, nul=target.nul))
        for column, name in _names(target, values).items()
    }


def fit_row(fits: Fitters, target: Target, values: Row) -> Row:
    """Return a row as the table takes it. Raises SinkRefused that names record and column."""
    row = {}
    for column, (name, fit) in fits.items():
        value = values[column]
        try:
            row[name] = None if value is None else fit(value)
        except Misfit as exc:
            raise _misfit(target, values, column, str(exc)) from None
    return row


def _misfit(target: Target, values: Row, column: str, why: str) -> SinkRefused:
    key = ", ".join(str(values[part])[:80] for part in target.key)
    record = f"record {key}" if key else "a record"
    return SinkRefused(
        f"{record} does not fit the table {target.table}: column {column}",
        code=MISFIT,
        why=why,
        safe="nothing of its chunk was written; the outcomes stay in the registry",
        next="change the column's type, or leave it out with the option columns",
    )


def _parts(rows: Sequence[Row], most: int = 200) -> Iterator[Sequence[Row]]:
    """Cut rows so that a condition over each part stays within what any database takes."""
    return (rows[first : first + most] for first in range(0, len(rows), most))


def _names(target: Target, values: RowValues) -> dict[str, str]:
    """Return the columns to write and what they are called in the table."""
    known = [column.name for column in values.header.columns]
    wanted = [*target.key, *target.columns] if target.columns else known
    for column in wanted:
        if column not in known:
            raise SinkRefused(
                f'the outcomes have no column "{column}"',
                code=UNFIT,
                why=f"their columns are {', '.join(known[:30])}",
                next="name them in the options key and columns as the export does",
            )
    return {column: target.name_of(column) for column in dict.fromkeys(wanted)}


def ready_table(engine: Engine, target: Target, values: RowValues, *, make: bool = True) -> Table:
    """Return the table: made with typed columns if it is not there, checked if it is.

    Raises SinkRefused (ORC6023) when it lacks columns that it may not be given.
    """
    names, meta = _names(target, values), MetaData()
    schema, _, bare = target.table.rpartition(".")
    if target.mode == "append":
        _marks(meta).create(engine, checkfirst=True)
    try:
        table = Table(bare, meta, schema=schema or None, autoload_with=engine, resolve_fks=False)
    except NoSuchTableError:
        if not make:
            raise
        table = Table(bare, meta, *_columns(target, values, engine), schema=schema or None)
        table.create(engine, checkfirst=True)
        return table
    missing = [column for column, name in names.items() if name not in table.c]
    if not missing:
        return table
    if not target.add_columns:
        raise _lacking(target.table, [names[column] for column in missing])
    add_columns(engine, table, {names[c]: _words(values, c) for c in missing})
    return Table(bare, MetaData(), schema=schema or None, autoload_with=engine, resolve_fks=False)


def _lacking(table: str, missing: Sequence[str]) -> SinkRefused:
    return SinkRefused(
        f"the table {table} has no column {', '.join(missing[:10])}",
        code=UNFIT,
        safe="the table was not changed; the outcomes stay in the registry",
        next="add_columns = true adds them; columns = [...] says which ones to write",
    )


def add_columns(engine: Engine, table: Table, missing: Mapping[str, str | None]) -> None:
    """Add columns of these Arrow types to a table."""
    preparer = engine.dialect.identifier_preparer
    whole = preparer.format_table(table)
    with engine.begin() as db:
        for name, words in missing.items():
            kind = type_for(words, dialect=engine.dialect.name).compile(dialect=engine.dialect)
            db.exec_driver_sql(f"ALTER TABLE {whole} ADD COLUMN {preparer.quote(name)} {kind}")


def _words(values: RowValues, column: str) -> str | None:
    return next(c.type for c in values.header.columns if c.name == column)


def _columns(target: Target, values: RowValues, engine: Engine) -> Iterator[Column[Any]]:
    merges = target.mode != "append"
    for column, name in _names(target, values).items():
        is_key = merges and column in target.key
        kind = type_for(_words(values, column), dialect=engine.dialect.name, is_key=is_key)
        yield Column(name, kind, primary_key=is_key, autoincrement=False)


def is_unique(engine: Engine, table: Table, keys: Sequence[str]) -> bool:
    """Whether the database itself holds these columns to be unique together."""
    look, wanted = inspect(engine), set(keys)
    where = {"schema": table.schema}
    if set(look.get_pk_constraint(table.name, **where)["constrained_columns"]) == wanted:
        return True
    if any(
        set(found["column_names"]) == wanted
        for found in look.get_unique_constraints(table.name, **where)
    ):
        return True
    return any(
        found["unique"]
        and set(found["column_names"]) == wanted
        and not any(key.endswith("_where") for key in found.get("dialect_options", {}))
        for found in look.get_indexes(table.name, **where)
    )


def _marks(meta: MetaData) -> Table:
    return Table(
        MARKS,
        meta,
        Column("delivery", String(120), primary_key=True),
        Column("stamp", BigInteger, nullable=False),
        Column("request", BigInteger, nullable=False),
    )


_MARKS = _marks(MetaData())


def _marked(db: Connection, mark: str) -> tuple[int, int]:
    query = select(_MARKS.c.stamp, _MARKS.c.request).where(_MARKS.c.delivery == mark)
    found = db.execute(query).first()
    return (found.stamp, found.request) if found else (0, 0)


def _move_mark(db: Connection, mark: str, place: tuple[int, int]) -> None:
    db.execute(delete(_MARKS).where(_MARKS.c.delivery == mark))
    db.execute(insert(_MARKS).values(delivery=mark, stamp=place[0], request=place[1]))


@contextmanager
def told(table: str) -> Iterator[None]:
    """Say a database's error as ours: away, or a refusal. Row data never gets into it."""
    try:
        yield
    except (DataError, IntegrityError):
        raise
    except (OperationalError, InterfaceError) as exc:
        raise SinkAway(
            f"the database of the table {table} does not answer", why=first_line(exc)
        ) from exc
    except SQLAlchemyError as exc:
        if isinstance(exc, DBAPIError) and exc.connection_invalidated:
            raise SinkAway(
                f"the connection of the table {table} broke", why=first_line(exc)
            ) from exc
        raise SinkRefused(
            f"the table {table} can't be written",
            code=UNFIT,
            why=first_line(exc),
            safe="the outcomes stay in the registry",
            next="look at the table and at what the user of the connection may do",
        ) from exc


def first_line(exc: SQLAlchemyError) -> str:
    """Return the first line of what the driver says, without the statement and its values."""
    orig = getattr(exc, "orig", None)
    lines = str(orig if orig is not None else exc).strip().splitlines()
    return lines[0][:300] if lines else type(exc).__name__
