"""Rows of a table or query in chunks, whatever the database, and what goes wrong there in words."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Integer,
    Select,
    TableClause,
    column,
    inspect,
    select,
    table,
    tuple_,
)
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    NoSuchTableError,
    OperationalError,
    SQLAlchemyError,
)

from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.sources.columns import chunk_rows

NO_TABLE = "ORC2036"
FAILS = "ORC2037"
AWAY = "ORC2038"
_FIRST = 256
_STREAM = {"stream_results": True, "max_row_buffer": 1_000, "no_parameters": True}

Rows = Sequence[Sequence[Any]]


class SqlRows:
    """One table or one query at one engine. `name` is how errors call it."""

    def __init__(self, engine: Engine, name: str, *, table: str | None, query: str | None) -> None:
        self._engine = engine
        self._progress = _Progress(name)
        self._statement: str | Select[Any] = query.strip().rstrip(";") if query is not None else ""
        self._table: TableClause | None = None
        self._key: tuple[str, ...] = ()
        self._begun: Generator[Rows] | None = None
        if table is not None:
            self._find(table)

    def columns(self) -> list[str]:
        """Return the names of the columns. Raises SourceError for a query that fails.

        A query is run for it, and goes on where it stopped when its rows are wanted: it may be a
        dear one.
        """
        if self._table is not None:
            return [each.name for each in self._table.columns]
        self._begun = _streamed(self._engine, self._statement, self._progress)
        return list(next(self._begun)[0])

    def close(self) -> None:
        """Let go of the connection of a query whose rows are not wanted after all."""
        if self._begun is not None:
            self._begun.close()

    def chunks(self) -> Generator[Rows]:
        """Yield all rows, about two megabytes at a time. Raises SourceError."""
        self._progress.rows = 0
        if self._key:
            return self._pages()
        stream, self._begun = self._begun, None
        if stream is None:
            stream = _streamed(self._engine, self._statement, self._progress)
            next(stream)
        return stream

    def _find(self, named: str) -> None:
        """Look the table up, `schema.table` or a plain name, with the key it can be paged by."""
        schema, _, plain = named.rpartition(".")
        with _connected(self._engine, self._progress) as db:
            looked = inspect(db)
            for name, of in dict.fromkeys([(named, None), (plain, schema or None)]):
                try:
                    found = looked.get_columns(name, schema=of)
                except NoSuchTableError:
                    continue
                names = [each["name"] for each in found]
                self._table = table(name, *map(column, names), schema=of)
                self._statement = select(self._table)
                self._key = self._ordered_key(looked.get_pk_constraint(name, schema=of), found)
                return
            known = [
                *looked.get_table_names(schema or None),
                *looked.get_view_names(schema or None),
            ]
        raise NotFound(
            f'there is no table "{named[:80]}" at {self._progress.name.split()[0]}',
            code=NO_TABLE,
            why=f"there are {', '.join(sorted(known)[:20]) or 'none'}",
            next="say the schema too, as in --table SCHEMA.TABLE",
        )

    def _ordered_key(self, key: Any, found: Sequence[Any]) -> tuple[str, ...]:  # noqa: ANN401 - what the inspector says
        """Return the columns of the primary key, none if one of them may be null.

        SQLite lets nulls into primary keys, except into an integer one that is the row's own id.
        """
        names = tuple(key["constrained_columns"])
        facts = {each["name"]: each for each in found}
        own_id = len(names) == 1 and isinstance(facts[names[0]]["type"], Integer)
        if any(facts[name]["nullable"] for name in names) and not own_id:
            return ()
        return names

    def _pages(self) -> Generator[Rows]:
        assert self._table is not None  # noqa: S101 - only tables have keys
        key = [self._table.c[name] for name in self._key]
        places = [list(self._table.c.keys()).index(name) for name in self._key]
        query = select(self._table).order_by(*key)
        size = _FIRST
        page = query.limit(size)
        while True:
            with _connected(self._engine, self._progress) as db:
                rows = db.execute(page).fetchall()
            if not rows:
                return
            self._progress.rows += len(rows)
            yield rows
            last = tuple(rows[-1][place] for place in places)
            size = _next_size(rows)
            after = key[0] > last[0] if len(key) == 1 else tuple_(*key) > last
            page = query.where(after).limit(size)


class _Progress:
    """How far the reading is, and what went wrong there in words."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0

    def failed(self, error: SQLAlchemyError, *, connected: bool) -> SourceError:
        words = str(getattr(error, "orig", None) or error).strip().splitlines() or [""]
        why = " ".join(" ".join(words[:3]).split())[:300]
        where = f"after row {self.rows:,}" if self.rows else ""
        safe = "nothing was registered, nothing was sent"
        dropped = isinstance(error, DBAPIError) and error.connection_invalidated
        if connected and not dropped:
            return SourceError(
                f"{self.name} fails",
                code=FAILS,
                where=where,
                why=why,
                safe=safe,
                next="try the statement in the database's own client, mend it, then try again",
            )
        away = isinstance(error, OperationalError | InterfaceError) and not connected
        what = "can't be reached" if away else "broke off while it was read"
        return SourceError(
            f"{self.name} {what}",
            code=AWAY,
            where=where,
            why=why,
            safe=safe,
            next="give the same command again once the database is there: it starts over",
        )


def _streamed(engine: Engine, statement: str | Select[Any], progress: _Progress) -> Generator[Rows]:
    """Yield the names of the columns as the one row of a chunk, then the rows."""
    size = _FIRST
    with _connected(engine, progress) as db, _executed(db, statement) as result:
        yield [list(result.keys())]
        while rows := result.fetchmany(size):
            progress.rows += len(rows)
            yield rows
            size = _next_size(rows)


def _executed(db: Connection, statement: str | Select[Any]) -> Any:  # noqa: ANN401 - a result of either kind
    if isinstance(statement, str):
        return db.exec_driver_sql(statement, execution_options={**_STREAM})
    return db.execute(statement, execution_options={**_STREAM})


@contextmanager
def _connected(engine: Engine, progress: _Progress) -> Iterator[Connection]:
    """Yield a connection that is rolled back; what fails there becomes a SourceError."""
    connected = False
    try:
        with engine.connect() as db:
            connected = True
            if db.dialect.name == "postgresql":
                # A cursor sees one state of the database, and a query can't change it.
                db = db.execution_options(  # noqa: PLW2901 - the same one, set
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield db
    except SQLAlchemyError as error:
        raise progress.failed(error, connected=connected) from None


def _next_size(rows: Rows) -> int:
    """Return how many rows the next chunk holds, by the length of the texts in this one."""
    octets = sum(
        len(value) if isinstance(value, str | bytes | memoryview) else 16
        for row in rows
        for value in row
    )
    return chunk_rows(len(rows), octets)
