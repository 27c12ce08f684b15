"""The door to the database: connections, transactions, what may be run again.

SQLite: WAL, `synchronous=FULL`, each writing transaction begins IMMEDIATE (a deferred one that
reads and then writes fails at once when another has committed in between). PostgreSQL: read
committed, statement and lock time-outs. Every function handed to `write` may be run again whole.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from orchestrator.domain.errors import ConfigError, RegistryError
from orchestrator.failpoints import hit
from orchestrator.private import private_directory, private_file
from orchestrator.registry.file_systems import network_of

T = TypeVar("T")

BUSY_MS = 30_000
_WRITE_TRIES = 5

WAL_STEP = 16_000_000
"""Bytes that the log grows by before the worker in charge brings it into the file."""

WAL_WARN = 64_000_000
"""Bytes of log above which somebody should look: a reader that does not end holds it open."""

PAGE = 16_384
"""Bytes of a page in a new SQLite file. Record and body of a request are some two kilobytes: of
SQLite's own 4,096 bytes a page, nearly half would be lost, and written twice for nothing."""

_UNFIT = {
    sqlite3.SQLITE_NOTADB: "the registry's file is no SQLite database",
    sqlite3.SQLITE_CORRUPT: "the registry's file is damaged: restore a backup",
    sqlite3.SQLITE_READONLY: "the registry's file, or its folder, can't be written",
    sqlite3.SQLITE_CANTOPEN: "the registry's file can't be opened",
    sqlite3.SQLITE_PERM: "the registry's file may not be used by this user",
}
_RETRYABLE_SQLSTATES = frozenset({"40001", "40P01", "55P03"})


class Registry:
    """The database that is the only state there is.

    `url`: an SQLAlchemy URL, `sqlite:///path` or `postgresql+psycopg://…`. `sync=False` gives up
    durability over power loss on SQLite, for throw-away copies in tests only.
    """

    def __init__(self, url: str, *, sync: bool = True) -> None:
        self.url = _parse(url)
        self._sync = sync
        self._in_charge = False
        self._turn = threading.RLock()
        self._checkpoint_at = WAL_STEP
        self._writer = self._engine(read_only=False)
        self._reader = self._engine(read_only=True)

    @property
    def dialect(self) -> str:
        """Either "sqlite" or "postgresql"."""
        return self._writer.dialect.name

    @property
    def path(self) -> Path | None:
        """The database file of an SQLite registry."""
        if self.dialect != "sqlite" or not self.url.database:
            return None
        return Path(self.url.database)

    def describe(self) -> str:
        """Return the address without its password."""
        return self.url.render_as_string(hide_password=True)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one writing transaction and commit; run it again after a deadlock or busy.

        Raises RegistryError when the database can't be reached or stays busy.
        """
        for attempt in range(_WRITE_TRIES):
            try:
                return self._commit(work)
            except DBAPIError as exc:
                if attempt + 1 < _WRITE_TRIES and _worth_repeating(exc):
                    continue
                raise _sorted(exc.orig, self.describe()) from exc
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _commit(self, work: Callable[[Connection], T]) -> T:
        with self._one_at_a_time():
            with self._writer.begin() as db:
                result = work(db)
                hit("registry.commit", work)
            hit("registry.committed", work)
            if self._in_charge and self.wal_bytes() >= self._checkpoint_at:
                # What is committed is committed: a log that can't be emptied now is emptied later.
                with contextlib.suppress(RegistryError):
                    self._checkpoint_at = self.checkpoint() + WAL_STEP
        return result

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Let the threads of this process write to SQLite in turn, rather than wait for its lock.

        A checkpoint takes its turn too: before SQLite 3.51.3 it must not meet a writer.
        """
        if self.dialect != "sqlite":
            yield
            return
        with self._turn:
            yield

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a reading connection; end quickly, a reader left open keeps the WAL growing.

        On PostgreSQL each statement sees the moment at which it runs.
        """
        try:
            with self._reader.connect() as db:
                yield db
        except DBAPIError as exc:
            raise _sorted(exc.orig, self.describe()) from exc

    @contextmanager
    def moment(self) -> Iterator[Connection]:
        """Open a reading connection all of whose statements see one and the same moment."""
        with self.read() as db:
            if db.dialect.name == "postgresql":
                db = db.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - itself
            yield db

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """Open a writing connection whose transactions the caller owns (migrations)."""
        try:
            with self._writer.connect() as db:
                yield db
        except (OperationalError, InterfaceError) as exc:
            raise _sorted(exc.orig, self.describe()) from exc

    @contextmanager
    def raw(self) -> Iterator[sqlite3.Connection]:
        """Open the driver's own connection to an SQLite file, in no transaction."""
        try:
            connection = self._writer.raw_connection()
        except sqlite3.Error as exc:
            raise _sorted(exc, self.describe()) from exc
        try:
            yield cast("sqlite3.Connection", connection.driver_connection)
        except sqlite3.Error as exc:
            raise _sorted(exc, self.describe()) from exc
        finally:
            connection.close()

    def take_charge(self) -> None:
        """Be the one who brings SQLite's log into its file: the worker that holds the registry.

        Others leave that to it, unless the log passes WAL_WARN because no worker is alive.
        """
        if self.dialect == "sqlite":
            self._in_charge = True
            self._writer.dispose()

    def wal_bytes(self) -> int:
        """Return how long SQLite's log is; 0 for PostgreSQL, whose server looks after its own."""
        if self.path is None:
            return 0
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def checkpoint(self) -> int:
        """Bring SQLite's log into its file and empty it; return the bytes it still has.

        Waits for nobody: a log that a reader needs stays, and shrinks at the next call.
        """
        if not self.wal_bytes():
            return 0
        with self._one_at_a_time(), self.raw() as connection:
            connection.execute("PRAGMA busy_timeout=0")
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        return self.wal_bytes()

    def close(self) -> None:
        """Close all connections."""
        self._writer.dispose()
        self._reader.dispose()

    def _engine(self, *, read_only: bool) -> Engine:
        if self.url.get_backend_name() == "sqlite":
            return _sqlite(
                self.url,
                sync=self._sync,
                read_only=read_only,
                checkpoint_bytes=lambda: 0 if self._in_charge else WAL_WARN,
            )
        return _postgresql(self.url, read_only=read_only)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigError(
            "the registry's URL can't be read",
            code="ORC4004",
            next="write sqlite:///path/to/registry.db or postgresql+psycopg://user@host/database",
        ) from exc
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        raise ConfigError(
            f"a registry can't live on {parsed.drivername}",
            code="ORC4004",
            next="use sqlite:///path/to/registry.db or postgresql+psycopg://user@host/database",
        )
    return parsed


