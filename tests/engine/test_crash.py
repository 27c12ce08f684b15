"""Crashes at every commit, and every fault of every call: nothing lost, nothing paid twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection
from support.databases import Databases
from support.world import World

from orchestrator.domain.model import BatchState, JobState
from orchestrator.registry.session import Registry
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.temper import Batches, Temper

T = TypeVar("T")
QUICK = Temper(
    batches=Batches(validating=(1, 1), running=(20, 20), finalizing=(1, 1), cancelling=(1, 1))
)
RECORDS = 5
COMMITS = 80
"""At least as many as a job of two batches takes; a test holds it to that."""

CALLS = ("upload", "list_files", "content", "delete", "create", "list", "retrieve")


class Crash(BaseException):
    """The process dies here; no handler of ordinary errors may catch it."""


class CrashingRegistry(Registry):
    """Dies at one of its commits: just before it, or just after."""

    at = 0
    after = False
    count = 0

    def write(self, work: Callable[[Connection], T]) -> T:
        self.count += 1
        if self.count != self.at:
            return super().write(work)
        if self.after:
            super().write(work)
        raise Crash


def a_world(url: str, folder: Path) -> World:
    world = World(CrashingRegistry(url, sync=False), folder, temper=QUICK)
    world.requests_per_batch = 3
    world.boot()
    return world


def crashing(world: World) -> CrashingRegistry:
    assert isinstance(world.registry, CrashingRegistry)
    return world.registry


def submit_and_run(world: World) -> None:
    world.submit(RECORDS)
    world.run(days=3)


def run_through_the_crash(world: World, at: int, *, after: bool) -> bool:
    """Run a job and die at the given commit; start again with the same command, to the end."""
    registry = crashing(world)
    registry.at, registry.after = registry.count + at, after
    crashed = False
    for _ in range(2):
        try:
            submit_and_run(world)
        except Crash:
            crashed = True
            world.boot()
    return crashed


def assert_all_is_well(world: World) -> None:
    job = world.job()
    assert job.state is JobState.FINISHED
    assert job.books.succeeded == job.books.records == RECORDS
    assert {batch.state for batch in world.batches()} == {BatchState.CLOSED}
    books = world.sandbox.books()
    assert books.billed_twice() == {}
    assert set(books.batches_per_metadata("orc_token").values()) <= {1}
    assert set(books.batches_per_input().values()) <= {1}
    assert [file.name for file in books.files if not file.deleted] == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, COMMITS + 1))
def test_a_crash_at_any_commit_changes_no_outcome_and_costs_nothing(
    registry_url: str, tmp_path: Path, at: int, after: bool
) -> None:
    world = a_world(registry_url, tmp_path)
    run_through_the_crash(world, at, after=after)
    assert_all_is_well(world)
    world.registry.close()


def test_the_crashes_above_reach_every_kind_of_commit(databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    world = a_world(databases.fresh("sqlite"), tmp_path / "first")
    registry = crashing(world)
    began = registry.count
    world.submit(RECORDS)
    world.run(days=3)
    length = registry.count - began
    assert length <= COMMITS, f"a job takes {length} commits by now"
    told = kinds_after(databases, tmp_path, length - 1)
    assert {"planned", "built", "upload_began", "uploaded", "create_began", "created"} <= told
    assert {"remote_ended", "collected", "reconciled", "cleaned_up"} <= told


def kinds_after(databases: Databases, folder: Path, at: int) -> set[str]:
    """Return the kinds of event that were committed when the process died at commit `at`."""
    from orchestrator.registry import events  # noqa: PLC0415

    (folder / "second").mkdir()
    world = a_world(databases.fresh("sqlite"), folder / "second")
    registry = crashing(world)
    registry.at, registry.after = registry.count + at, True
    with pytest.raises(Crash):
        submit_and_run(world)
    with registry.read() as db:
        return {entry.kind for entry in events.page(db, limit=1000)}


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.UNAUTHORIZED])
@pytest.mark.parametrize("op", CALLS)
def test_any_fault_of_any_call_is_outlived(world: World, op: Any, fault: Fault) -> None:
    world.sandbox.temper = QUICK
    world.requests_per_batch = 3
    world.boot()
    world.sandbox.inject(op, fault, times=2)
    world.submit(RECORDS)
    world.run(days=3)
    assert_all_is_well(world)
