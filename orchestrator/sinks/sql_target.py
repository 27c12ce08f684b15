"""The table of a SQL sink: made or looked at, and how the values of outcomes fit its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Engine, MetaData, Table, inspect
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchTableError,
    OperationalError,
    SQLAlchemyError,
)

from orchestrator.sinks.chunks import SinkAway, SinkRefused
from orchestrator.sinks.row_values import RowValues
from orchestrator.sinks.sql_types import Misfit, fitter, type_for

MISFIT = "ORC6022"
UNFIT = "ORC6023"

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


def ready_table(engine: Engine, target: Target, values: RowValues, *, make: bool = True) -> Table:
    """Return the table: made with typed columns if it is not there, checked if it is.

    Raises SinkRefused (ORC6023) when it lacks columns that it may not be given.
    """
    names, meta = names_of(target, values), MetaData()
    schema, _, bare = target.table.rpartition(".")
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


def _columns(target: Target, values: RowValues, engine: Engine) -> Iterator[Column[Any]]:
    merges = target.mode != "append"
    for column, name in names_of(target, values).items():
        is_key = merges and column in target.key
        kind = type_for(_words(values, column), dialect=engine.dialect.name, is_key=is_key)
        yield Column(name, kind, primary_key=is_key, autoincrement=False)


def _words(values: RowValues, column: str) -> str | None:
    return next(c.type for c in values.header.columns if c.name == column)


def names_of(target: Target, values: RowValues) -> dict[str, str]:
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


Fitters = dict[str, tuple[str, Callable[[Any], Any]]]
"""By the name of a column of the outcomes: its name in the table, and what makes values fit."""


def fitters(engine: Engine, table: Table, target: Target, values: RowValues) -> Fitters:
    """Return what makes the values of a row fit the columns of `table`."""
    dialect = engine.dialect.name
    return {
        column: (name, fitter(table.c[name].type, dialect, nul=target.nul))
        for column, name in names_of(target, values).items()
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
