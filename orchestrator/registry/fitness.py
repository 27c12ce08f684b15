"""Whether a database is fit to hold the only state there is: asked where a worker starts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from sqlalchemy import text

from orchestrator.domain.errors import ConfigError, IntegrityError, RegistryError
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import metadata

CHECK_SECONDS = 10.0
"""How long a worker's start may look for damage: it reads about 5 GB of a warm disk in that time.
What is left unread then is read by `orchestrator db check`."""

DAMAGED = "ORC4011"
UNSAFE = "ORC4015"
STANDBY = "ORC4016"
_STEPS_BETWEEN_LOOKS = 100_000


def check(
    registry: Registry, *, monotonic: Callable[[], float], seconds: float = CHECK_SECONDS
) -> None:
    """Refuse a database that may lose, or has lost, what it has committed.

    SQLite: `quick_check`, for at most so many seconds. Raises IntegrityError for a damaged file,
    ConfigError for a server that forgets commits or tables, RegistryError for a standby.
    """
    if registry.dialect == "sqlite":
        _undamaged(registry, monotonic, monotonic() + seconds)
        return
    _primary(registry)
    faults = server_faults(registry)
    if faults:
        raise ConfigError(
            f"the database may lose what it has committed: {faults[0][0]}",
            code=UNSAFE,
            where=registry.describe(),
            safe="nothing was sent: a forgotten intent is a batch that is paid for twice",
            next=faults[0][1],
            details=[f"{what}: {remedy}" for what, remedy in faults[1:]],
        )


def server_faults(registry: Registry) -> list[tuple[str, str]]:
    """Return how a PostgreSQL server may forget what it has committed, each with its remedy."""
    ours = sorted(metadata.tables)
    unlogged = text(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relpersistence <> 'p'"
        " AND relnamespace = current_schema()::regnamespace AND relname = ANY(:ours)"
    )
    with registry.read() as db:
        name, role = db.execute(text("SELECT current_database(), current_user")).one()
        delayed = db.execute(text("SHOW synchronous_commit")).scalar_one() == "off"
        tables = db.execute(unlogged, {"ours": ours}).scalars().all()
    found = [(f"table {table} is unlogged", f"ALTER TABLE {table} SET LOGGED") for table in tables]
    if delayed:
        remedy = f"ALTER DATABASE {name} SET synchronous_commit = on"
        remedy += f" (and for role {role}, if it is set there), then run it again"
        found.insert(0, ("synchronous_commit is off", remedy))
    return found


def _primary(registry: Registry) -> None:
    with registry.read() as db:
        standby = db.execute(text("SELECT pg_is_in_recovery()")).scalar_one()
    if standby:
        raise RegistryError(
            "the registry's server is a standby: it can only be read",
            code=STANDBY,
            where=registry.describe(),
            safe="nothing was changed; remote batches go on",
            next="name the primary in [registry] url, or wait until this one is promoted",
        )


def _undamaged(registry: Registry, monotonic: Callable[[], float], until: float) -> None:
    with registry.raw() as connection:
        connection.set_progress_handler(lambda: monotonic() >= until, _STEPS_BETWEEN_LOOKS)
        try:
            found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            found = ["ok"]  # as far as it came
        finally:
            connection.set_progress_handler(None, 0)
    if found != ["ok"]:
        raise IntegrityError(
            "the registry's file is damaged",
            code=DAMAGED,
            where=str(registry.path),
            why=found[0],
            safe="nothing was changed or deleted, and no work was begun; remote batches go on",
            next="keep a copy of the file, see orchestrator db check, then put back a backup",
            details=found[1:],
        )
