from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from orchestrator.registry.tables import SCHEMA
from orchestrator.service import doctor


def verdicts(ran):
    return {check["name"]: check["verdict"] for check in ran.data()["checks"]}


def test_every_check_is_a_line_and_all_is_well(project):
    project.submit(1)
    ran = project.run("doctor", "--json")
    found = verdicts(ran)
    assert ran.status == 0
    assert set(found) == {
        *("registry", "schema", "workers", "sqlite", "spool", "state", "provider", "key"),
        *("answers", "clock", "models", "quota", "batches", "balance"),
    }
    assert "fail" not in found.values()
    lines = project.run("doctor").out.splitlines()
    assert sum(not line.startswith(" ") for line in lines) == len(found)


def test_nobody_at_work_is_worth_a_line(project):
    project.submit(1)
    ran = project.run("doctor", "--offline")
    assert "warn  workers   nobody is at work: what is submitted waits" in ran.out
    assert "next  orchestrator daemon" in ran.out


def test_the_key_is_shown_by_its_place_and_last_characters_only(project):
    (project.folder / "key").write_text("sk-a-long-secret-key-wxyz")
    ran = project.run("doctor", "--offline")
    assert f"from file {project.folder / 'key'}, ends in wxyz" in ran.out
    assert "secret" not in ran.out


def test_a_refused_key_fails_with_its_own_status(project):
    (project.folder / "key").write_text("sk-wrong")
    ran = project.run("doctor")
    assert (ran.status, "fail  answers" in ran.out) == (77, True)


def test_a_missing_key_and_an_unknown_provider_are_told(project):
    (project.folder / "key").unlink()
    assert project.run("doctor", "--offline").status == 77
    assert project.run("doctor", "kimmi").status == 78


def test_a_default_model_that_the_key_may_not_use_is_a_warning(project):
    project.configure('api_key = { file = "key" }\n')
    path = project.folder / "orchestrator.toml"
    path.write_text(path.read_text().replace("kimi-k2.6", "gpt-9"))
    assert "the default model gpt-9 is not among the" in project.run("doctor").out


@pytest.mark.parametrize(("free", "verdict"), [(10**8, "fail"), (10**9, "warn"), (10**10, "ok")])
def test_the_room_on_the_disk_is_judged(offline, monkeypatch, free, verdict):
    usage = shutil.disk_usage(offline.folder)._replace(free=free)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: usage)
    assert verdicts(offline.run("doctor", "--offline", "--json"))["spool"] == verdict


def test_migrate_makes_the_registry_and_then_has_nothing_to_do(offline):
    sql = offline.run("db", "migrate", "--sql")
    assert "CREATE TABLE jobs" in sql.out
    assert offline.run("db", "migrate", "--json").data() == {
        "from": None,
        "to": SCHEMA,
        "backup": None,
    }
    assert offline.run("db", "migrate").out.startswith("nothing to do")
    assert offline.run("db", "migrate", "--sql").out.strip() == ""


@pytest.mark.fault("Q10")
def test_a_newer_schema_is_refused_by_every_command(offline):
    offline.run("db", "migrate")
    with closing(sqlite3.connect(offline.registry)) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
        db.commit()
    for argv in (("db", "migrate"), ("db", "check"), ("tick",), ("health", "--ready")):
        ran = offline.run(*argv)
        assert (ran.status, "[ORC4002]" in ran.err) == (69, True), argv
    assert offline.run("doctor", "--offline").status == 69


def test_a_damaged_file_is_found(offline):
    offline.submit(1)
    assert offline.run("db", "check").out.startswith(f"ok: schema {SCHEMA}")
    with closing(sqlite3.connect(offline.registry)) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        db.execute("DELETE FROM jobs")
        db.commit()
    ran = offline.run("db", "check")
    assert (ran.status, "[ORC4011]" in ran.err) == (6, True)


def test_a_backup_is_a_whole_registry_and_overwrites_nothing(offline):
    offline.submit(3)
    ran = offline.run("db", "backup", "-o", "copy.db")
    assert (ran.status, ran.out) == (0, f"{offline.folder / 'copy.db'}\n")
    with closing(sqlite3.connect(offline.folder / "copy.db")) as db:
        assert db.execute("SELECT count(*) FROM requests").fetchone() == (3,)
    again = offline.run("db", "backup", "-o", "copy.db")
    assert (again.status, "[ORC4009]" in again.err) == (73, True)


def test_health_is_69_without_a_daemon_and_without_a_registry(offline):
    assert "[ORC4007]" in offline.run("health").err
    offline.submit(1)
    ran = offline.run("health")
    assert (ran.status, "[ORC4010]" in ran.err) == (69, True)
    assert offline.run("health", "--ready", "--json").data()["probe"] == "ready"
