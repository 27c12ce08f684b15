"""A commit that is done but not acknowledged is run again: the user is told what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.books import assert_the_books_agree
from support.world import World

from crash.boundaries import Kind, Mode, Strike
from crash.lab import Lab, small_chunks
from crash.scenarios import SCENARIOS
from orchestrator import api
from orchestrator.api import control
from orchestrator.api.control import Steered
from orchestrator.domain.errors import SourceError
from orchestrator.domain.model import JobState
from orchestrator.domain.spec import JobSpec
from orchestrator.failpoints import watched
from orchestrator.registry import jobs
from orchestrator.sandbox.temper import Lines, Temper


@contextmanager
def no_commit_is_acknowledged() -> Iterator[None]:
    """Have every commit run twice: done, not acknowledged, and done again."""
    first = True

    def lose(name: str, _about: object) -> None:
        nonlocal first
        if name == "registry.committed":
            first, lost = not first, first
            if lost:
                error = sa.exc.OperationalError("COMMIT", {}, Exception("the connection is gone"))
                error.connection_invalidated = True
                raise error

    with watched(lose):
        yield


@pytest.mark.fault("Q03")
def test_a_submission_goes_through_when_no_commit_is_acknowledged(world: World) -> None:
    with small_chunks(), no_commit_is_acknowledged():
        job = world.submit(5)
    assert job.state is JobState.RUNNING
    assert job.books.waiting == job.books.records == 5
    assert world.run().books.succeeded == 5
    assert_the_books_agree(world)


@pytest.mark.fault("Q03")
def test_a_submission_that_is_taken_back_is_gone_when_no_commit_is_acknowledged(
    world: World, tmp_path: Path
) -> None:
    source = tmp_path / "changing.jsonl"
    source.write_text('{"id":"a"}\n{"id":"b"}\n{"id":"c"}\n{"id":"d"}\n', encoding="utf-8")
    spec = JobSpec(
        name="small",
        source=str(source),
        key="id",
        prompt="Say {id}",
        provider="sandbox",
        model="kimi-k2.6",
    )

    def change(_done: int, _all: int) -> None:
        source.write_text('{"id":"a"}\n', encoding="utf-8")

    with small_chunks(), no_commit_is_acknowledged(), pytest.raises(SourceError):
        api.submit(world.context, spec, actor="test", on_progress=change)
    with world.registry.read() as db:
        assert jobs.find(db, "small") is None


def pause(world: World) -> Steered:
    return control.pause(world.context, names=["labels"], providers=["sandbox"])


def cancel(world: World) -> Steered:
    return control.cancel_job(world.context, "labels")


def retry(world: World) -> Steered:
    return control.retry(world.context, "labels", ())


@pytest.mark.fault("Q03")
@pytest.mark.parametrize(
    ("command", "told"),
    [
        (pause, Steered(jobs=["labels"], providers=["sandbox"])),
        (cancel, Steered(jobs=["labels"], records=4)),
        (retry, Steered(jobs=["labels"], records=4)),
    ],
)
def test_a_command_whose_commit_is_not_acknowledged_tells_what_it_did(
    world: World, command: Callable[[World], Any], told: Steered
) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=1.0))
    world.submit(4)
    if command is retry:
        world.run()
    with no_commit_is_acknowledged():
        assert command(world) == told


@pytest.mark.fault("Q03", "Q06")
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize("scenario", ["stray", "forgotten", "twin"])
def test_a_recovery_whose_commits_are_not_acknowledged_takes_nothing_for_an_extra(
    labs: dict[str, Lab], dialect: str, scenario: str
) -> None:
    passed = labs[dialect].discover(SCENARIOS[scenario]).boundaries
    commits = [b.nth for b in passed if b.kind is Kind.COMMIT]
    for nth in commits:
        outcome = labs[dialect].run(SCENARIOS[scenario], Strike(nth, Mode.UNACKNOWLEDGED))
        assert outcome.wrong == [], passed[nth].label
