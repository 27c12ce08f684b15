"""The spool: a reserve for the registry, files that are dead after a failed sync, leftovers."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from support.databases import Databases
from support.world import World

from orchestrator.domain.errors import SpoolError
from orchestrator.failpoints import watched
from orchestrator.registry.session import Registry
from orchestrator.spool import RESERVE, Spool


def failing(at: str, number: int, times: int = 1):
    """Return a hook that lets the step `at` fail so often, and the list of its failures."""
    failed: list[object] = []

    def hook(name: str, about: object) -> None:
        if name == at and len(failed) < times:
            failed.append(about)
            raise OSError(number, os.strerror(number))

    return hook, failed


def test_a_file_that_would_use_up_the_reserve_is_not_begun(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", owner="me", reserve=1_000)
    monkeypatch.setattr(spool, "free_bytes", lambda: 1_500)
    with spool.writing(spool.input_path(1), size=500) as file:
        file.write(b"x" * 500)
    with pytest.raises(SpoolError) as caught, spool.writing(spool.input_path(2), size=501):
        pytest.fail("it was begun")
    assert caught.value.code == "ORC5101"
    assert "1,500 bytes are free; the file takes 501 and 1,000 are kept" in caught.value.why
    assert [path.name for path in spool.directory.iterdir()] == ["input-1.jsonl"]


@pytest.mark.fault("B06")
def test_a_nearly_full_disk_stops_building_and_it_resumes_by_itself(world: World, monkeypatch):
    world.submit(100)
    monkeypatch.setattr(Spool, "free_bytes", lambda _spool: RESERVE)
    world.tick()
    assert {batch.code for batch in world.batches()} == {"ORC5101"}
    assert {batch.state for batch in world.batches()} == {"planned"}
    assert world.sandbox.books().files == ()
    monkeypatch.undo()
    assert world.run().books.succeeded == 100


@pytest.mark.fault("D08")
def test_a_nearly_full_disk_stops_downloads_and_polling_goes_on(world: World, monkeypatch):
    world.submit(100)
    world.tick()
    monkeypatch.setattr(Spool, "free_bytes", lambda _spool: RESERVE)
    for _ in range(200):
        report = world.tick()
        world.clock.seconds = max(report.next_at.timestamp(), world.clock.seconds + 1)
        if {batch.state for batch in world.batches()} == {"remote_done"}:
            break
    world.tick()
    assert {batch.state for batch in world.batches()} == {"remote_done"}
    assert {batch.code for batch in world.batches()} == {"ORC5101"}
    kept = [file for file in world.sandbox.list_files()["data"] if file["purpose"] != "batch"]
    assert len(kept) == len(world.batches())
    monkeypatch.undo()
    assert world.run().books.succeeded == 100


@pytest.mark.fault("B07", "D08")
@pytest.mark.parametrize(
    "step",
    [
        *("spool.write", "spool.sync", "spool.rename", "spool.sync_directory"),
        *("download.write", "download.sync", "download.rename", "download.sync_directory"),
    ],
)
def test_a_file_step_that_fails_costs_a_fresh_file_and_nothing_else(
    databases: Databases, tmp_path: Path, step: str
):
    world = World(Registry(databases.fresh("sqlite"), sync=False), tmp_path)
    world.submit(60)
    hook, failed = failing(step, errno.EIO)
    with watched(hook):
        job = world.run()
    assert len(failed) == 1
    assert (job.books.succeeded, job.state) == (60, "finished")
    assert world.sandbox.books().billed_twice() == {}
    left = [path.name for path in (world.folder / "spool").iterdir()]
    assert [name for name in left if name.endswith((".tmp", ".part"))] == []


@pytest.mark.fault("B07")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_after_a_failed_sync_the_file_is_gone_and_the_next_one_is_another(tmp_path, number):
    spool = Spool(tmp_path, owner="me")
    path = spool.input_path(1)
    inodes = []

    def look(name: str, _about: object) -> None:
        if name == "spool.sync":
            (temporary,) = tmp_path.glob("*.tmp")
            # Held open, so that the system can't hand out its number again.
            inodes.append((temporary.stat().st_ino, os.open(temporary, os.O_RDONLY)))
            if len(inodes) == 1:
                raise OSError(number, os.strerror(number))

    with watched(look):
        with pytest.raises(SpoolError), spool.writing(path) as file:
            file.write(b"one\n")
        assert list(tmp_path.iterdir()) == []
        with spool.writing(path) as file:
            file.write(b"one\n")
    for _, handle in inodes:
        os.close(handle)
    assert inodes[0][0] != inodes[1][0]
    assert path.stat().st_ino == inodes[1][0]
    assert path.read_bytes() == b"one\n"


def test_half_written_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path):
    spool = Spool(tmp_path, owner="me")
    names = ("input-1.jsonl", "input-2.jsonl.dead.tmp", "input-3.jsonl.alive.tmp")
    parts = (".output-1.jsonl.00aa.part", ".output-2.jsonl.00bb.part")
    for name in (*names, *parts):
        (tmp_path / name).write_text("x")
    now = 1_000_000.0
    os.utime(tmp_path / parts[0], (now - 4_000, now - 4_000))
    os.utime(tmp_path / parts[1], (now - 10, now - 10))
    spool.clean_after(lambda owner: owner == "dead", unix=now)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        (names[0], names[2], parts[1])
    )
