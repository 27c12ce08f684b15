"""Batches and results that the provider loses: given up by a person only, after one more look."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from support.books import assert_the_books_agree
from support.databases import Databases
from support.world import World

from orchestrator.api import control
from orchestrator.domain.model import BatchState
from orchestrator.domain.pacing import Pace
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import responses
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.temper import Batches, Quirks, Temper
from orchestrator.sandbox.transport import SandboxTransport

BRISK = Batches(validating=(1, 1), running=(60, 60), finalizing=(1, 1), cancelling=(1, 1))
SLOW = Batches(validating=(1, 1), running=(7_200, 7_200), finalizing=(1, 1))
SELDOM = Pace(poll_min=1_800, poll_max=1_800, back_off_min=600, gate_probe=3_600)


@pytest.fixture
def world(databases: Databases, tmp_path: Path) -> Iterator[World]:
    """A world on SQLite: nothing here is the database's."""
    registry = Registry(databases.fresh("sqlite"), sync=False)
    yield World(registry, tmp_path, temper=Temper(batches=BRISK))
    registry.close()


@pytest.mark.fault("P02")
def test_a_batch_that_the_provider_forgot_is_asked_for_over_a_day_and_never_resent_by_itself(
    world: World,
) -> None:
    world.sandbox.temper = Temper(batches=SLOW)
    world.pace = SELDOM
    world.boot()
    world.submit(10)
    world.tick()
    assert world.pace.poll_min < world.pace.cap
    world.sandbox = Sandbox(world.clock.unix, seed=9)
    world.providers.made.clear()
    began = world.clock.seconds
    while world.batches()[0].state is BatchState.LIVE:
        assert world.advance()
        assert world.clock.seconds - began < 2 * world.pace.gone_seconds
    (batch,) = world.batches()
    assert (batch.state, batch.code) == (BatchState.PARKED, "ORC5207")
    assert world.clock.seconds - began >= world.pace.gone_seconds
    world.run(days=1)
    assert world.sandbox.books().batches == ()
    assert world.job().books.in_flight == 10


def until_lost(world: World) -> Sandbox:
    """Let the provider forget a live batch until it is parked; return the provider that was."""
    world.sandbox.temper = Temper(batches=SLOW)
    world.submit(10)
    world.tick()
    before, world.sandbox = world.sandbox, Sandbox(world.clock.unix, seed=9)
    world.providers.made.clear()
    world.run(days=3)
    assert world.batches()[0].code == "ORC5207"
    return before


def put_back_at_work(world: World, sandbox: Sandbox) -> None:
    world.sandbox = sandbox
    world.providers.made.clear()


@pytest.mark.fault("P02", "R10")
def test_a_lost_batch_that_is_there_again_when_a_person_resumes_is_not_paid_for_twice(
    world: World,
) -> None:
    put_back_at_work(world, until_lost(world))
    control.resume(world.context, names=["labels"], providers=[])
    assert world.run().books.succeeded == 10
    assert len(world.sandbox.books().batches) == 1
    assert_the_books_agree(world)


@pytest.mark.fault("P02")
def test_the_records_of_a_lost_batch_are_asked_again_when_a_person_resumes(world: World) -> None:
    until_lost(world)
    control.resume(world.context, names=["labels"], providers=[])
    assert world.run().books.succeeded == 10
    assert len(world.sandbox.books().batches) == 1
    assert [batch.state for batch in world.batches()] == [BatchState.CLOSED] * 2


@pytest.mark.fault("P11")
def test_a_batch_that_could_not_be_seen_for_days_is_not_called_endless(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(expired=1.0))
    world.submit(10)
    world.tick()
    world.sandbox.temper = Temper(batches=BRISK)
    world.sandbox.inject("list", Fault.SERVER_ERROR, times=10_000)
    world.sandbox.inject("retrieve", Fault.SERVER_ERROR, times=10_000)
    world.run(days=4)
    assert world.batches()[0].state is BatchState.LIVE
    world.sandbox._misfortunes.ordered.clear()
    assert world.run().books.succeeded == 10
    assert world.sandbox.books().billed_twice() == {}


