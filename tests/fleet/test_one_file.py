"""One SQLite file: room for one daemon, for short writers beside it, and for who comes after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from fleet.child import DONE, NAME
from fleet.nursery import FAST, Nursery
from fleet.scene import SPEED, Scene, scene
from support.databases import Databases

from orchestrator.registry import jobs
from orchestrator.registry.session import Registry

ALREADY_RUNNING = 8
LONG = msgspec.structs.replace(FAST, lease_seconds=600.0)
SUBMIT = ("--key", "id", "--prompt", "Say it: {text}", "--provider", "sandbox")


@pytest.fixture
def one_file(databases: Databases, tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path, databases.fresh("sqlite")) as found:
        yield found


@contextmanager
def daemon(found: Scene) -> Iterator[subprocess.Popen[str]]:
    """Run a daemon until the block ends; it must end well, then."""
    running = found.start("daemon")
    try:
        yield running
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.communicate()


def until(running: subprocess.Popen[str], event: str) -> None:
    """Read a daemon's log up to an event."""
    assert running.stderr is not None
    seen = []
    for line in running.stderr:
        seen.append(line)
        if line.startswith("{") and json.loads(line)["event"] == event:
            return
    raise AssertionError(f"{event} never came, but: {''.join(seen)}")


@pytest.mark.fault("T02")
def test_a_second_daemon_on_the_same_file_ends_at_once_with_its_own_status(
    one_file: Scene,
) -> None:
    with daemon(one_file) as first:
        until(first, "started")
        began = time.monotonic()
        assert one_file.run("status")[0] == 0
        a_command = time.monotonic() - began
        status, said = one_file.run("daemon")
        took = time.monotonic() - began - a_command
        assert status == ALREADY_RUNNING
        assert "another daemon" in said
        assert took < 2 * a_command + 2, "as long as a short command takes, and a second or so"


@pytest.mark.fault("T02")
def test_short_writers_work_beside_the_daemon(one_file: Scene) -> None:
    one_file.clock.speed = 0
    with daemon(one_file) as running:
        until(running, "started")
        for name in ("one", "two"):
            submitted = ("submit", "source.jsonl", "--name", name, *SUBMIT, "--model", "kimi-k2.6")
            assert one_file.run(*submitted)[0] == 0
        assert one_file.run("pause", "one")[0] == 0
        assert one_file.run("cancel", "two", "--confirm", "two")[0] == 0
        assert one_file.run("resume", "one")[0] == 0
        one_file.clock.speed = SPEED
        one_file.run("watch", "one", "two", "--progress", "off", "--timeout", "300s")
    registry = Registry(one_file.url)
    with registry.read() as db:
        found = {name: jobs.find(db, name) for name in ("one", "two")}
    registry.close()
    assert [(name, job.state) for name, job in found.items() if job] == [
        ("one", "finished"),
        ("two", "cancelled"),
    ]


@pytest.mark.fault("T03")
def test_a_tick_that_overlaps_with_another_worker_does_nothing_and_ends_with_0(
    one_file: Scene, nursery: Nursery
) -> None:
    first = nursery.start(one_file.order(stop_at="call.send create", pace=LONG))
    assert nursery.wait(first) == -signal.SIGSTOP
    status, said = one_file.run("tick")
    assert (status, "another worker" in said) == (0, True)
    os.kill(first, signal.SIGCONT)
    assert nursery.wait(first) == DONE
    one_file.assert_nothing_lost_and_nothing_twice()


@pytest.mark.fault("T03")
def test_ticks_that_overlap_on_postgresql_share_the_work_and_end_with_0(
    databases: Databases, tmp_path: Path, nursery: Nursery
) -> None:
    with scene(tmp_path, databases.fresh("postgresql")) as found:
        first = nursery.start(found.order(stop_at="call.send create", pace=LONG))
        assert nursery.wait(first) == -signal.SIGSTOP
        assert found.run("tick")[0] == 0
        os.kill(first, signal.SIGCONT)
        assert nursery.wait(first) == DONE
        found.assert_nothing_lost_and_nothing_twice()


@pytest.mark.fault("T04", "T02")
def test_a_daemon_starts_right_after_its_predecessor_was_killed(
    one_file: Scene, nursery: Nursery
) -> None:
    dead = one_file.order(die_at="call.answered create", pace=LONG)
    assert nursery.run(dead) == -signal.SIGKILL, "its lease would hold for ten minutes"
    with daemon(one_file) as running:
        until(running, "started")
        one_file.run("watch", NAME, "--progress", "off", "--timeout", "300s")
    one_file.assert_nothing_lost_and_nothing_twice()


@pytest.mark.fault("T02")
@pytest.mark.parametrize(
    "place", ["registry.commit _Lease.begin.<locals>.work", "call.answered delete_file"]
)
def test_a_daemon_waits_for_the_tick_that_came_between_it_and_its_killed_predecessor(
    one_file: Scene, nursery: Nursery, place: str
) -> None:
    dead = one_file.order(die_at="call.answered upload", pace=LONG)
    assert nursery.run(dead) == -signal.SIGKILL
    tick = nursery.start(one_file.order(kind="tick", traces="tick", stop_at=place, pace=LONG))
    assert nursery.wait(tick) == -signal.SIGSTOP
    with daemon(one_file) as running:
        until(running, "registry_busy")
        os.kill(tick, signal.SIGCONT)
        assert nursery.wait(tick) == DONE
        until(running, "started")
    one_file.assert_nothing_lost_and_nothing_twice()
