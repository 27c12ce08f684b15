"""What a worker's start and the doctor say about the store; waiting for a database that is away."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa

from orchestrator.app import App
from orchestrator.domain.errors import RegistryAway
from orchestrator.registry.session import PAGE
from orchestrator.service.one_shot import one_shot
from orchestrator.service.signals import Signals
from orchestrator.settings import load

AWAY = "postgresql+psycopg://nobody@127.0.0.1:1/none"


def use(project, url):
    path = project.folder / "orchestrator.toml"
    text = path.read_text()
    path.write_text(text.replace(f"sqlite:///{project.registry}", url))


def configuration_of(project):
    environ = {"HOME": str(project.folder), "ORCHESTRATOR_SYSTEM_CONFIG": "/nowhere"}
    return load(environ=environ, cwd=project.folder, config=project.folder / "orchestrator.toml")


@pytest.mark.fault("Q01")
def test_a_one_shot_waits_for_its_database_and_then_is_worth_trying_again(offline):
    use(offline, AWAY)
    with App(configuration_of(offline)) as app, Signals() as signals:
        began = app.clock.monotonic()
        with pytest.raises(RegistryAway) as caught:
            one_shot(app, signals, patience=1.5)
        waited = app.clock.monotonic() - began
    assert (caught.value.exit_code, caught.value.code) == (75, "ORC4001")
    assert waited >= 1.5


def test_a_one_shot_that_is_told_to_stop_waits_no_longer(offline):
    use(offline, AWAY)
    with App(configuration_of(offline)) as app, Signals() as signals:
        signals.stopped_by = 2
        with pytest.raises(RegistryAway):
            one_shot(app, signals, patience=600)


def test_the_doctor_says_how_a_server_may_forget(offline, databases):
    url = databases.fresh("postgresql")
    name = sa.make_url(url).database
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")
        db.exec_driver_sql("ALTER TABLE schedules SET UNLOGGED")
    engine.dispose()
    use(offline, url)
    ran = offline.run("doctor", "--offline")
    assert ran.status == 78
    assert "fail  server    synchronous_commit is off [ORC4015]" in ran.out
    assert "next  ALTER TABLE schedules SET LOGGED" in ran.out
    ticked = offline.run("tick")
    assert (ticked.status, "[ORC4015]" in ticked.err) == (78, True)


def test_the_doctor_warns_of_a_log_that_nobody_brings_into_the_file(offline):
    offline.submit(1)
    with closing(sqlite3.connect(offline.registry, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM jobs").fetchone()
        with closing(sqlite3.connect(offline.registry, isolation_level=None)) as writer:
            writer.execute("PRAGMA synchronous=OFF")
            writer.execute("CREATE TABLE filler (x)")
            writer.execute("INSERT INTO filler VALUES (zeroblob(65000000))")
        ran = offline.run("doctor", "--offline")
        assert "warn  wal       the registry's log has 65 MB" in ran.out
        reader.execute("COMMIT")
    assert offline.run("tick").status == 0
    assert "warn  wal" not in offline.run("doctor", "--offline").out


@pytest.mark.fault("Q09")
def test_no_work_begins_on_a_damaged_file(offline):
    offline.submit(300)
    with closing(sqlite3.connect(offline.registry)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = offline.registry.read_bytes()
    page = PAGE
    broken = max(n for n in range(1, len(whole) // page) if whole[n * page] == 13)
    damaged = whole[: broken * page + 8] + b"\xff" * 200 + whole[broken * page + 208 :]
    offline.registry.write_bytes(damaged)
    ran = offline.run("tick")
    assert (ran.status, "[ORC4011]" in ran.err) == (6, True)
    assert offline.registry.read_bytes() == damaged


def test_the_reserve_is_a_size_like_any_other(offline):
    path = offline.folder / "orchestrator.toml"
    path.write_text(path.read_text().replace("[spool]\n", '[spool]\nreserve = "2GB"\n'))
    assert configuration_of(offline).settings.spool.reserve == 2_000_000_000
    assert '"2GB"' in offline.run("config", "explain", "spool.reserve").out
    path.write_text(path.read_text().replace('"2GB"', "64"))
    ran = offline.run("config", "check")
    assert (ran.status, 'a size with its unit like "64MB"' in ran.err) == (78, True)
