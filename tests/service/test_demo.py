from __future__ import annotations

import csv
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from cli.fake_terminal import a_world

from orchestrator.cli.main import run
from orchestrator.service import demo
from orchestrator.shipped import shipped


@pytest.fixture
def source():
    with (shipped("examples") / demo.RECORDS).open(newline="") as file:
        return list(csv.DictReader(file))


def ran(folder, *argv):
    world = a_world(folder)
    return run(["demo", *argv], world), world.stdout.getvalue(), world.stderr.getvalue()


def test_the_shipped_records_are_whole_and_each_has_its_own_id(source):
    assert len(source) == 300
    assert len({row["id"] for row in source}) == 300
    for row in source:
        assert 80 <= len(row["definition"]) <= 600
        assert row["definition"].rstrip("\"'")[-1] in ".!?"
        assert row["part_of_speech"] in {"noun", "verb", "adjective"}


def test_a_demo_killed_half_way_and_run_again_ends_with_every_record_once(tmp_path, source):
    calm = (shipped("examples") / demo.TEMPER).read_text()
    (tmp_path / "quick.toml").write_text(calm.replace("[1800.0, 5400.0]", "[60.0, 900.0]"))
    first = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", "demo", "--temper", "quick.toml"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path), "ORCHESTRATOR_DEFAULTS__WINDOW": "24h"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with first:
        for line in first.stdout:
            recorded = line.split("\t")
            if int(recorded[4]) > 0:
                os.kill(first.pid, signal.SIGKILL)
                break
    assert first.returncode == -signal.SIGKILL
    folder = tmp_path / "orchestrator-demo"
    assert not (folder / demo.RESULTS).exists()

    status, out, err = ran(tmp_path, "--temper", "quick.toml")
    assert (status, "going on with devils-dictionary" in err) == (0, True)
    assert "cd orchestrator-demo && orchestrator status" in err
    with (folder / demo.RESULTS).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [row["id"] for row in source]
    assert {row["outcome"] for row in rows} == {"succeeded", "failed"}
    tones = {row["text"] for row in rows if row["outcome"] == "succeeded"}
    assert {"bitter", "playful", "melancholy", "matter-of-fact"} <= tones
    assert sum(row["outcome"] == "succeeded" for row in rows) > 250
    with closing(sqlite3.connect(folder / "registry.db")) as db:
        (moved,) = db.execute("SELECT count(*) FROM events").fetchone()

    status, again, err = ran(tmp_path)
    assert (status, again.splitlines()) == (0, out.splitlines()[-len(again.splitlines()) :])
    assert "finished already: nothing was done" in err
    with closing(sqlite3.connect(folder / "registry.db")) as db:
        assert db.execute("SELECT count(*) FROM events").fetchone() == (moved,)


def test_a_folder_with_a_project_of_its_own_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "orchestrator.toml").write_text("schema = 1\n")
    status, _, err = ran(tmp_path, "--dir", "mine")
    assert (status, "[ORC7006]" in err) == (7, True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["orchestrator.toml"]


def test_a_temper_that_is_none_is_told_before_anything_starts(tmp_path):
    status, _, err = ran(tmp_path, "--temper", "ugly")
    assert (status, "[ORC3801]" in err) == (78, True)


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = ran(tmp_path, "--dir", "file/below")
    assert (status, "[ORC6002]" in err) == (73, True)
