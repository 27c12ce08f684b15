"""The registry's ground: migrations, guards, repeats, files that are whole or not there."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from support.databases import Databases
from support.world import World

from orchestrator.domain.errors import (
    ClaimLost,
    ConfigError,
    NotFound,
    RegistryError,
    SinkError,
    SpoolError,
)
from orchestrator.domain.transitions import Built
from orchestrator.registry import batches, jobs, migrate, tables, workers
from orchestrator.registry.bulk import among, insert_once
from orchestrator.registry.session import Registry
from orchestrator.spool import Spool

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)


def test_the_migrations_make_exactly_the_tables_that_queries_name(registry: Registry) -> None:
    with registry.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), tables.metadata) == []


def test_the_schema_constant_is_the_head_of_the_migrations() -> None:
    script = ScriptDirectory.from_config(migrate._config())
    assert script.get_current_head() == tables.SCHEMA


def test_an_empty_database_is_set_up_and_an_up_to_date_one_left_alone(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'new' / 'registry.db'}")
    with pytest.raises(NotFound, match="nothing was ever submitted"):
        migrate.check(registry)
    migrate.ensure(registry, now=NOW)
    migrate.check(registry)
    migrate.ensure(registry, now=NOW)
    assert migrate.current(registry) == tables.SCHEMA
    assert [path.name for path in (tmp_path / "new").glob("*.backup")] == []
    registry.close()


@pytest.mark.fault("Q10")
def test_a_database_of_a_newer_release_is_refused_and_left_as_it_is(registry: Registry) -> None:
    with registry.connect() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
        db.commit()
    for refuse in (migrate.check, lambda r: migrate.ensure(r, now=NOW)):
        with pytest.raises(RegistryError, match=r"9999.*does not know") as caught:
            refuse(registry)
        assert caught.value.code == "ORC4002"
    assert migrate.current(registry) == "9999"


def test_a_backup_is_a_whole_registry_made_while_others_write(
    databases: Databases, tmp_path: Path
) -> None:
    registry = Registry(databases.fresh("sqlite"), sync=False)
    copy = migrate.backup(registry, now=NOW, to=tmp_path / "copy.db")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    restored = Registry(f"sqlite:///{copy}")
    migrate.check(restored)
    with pytest.raises(SinkError, match="exists already"):
        migrate.backup(registry, now=NOW, to=copy)
    registry.close()
    restored.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://x/y", "sqlite+aiosqlite:///x"])
def test_a_url_that_is_no_registry_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Registry(url)
    assert caught.value.exit_code == 78


def test_a_database_that_does_not_answer_is_a_registry_error() -> None:
    registry = Registry("postgresql+psycopg://nobody:secret-word@127.0.0.1:1/none")
    with pytest.raises(RegistryError) as caught:
        migrate.check(registry)
    assert "secret-word" not in str(caught.value.to_dict())
    assert caught.value.exit_code == 69


def test_a_registry_file_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "registry.db"
    Registry(f"sqlite:///{path}").close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("place", ["/proc/nowhere/registry.db", "/dev/null/registry.db"])
def test_a_place_where_no_registry_can_be_is_named(place: str) -> None:
    with pytest.raises(RegistryError) as caught:
        Registry(f"sqlite:///{place}")
    assert caught.value.code == "ORC4013"


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_bytes(b"this is a letter to my aunt " * 100)
    registry = Registry(f"sqlite:///{path}")
    with pytest.raises(RegistryError, match="no SQLite database") as caught:
        migrate.check(registry)
    assert caught.value.code == "ORC4012"
    registry.close()


def test_sqlite_is_durable_and_guards_its_keys(databases: Databases) -> None:
    registry = Registry(databases.fresh("sqlite"))
    with registry.connect() as db:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            assert db.exec_driver_sql(f"PRAGMA {pragma}").scalar() == value
    registry.close()


def test_readers_never_write(registry: Registry) -> None:
    with pytest.raises(RegistryError), registry.read() as db:
        db.execute(sa.delete(tables.jobs))


def test_two_writers_of_one_row_both_get_their_turn(registry: Registry) -> None:
    def add_one(name: str) -> None:
        for number in range(10):
            registry.write(
                lambda db, n=number: insert_once(
                    db, tables.instance, "id", {"id": f"{name}{n}", "created_at": NOW}
                )
            )

    threads = [threading.Thread(target=add_one, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with registry.read() as db:
        count = db.execute(sa.select(sa.func.count()).select_from(tables.instance)).scalar()
    assert count == 40


def test_only_the_first_of_two_equal_rows_is_inserted(registry: Registry) -> None:
    row = {"id": "x", "created_at": NOW}
    assert registry.write(lambda db: insert_once(db, tables.instance, "id", row))
    assert not registry.write(lambda db: insert_once(db, tables.instance, "id", row))


def test_a_set_of_ids_is_one_parameter_however_many(registry: Registry) -> None:
    with registry.read() as db:
        query = sa.select(tables.jobs.c.id).where(among(db, tables.jobs.c.id, range(100_000)))
        assert db.execute(query).all() == []


def test_times_come_back_as_they_went_in_utc(registry: Registry) -> None:
    moment = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    registry.write(
        lambda db: insert_once(db, tables.instance, "id", {"id": "x", "created_at": moment})
    )
    with registry.read() as db:
        assert db.execute(sa.select(tables.instance.c.created_at)).scalar() == moment


@pytest.mark.fault("P13")
def test_a_move_by_a_worker_that_was_taken_over_touches_nothing(world: World) -> None:
    world.submit(5)
    stale = _planned(world)
    world.registry.write(lambda db: batches.take_over(db, stale))
    with pytest.raises(ClaimLost):
        world.context.record(stale, Built(sha256="0" * 64, bytes=1))
    (batch,) = world.batches()
    assert batch.state == "planned"


def test_a_batch_of_a_worker_whose_lease_holds_is_not_claimed_by_another(world: World) -> None:
    world.submit(5)
    _planned(world)
    now = world.clock.now()
    mine = world.registry.write(lambda db: batches.claim(db, worker="worker-1", now=now, limit=9))
    assert len(mine) == 1

    def other(at: datetime) -> int:
        return len(
            world.registry.write(lambda db: batches.claim(db, worker="other", now=at, limit=9))
        )

    assert other(now) == 0
    world.registry.write(lambda db: workers.end(db, "worker-1", now))
    assert other(now + timedelta(seconds=1)) == 1


def _planned(world: World):
    from orchestrator.engine.steps.prepare import prepare  # noqa: PLC0415

    prepare(world.context, world.job())
    (batch,) = world.batches()
    return batch


def test_books_that_do_not_add_up_are_refused_by_the_database(world: World) -> None:
    world.submit(5)
    job = world.job()
    with pytest.raises(RegistryError):
        world.registry.write(lambda db: jobs.count(db, job.id, succeeded=1))
    assert world.job().books == job.books


def test_a_spool_file_is_private_and_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", owner="me")
    path = spool.input_path(1)
    with spool.writing(path) as file:
        file.write(b"one\n")
        assert not path.exists()
    assert path.read_bytes() == b"one\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert spool.holds(path, file.sha256, file.size)
    path.write_bytes(b"two\n")
    assert not spool.holds(path, file.sha256, file.size)


def test_a_spool_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path, owner="me")

    def write_until_the_disk_is_full() -> None:
        with spool.writing(spool.input_path(1)) as file:
            file.write(b"one\n")
            raise OSError(28, "No space left on device")

    with pytest.raises(SpoolError) as caught:
        write_until_the_disk_is_full()
    assert caught.value.code == "ORC5101"
    assert "disk is full" in caught.value.message
    assert list(tmp_path.iterdir()) == []