def _sqlite(
    url: URL, *, sync: bool, read_only: bool, checkpoint_bytes: Callable[[], int]
) -> Engine:
    if url.database:
        _refuse_network(Path(url.database))
        _make_private(Path(url.database))
    wanted: dict[str, object] = {"synchronous": 2 if sync else 0, "foreign_keys": 1}
    if url.database:
        wanted["journal_mode"] = "wal"
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000})

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN is deferred: ours is not
        connection.execute(f"PRAGMA page_size={PAGE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if sync else 'OFF'}")
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-16384")
        (page,) = connection.execute("PRAGMA page_size").fetchone()  # an older file keeps its own
        connection.execute(f"PRAGMA wal_autocheckpoint={checkpoint_bytes() // page}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        _read_back(connection, wanted)

    @event.listens_for(engine, "begin")
    def begin(db: Connection) -> None:
        db.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _read_back(connection: sqlite3.Connection, wanted: Mapping[str, object]) -> None:
    """Refuse a connection that did not take a pragma: SQLite says nothing when it ignores one."""
    for name, value in wanted.items():
        (found,) = connection.execute(f"PRAGMA {name}").fetchone()
        if found != value:
            raise RegistryError(
                f"the registry's file does not take {name} = {value}: it has {found}",
                code="ORC4017",
                safe="nothing was changed; without it a power cut may undo what was committed",
                next="put the file on a local disk: orchestrator config explain registry.url",
            )


def _refuse_network(path: Path) -> None:
    kind = network_of(path)
    if kind is not None:
        raise ConfigError(
            f"the registry's file lies on a network file system ({kind})",
            code="ORC4014",
            where=str(path),
            why="its locks are not reliable there: two workers could write at once and damage it",
            safe="nothing was changed",
            next="name a file on a local disk in [registry] url, or use PostgreSQL",
        )


def _make_private(path: Path) -> None:
    """Make the database file and its folder readable by their owner only."""
    try:
        private_directory(path.parent)
        private_file(path)
    except OSError as exc:
        raise RegistryError(
            f"the registry's file can't be made: {(exc.strerror or 'I/O error').lower()}",
            code="ORC4013",
            where=str(exc.filename or path),
            safe="nothing was changed",
            next="orchestrator config explain registry.url",
        ) from exc


def _postgresql(url: URL, *, read_only: bool) -> Engine:
    options = "-c statement_timeout=300000 -c lock_timeout=30000"
    if read_only:
        options += " -c default_transaction_read_only=on"
        options += " -c idle_in_transaction_session_timeout=300000"
    else:
        # Nothing of ours pauses inside a writing transaction, but a whole machine may: the rows it
        # has locked must be free again before its lease is over.
        options += " -c idle_in_transaction_session_timeout=15000"
    arguments: dict[str, Any] = {
        "options": options,
        "connect_timeout": 10,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "prepare_threshold": None,  # behind a transaction pooler there are no prepared statements
    }
    try:
        # A read is one statement mostly: BEGIN and ROLLBACK around it would take twice its time.
        level = "AUTOCOMMIT" if read_only else "READ COMMITTED"
        return create_engine(
            url,
            connect_args=arguments,
            isolation_level=level,
            pool_pre_ping=True,
            pool_size=8,
        )
    except ModuleNotFoundError as exc:
        raise ConfigError(
            "the PostgreSQL driver is not installed",
            code="ORC4005",
            next='pip install "batch-orchestrator[postgres]"',
        ) from exc


def _worth_repeating(exc: DBAPIError) -> bool:
    """Judge by type and code, never by the message: user data can contain such text."""
    if exc.connection_invalidated:
        return True
    state = getattr(exc.orig, "sqlstate", None)
    if state in _RETRYABLE_SQLSTATES:
        return True
    code = getattr(exc.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _sorted(exc: BaseException | None, address: str) -> RegistryError:
    code = getattr(exc, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return RegistryError(
            "the disk of the registry is full",
            code="ORC4006",
            where=address,
            safe="what was committed stays; remote batches go on",
            next="free some space; work resumes by itself",
        )
    if code is not None and code & 0xFF in _UNFIT:
        return RegistryError(
            _UNFIT[code & 0xFF],
            code="ORC4012",
            where=address,
            safe="nothing was changed",
            next="orchestrator config explain registry.url",
        )
    return RegistryError(
        "the registry does not answer",
        where=address,
        why=_first_line(exc),
        safe="remote batches go on; nothing was lost",
        next="check that the database is up and reachable, then run the same command again",
    )


def _first_line(exc: object) -> str:
    lines = str(exc).strip().splitlines()
    return lines[0][:300] if lines else type(exc).__name__
