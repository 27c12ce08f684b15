"""Somebody deletes the spool, or ends the database's sessions, at a moment of his choice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.books import disagreements
from support.databases import Databases
from support.world import World

from orchestrator.domain.model import JobState
from orchestrator.failpoints import watched
from orchestrator.registry.session import Registry
from orchestrator.sandbox.temper import Batches, Lines, Temper

TEMPER = Temper(
    lines=Lines(content_filter=0.2),
    batches=Batches(validating=(1, 1), running=(20, 20), finalizing=(1, 1), cancelling=(1, 1)),
)
RECORDS = 5
OUTCOMES = (4, 1)

Blow = Callable[[World], None]


def run(url: str, folder: Path, blow: Blow, at: int) -> tuple[int, list[str]]:
    """Run a job, struck at boundary `at`; return how many it passed, and what went wrong."""
    folder.mkdir()
    world = World(Registry(url, sync=False), folder, temper=TEMPER)
    world.requests_per_batch = 3
    world.boot()
    passed = 0

    def hook(_name: str, _about: object) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            blow(world)

    try:
        with watched(hook):
            world.submit(RECORDS)
            job = world.run(days=3)
        wrong = list(disagreements(world))
        if job.state is not JobState.FINISHED:
            wrong.append(f"the job is {job.state}")
        if (job.books.succeeded, job.books.failed) != OUTCOMES:
            wrong.append(f"the outcomes are {job.books}")
        return passed, wrong
    finally:
        world.registry.close()


def at_each(new_url: Callable[[], str], folder: Path, blow: Blow, *, cases: int) -> list[str]:
    """Strike one run after the other, at boundaries spread over the whole; say what went wrong."""
    boundaries, wrong = run(new_url(), folder / "undisturbed", lambda _: None, 0)
    assert not wrong
    assert boundaries > 150
    places = sorted({1 + n * boundaries // cases for n in range(min(cases, boundaries))})
    found = []
    for at in places:
        reached, wrong = run(new_url(), folder / f"at-{at}", blow, at)
        found += [f"at boundary {at}: {line}" for line in wrong]
        assert reached >= at, "nothing was struck"
    return found


def delete_spool(world: World) -> None:
    shutil.rmtree(world.folder / "spool", ignore_errors=True)


def end_sessions(world: World) -> None:
    url = world.registry.url
    admin = sa.create_engine(url.set(database="postgres"), poolclass=sa.NullPool)
    ending = sa.text(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = :name"
    )
    with admin.connect() as db:
        db.execute(ending, {"name": url.database}).all()


@pytest.mark.fault("B08", "D06", "T14")
@pytest.mark.parametrize(("dialect", "few"), [("sqlite", 12), ("postgresql", 3)])
def test_the_spool_may_be_deleted_at_any_moment(
    databases: Databases, tmp_path: Path, pytestconfig: pytest.Config, dialect: str, few: int
) -> None:
    cases = 5 * few if pytestconfig.getoption("--nightly") else few
    assert at_each(lambda: databases.fresh(dialect), tmp_path, delete_spool, cases=cases) == []


@pytest.mark.fault("Q02", "Q03", "R12")
def test_every_session_may_be_ended_by_the_database_at_any_moment(
    databases: Databases, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    cases = 40 if pytestconfig.getoption("--nightly") else 7

    def new_url() -> str:
        return databases.fresh("postgresql")

    assert at_each(new_url, tmp_path, end_sessions, cases=cases) == []
