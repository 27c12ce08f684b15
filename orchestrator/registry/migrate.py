"""The schema: which one the database has, and the way to ours. Imports Alembic only to migrate."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from orchestrator.domain.errors import NotFound, RegistryError, SinkError
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import SCHEMA
from orchestrator.shipped import shipped

if TYPE_CHECKING:
    from alembic.config import Config


def current(registry: Registry) -> str | None:
    """Return the database's schema version; None when it is empty.

    Raises RegistryError for a database that holds other tables but no version.
    """
    with registry.read() as db:
        names = set(inspect(db).get_table_names())
        if "alembic_version" in names:
            found = db.execute(text("SELECT version_num FROM alembic_version")).scalar()
            return str(found) if found else None
        if "jobs" in names or "batches" in names:
            raise RegistryError(
                "the database has tables of ours but no schema version",
                code="ORC4002",
                where=registry.describe(),
                next="point [registry] url at an empty database, or restore a backup",
            )
        return None


def known_versions() -> list[str]:
    """Return every schema version this release can come from, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - heavy, for migrations only

    script = ScriptDirectory.from_config(_config())
    return [revision.revision for revision in script.walk_revisions()][::-1]


def ensure(registry: Registry, *, now: datetime) -> None:
    """Make an empty database ours, bring an older SQLite one up to date, refuse the rest.

    An older PostgreSQL schema is migrated by `db migrate` only: other daemons may be at work.
    Raises RegistryError for a newer or unknown schema.
    """
    found = current(registry)
    if found == SCHEMA:
        return
    if found is None:
        upgrade(registry)
    elif found not in known_versions():
        raise _newer(registry, found)
    elif registry.dialect == "sqlite":
        backup(registry, now=now)
        upgrade(registry)
    else:
        raise RegistryError(
            f"the registry has schema {found}, this release needs {SCHEMA}",
            code="ORC4002",
            where=registry.describe(),
            safe="nothing was changed",
            next="orchestrator db migrate",
        )


def _newer(registry: Registry, found: str) -> RegistryError:
    return RegistryError(
        f"the registry has schema {found}, which this release (schema {SCHEMA}) does not know",
        code="ORC4002",
        where=registry.describe(),
        why="a newer release has written it",
        safe="nothing was changed",
        next="upgrade this installation: pip install --upgrade batch-orchestrator",
    )


def check(registry: Registry) -> None:
    """Refuse a database whose schema is not ours; cheap, for every command that reads.

    Raises RegistryError.
    """
    found = current(registry)
    if found is None:
        raise empty(registry.describe())
    if found != SCHEMA:
        if found not in known_versions():
            raise _newer(registry, found)
        raise RegistryError(
            f"the registry has schema {found}, this release needs {SCHEMA}",
            code="ORC4002",
            where=registry.describe(),
            next="orchestrator db migrate",
        )


def empty(where: str) -> NotFound:
    """Return the error of a registry that holds nothing yet."""
    return NotFound(
        "the registry is empty: nothing was ever submitted here",
        code="ORC4007",
        where=where,
        next="orchestrator demo, or: orchestrator submit FILE --key COLUMN --prompt TEXT",
    )


def upgrade(registry: Registry) -> None:
    """Run every migration that the database lacks; safe to run again after a crash."""
    from alembic import command  # noqa: PLC0415 - heavy, for migrations only

    with registry.connect() as db:
        config = _config()
        config.attributes["connection"] = db
        command.upgrade(config, "head")
        db.commit()


def upgrade_sql(registry: Registry) -> str:
    """Return the SQL of the migrations that the database lacks, for a DBA."""
    from alembic import command  # noqa: PLC0415 - heavy, for migrations only

    config = _config()
    config.set_main_option("sqlalchemy.url", str(registry.url).replace("%", "%%"))
    buffer = io.StringIO()
    config.output_buffer = buffer
    found = current(registry)
    command.upgrade(config, f"{found}:head" if found else "head", sql=True)
    return buffer.getvalue()


def backup(registry: Registry, *, now: datetime, to: Path | None = None) -> Path:
    """Copy an SQLite registry, consistent while others write, and return the copy's path."""
    if registry.path is None:
        raise RegistryError(
            "only an SQLite registry is copied by this command",
            code="ORC4009",
            next="use pg_dump for a PostgreSQL registry",
        )
    target = to or registry.path.with_name(f"{registry.path.name}.{now:%Y%m%dT%H%M%SZ}.backup")
    if target.exists():
        raise SinkError(
            f"{target} exists already",
            code="ORC4009",
            next="name another file with -o, or move the old one away",
        )
    with registry.connect() as db:
        db.connection.driver_connection.execute("VACUUM INTO ?", (str(target),))  # type: ignore[union-attr]  # sqlite3
    target.chmod(0o600)
    return target


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - heavy, for migrations only

    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")).replace("%", "%%"))
    return config