@pytest.mark.fault("P11")
def test_a_batch_that_never_ends_is_looked_at_once_more_when_a_person_resumes(
    world: World,
) -> None:
    lasting = Quirks(status_words={"expired": "lingering", "cancelled": "lingering"})
    world.sandbox.temper = Temper(batches=Batches(expired=1.0), quirks=lasting)
    world.submit(10)
    world.run(days=4)
    assert world.batches()[0].code == "ORC5208"
    world.sandbox.temper = Temper(batches=BRISK, quirks=lasting)
    control.resume(world.context, names=["labels"], providers=[])
    world.tick()
    assert world.batches()[0].state is BatchState.CLOSED
    assert world.run().books.succeeded == 10


@pytest.mark.fault("R10")
def test_answers_of_a_batch_that_was_given_up_are_taken_while_its_records_wait(
    world: World,
) -> None:
    before = until_lost(world)
    world.sandbox.inject("upload", Fault.UNAVAILABLE, times=10_000)
    control.resume(world.context, names=["labels"], providers=[])
    world.run(days=1 / 24)
    assert [batch.remote_id is None for batch in world.batches()] == [False, True]
    put_back_at_work(world, before)
    before.inject("upload", Fault.UNAVAILABLE, times=10_000)
    before.inject("retrieve", Fault.SERVER_ERROR, times=10)
    assert world.run().books.succeeded == 10
    assert len(world.sandbox.books().batches) == 1
    assert_the_books_agree(world)


@pytest.mark.fault("R10")
@pytest.mark.parametrize("fault", [None, Fault.SERVER_ERROR])
def test_a_batch_that_was_given_up_holds_up_no_other(world: World, fault: Fault | None) -> None:
    until_lost(world)
    world.sandbox.inject("upload", Fault.UNAVAILABLE, times=12)
    control.resume(world.context, names=["labels"], providers=[])
    world.tick()
    if fault is not None:
        world.sandbox.inject("retrieve", fault, times=10_000)
    began = world.clock.seconds
    world.boot()
    assert world.run().books.succeeded == 10
    assert world.clock.seconds - began < 4 * 3_600


@pytest.mark.fault("R10")
def test_answers_of_a_batch_that_was_given_up_change_no_outcome_of_a_later_one(
    world: World,
) -> None:
    before = until_lost(world)
    control.resume(world.context, names=["labels"], providers=[])
    assert world.run().books.succeeded == 10
    with world.registry.read() as db:
        kept = db.execute(sa.select(responses.c.batch_id, responses.c.body)).all()
    put_back_at_work(world, before)
    world.submit(5, name="other")
    world.run("other")
    with world.registry.read() as db:
        assert db.execute(sa.select(responses.c.batch_id, responses.c.body)).all()[:10] == kept


class Mislaid(SandboxTransport):
    """The content of every file is gone, until it is restored."""

    gone = True

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.gone and request.url.path.endswith("/content"):
            error = {"message": "No such file", "type": "resource_not_found_error"}
            return httpx.Response(404, json={"error": error})
        return super().handle_request(request)


@pytest.mark.fault("D04", "R10")
@pytest.mark.parametrize(("restored", "made"), [(True, 1), (False, 2)])
def test_a_result_file_is_looked_for_once_more_before_its_records_are_paid_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch, restored: bool, made: int
) -> None:
    monkeypatch.setattr("support.world.SandboxTransport", Mislaid)
    world.submit(10)
    world.run(days=1)
    assert world.batches()[0].code == "ORC5204"
    monkeypatch.setattr(Mislaid, "gone", not restored)
    control.resume(world.context, names=["labels"], providers=[])
    while world.batches()[0].state is BatchState.REMOTE_DONE:
        world.tick()
        world.clock.seconds += 60
    monkeypatch.setattr(Mislaid, "gone", False)
    assert world.run().books.succeeded == 10
    assert len(world.sandbox.books().batches) == made
    assert_the_books_agree(world)


@pytest.mark.fault("P10", "D02")
def test_a_batch_held_after_its_last_answer_goes_on_without_its_files(world: World) -> None:
    world.sandbox.temper = Temper(batches=SLOW)
    world.submit(10)
    world.tick()
    world.clock.seconds += 3_600
    (remote,) = world.sandbox.books().batches
    world.sandbox.cancel(remote.id)
    world.run(days=1)
    assert world.batches()[0].code == "ORC5206"
    before = world.job().books
    shutil.rmtree(world.context.spool.directory)
    provider = world.providers.get("sandbox")
    for file in list(provider.list_files()):
        provider.delete_file(file.id)
    control.resume(world.context, names=["labels"], providers=[])
    assert world.run().books.succeeded == 10 > before.succeeded > 0
    assert world.sandbox.books().billed_twice() == {}
