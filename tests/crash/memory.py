"""What a registry knows, taken out whole and put back: the moment before some commits were lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.registry.session import Registry
from orchestrator.registry.tables import metadata

Memory = Mapping[str, Sequence[Mapping[str, Any]]]


def remember(registry: Registry) -> Memory:
    """Return every row of every table."""
    with registry.read() as db:
        return {
            table.name: [dict(row) for row in db.execute(sa.select(table)).mappings()]
            for table in metadata.sorted_tables
        }


def put_back(registry: Registry, memory: Memory) -> None:
    """Let the registry know what it knew then, and nothing else; numbers are given out again."""
    with registry.connect() as db, db.begin():
        empty(db)
        for table in metadata.sorted_tables:
            if memory[table.name]:
                db.execute(sa.insert(table), list(memory[table.name]))
        if db.dialect.name == "postgresql":
            _count_on(db)


def empty(db: sa.Connection) -> None:
    """Remove every row."""
    names = [table.name for table in reversed(metadata.sorted_tables)]
    if db.dialect.name == "postgresql":
        # In one go, and faster than TRUNCATE, which makes new files.
        resets = (f"setval('{name}', 1, false)" for name in _sequences())
        removals = "".join(f"DELETE FROM {name}; " for name in names)
        db.exec_driver_sql(f"{removals} SELECT {', '.join(resets)}")
        return
    for name in (*names, "sqlite_sequence"):
        db.exec_driver_sql(f"DELETE FROM {name}")


def _sequences() -> Iterator[str]:
    for table in metadata.sorted_tables:
        if table.autoincrement_column is not None:
            yield f"{table.name}_{table.autoincrement_column.name}_seq"


def _count_on(db: sa.Connection) -> None:
    for table in metadata.sorted_tables:
        if table.autoincrement_column is not None:
            column = table.autoincrement_column.name
            last = f"(SELECT coalesce(max({column}), 0) + 1 FROM {table.name})"
            sequence = f"pg_get_serial_sequence('{table.name}', '{column}')"
            db.execute(sa.text(f"SELECT setval({sequence}, {last}, false)"))
