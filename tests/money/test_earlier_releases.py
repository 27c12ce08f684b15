"""What jobs of a release without a ledger have used stands in it after the migration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from orchestrator.domain.charging import priced_anew
from orchestrator.registry import charges, migrate
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import batches, jobs

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


@pytest.fixture
def old(registry: Registry, tmp_path: Path) -> Iterator[Registry]:
    """A registry with the schema of the release before."""
    opened = registry
    if registry.dialect == "sqlite":
        opened = Registry(f"sqlite:///{tmp_path / 'old.db'}", sync=False)
    with opened.connect() as db:
        if registry.dialect == "postgresql":
            db.exec_driver_sql("DROP SCHEMA public CASCADE")
            db.exec_driver_sql("CREATE SCHEMA public")
        config = migrate._config()
        config.attributes["connection"] = db
        command.upgrade(config, "0004")
        db.commit()
    yield opened
    if opened is not registry:
        opened.close()


def _job(db: sa.Connection, number: int, models: list[str], tokens: int) -> None:
    common = {"due_at": NOW, "created_at": NOW, "provider": "kimi"}
    values = {"id": number, "name": f"job-{number}", "state": "finished", "spec": "{}"}
    counts = {"records": 3, "succeeded": 3, "tokens_in": tokens, "tokens_out": tokens // 10}
    columns = {**common, **values, **counts, "digest": ""}
    named = sa.table("jobs", *(sa.column(name, jobs.c[name].type) for name in columns))
    db.execute(sa.insert(named).values(columns))
    for place, model in enumerate(models):
        columns = {"id": number * 10 + place, "job_id": number, "number": place + 1}
        columns |= {"provider": "kimi", "state": "closed", "model": model, "requests": 3}
        columns |= {"bytes": 9, "token": f"{number}-{place}"}
        columns |= {"planned_at": NOW, "due_at": NOW, "state_at": NOW}
        named = sa.table("batches", *(sa.column(name, batches.c[name].type) for name in columns))
        db.execute(sa.insert(named).values(columns))


def test_earlier_jobs_have_a_ledger_and_a_cost(old: Registry, world) -> None:
    with old.connect() as db:
        _job(db, 1, ["kimi-k2.6", "kimi-k2.6"], 1_000_000)
        _job(db, 2, ["kimi-k2.6", "kimi-k2.5"], 500)
        _job(db, 3, ["kimi-k2.6"], 0)
        db.commit()
    migrate.upgrade(old)
    with old.read() as db:
        found = charges.of_jobs(db, [1, 2, 3])
    (row,) = found[1]
    assert (row.day, row.model, row.charge.unpriced) == (date(2026, 9, 1), "kimi-k2.6", 3)
    price = world.providers.profile("kimi").price_on(row.model, row.day)
    known = priced_anew(row.charge, price)
    assert (known.unpriced, known.amount) == (0, 10**6 * 570_000 + 10**5 * 2_400_000)
    assert [row.model for row in found[2]] == [""]
    assert found[3] == []
