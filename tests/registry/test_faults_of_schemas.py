"""Schemas of other releases, and migrations that die half-way."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from orchestrator.registry import migrate, tables
from orchestrator.registry.session import Registry

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
PAUSED = "INSERT INTO accounts (provider, gate) VALUES ('kimi', 'open')"


class Crash(BaseException):
    """The process dies here."""


def of_release(registry: Registry, version: str) -> None:
    """Bring an empty registry to the schema of an older release."""
    with registry.connect() as db:
        config = migrate._config()
        config.attributes["connection"] = db
        command.upgrade(config, version)
        db.commit()


def is_whole(registry: Registry) -> bool:
    with registry.connect() as db:
        return compare_metadata(MigrationContext.configure(db), tables.metadata) == []


@pytest.mark.fault("Q10")
def test_an_older_registry_is_copied_and_then_brought_up_to_date(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'registry.db'}", sync=False)
    oldest, *_ = migrate.known_versions()
    of_release(registry, oldest)
    migrate.ensure(registry, now=NOW)
    assert migrate.current(registry) == tables.SCHEMA
    assert is_whole(registry)
    (copy,) = tmp_path.glob("*.backup")
    kept = Registry(f"sqlite:///{copy}", sync=False)
    assert migrate.current(kept) == oldest
    for each in (kept, registry):
        each.close()


def statements(registry: Registry, die_at: int | None = None) -> int:
    """Migrate and count the statements that change something; die in front of one of them."""
    count = 0

    def look(_db: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal count
        count += statement.lstrip().split(" ", 1)[0] in {"CREATE", "ALTER", "INSERT", "UPDATE"}
        if die_at is not None and count > die_at:
            raise Crash

    sa.event.listen(registry._writer, "before_cursor_execute", look)
    try:
        migrate.upgrade(registry)
    finally:
        sa.event.remove(registry._writer, "before_cursor_execute", look)
    return count


@pytest.mark.fault("Q11")
def test_a_migration_that_died_at_any_statement_is_safe_to_run_again(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """All of them with `--thorough`, every seventh by default."""
    whole = Registry(f"sqlite:///{tmp_path / 'whole.db'}", sync=False)
    length = statements(whole)
    whole.close()
    assert length > 20
    for number in range(0, length, 1 if pytestconfig.getoption("--thorough") else 7):
        url = f"sqlite:///{tmp_path / f'{number}.db'}"
        dying = Registry(url, sync=False)
        with pytest.raises(Crash):
            statements(dying, die_at=number)
        dying.close()
        again = Registry(url, sync=False)
        migrate.ensure(again, now=NOW)
        assert migrate.current(again) == tables.SCHEMA
        assert is_whole(again), f"died in front of statement {number}"
        again.close()
