"""Bulk paths: many rows in, sets of ids matched, at the raw driver's speed.

Rows go in key order, in chunks: binary COPY straight into the table on PostgreSQL, `executemany`
through the driver on SQLite.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Table,
    Text,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import any_
from sqlalchemy.types import TypeEngine

from orchestrator.registry.tables import Utc

if TYPE_CHECKING:
    import psycopg
    from sqlalchemy.dialects import postgresql

Row = tuple[Any, ...]


def insert_rows(
    db: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row], *, ignore: str = ""
) -> None:
    """Insert `rows`, tuples in the order of `columns`.

    `ignore`: comma-separated columns of a unique key; rows that repeat it are passed over (slower
    on PostgreSQL, where COPY can't do it).
    """
    if db.dialect.name == "sqlite":
        _executemany(db, table, columns, rows, ignore)
    elif ignore:
        _insert_ignoring(db, table, columns, rows, ignore)
    else:
        _copy(db, table, columns, rows)


def insert_once(db: Connection, table: Table, key: str, values: Mapping[str, Any]) -> bool:
    """Insert one row unless another one holds its `key` already; say whether it was inserted."""
    statement = _inserting(db, table).values(**values).on_conflict_do_nothing(index_elements=[key])
    return db.execute(statement.returning(table.c[key])).first() is not None


def _inserting(db: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return inserting(db.dialect.name, table)


def inserting(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT of a dialect: what to do on a conflict is not in the standard."""
    if dialect == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - as heavy as all the rest of a look

    return postgresql.insert(table)


def _executemany(
    db: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row], ignore: str
) -> None:
    values = _plain(table, columns, rows)
    if not values:
        return
    marks = ", ".join("?" for _ in columns)
    tail = f" ON CONFLICT ({ignore}) DO NOTHING" if ignore else ""
    names = ", ".join(columns)
    db.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks}){tail}", values)  # noqa: S608 - names of our own tables


def _plain(table: Table, columns: Sequence[str], rows: Iterable[Row]) -> list[Row]:
    """Return rows whose times are in the text form that SQLAlchemy writes on SQLite."""
    times = [i for i, name in enumerate(columns) if isinstance(table.c[name].type, Utc)]
    if not times:
        return list(rows)
    text = functools.lru_cache(maxsize=16)(_time_text)
    plain: list[Row] = []
    for row in rows:
        values = list(row)
        for index in times:
            values[index] = text(values[index])
        plain.append(tuple(values))
    return plain


def _time_text(value: datetime | None) -> str | None:
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f") if value else None


def _copy(db: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row]) -> None:
    driver = cast("psycopg.Connection[Any]", db.connection.driver_connection)
    types = [_pg_type(table.c[name]) for name in columns]
    names = ", ".join(columns)
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {table.name} ({names}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _pg_type(column: Column[Any]) -> str:
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - see `_inserting`

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]  # untyped in SQLAlchemy
    compiled = column.type.compile(dialect=dialect).lower()
    name = compiled.split("(")[0]
    return {"timestamp with time zone": "timestamptz", "float": "float8"}.get(name, name)


def _insert_ignoring(
    db: Connection, table: Table, columns: Sequence[str], rows: Iterable[Row], ignore: str
) -> None:
    values = [dict(zip(columns, row, strict=True)) for row in rows]
    if values:
        keys = [name.strip() for name in ignore.split(",")]
        db.execute(_inserting(db, table).on_conflict_do_nothing(index_elements=keys), values)


def among(
    db: Connection, column: Column[Any], ids: Sequence[int] | Sequence[str]
) -> ColumnElement[bool]:
    """Return the condition that `column` is one of `ids`, one bound parameter however many."""
    dialect = db.dialect.name
    value = packed(dialect, ids)
    texts = bool(ids) and isinstance(ids[0], str)
    return _one_of(dialect, column, bindparam(None, value, type_=_type_of(dialect, texts=texts)))


def one_of(dialect: str, column: Column[Any], name: str) -> ColumnElement[bool]:
    """Return `among` for a statement that is built once: the parameter `name` is `packed` ids."""
    return _one_of(dialect, column, bindparam(name, type_=_type_of(dialect, texts=False)))


def packed(dialect: str, ids: Sequence[int] | Sequence[str]) -> object:
    """Return ids as the one parameter that holds them all."""
    return msgspec.json.encode(list(ids)).decode() if dialect == "sqlite" else list(ids)


def _type_of(dialect: str, *, texts: bool) -> TypeEngine[Any]:
    return Text() if dialect == "sqlite" else ARRAY(Text() if texts else BigInteger())


def _one_of(dialect: str, column: Column[Any], given: BindParameter[Any]) -> ColumnElement[bool]:
    if dialect == "sqlite":
        each = func.json_each(given).table_valued("value")
        return column.in_(select(each.c.value))
    return column == any_(given)
