"""Steering: pause, resume, cancel, retry, on both databases."""

from __future__ import annotations

import pytest
from support.world import World

from orchestrator.api import control
from orchestrator.domain.errors import GuardError, NotFound
from orchestrator.domain.filters import RECORD_FIELDS, parse_filter
from orchestrator.domain.model import BatchState, Gate, JobState
from orchestrator.domain.spec import Policy
from orchestrator.registry import accounts
from orchestrator.sandbox.temper import Batches, Lines, Temper


def test_a_paused_job_sends_nothing_new_and_still_collects(world: World) -> None:
    world.providers.in_flight = 2
    world.submit(200)
    world.tick()
    assert len(world.batches()) == 2
    control.pause(world.context, names=["labels"], providers=[])
    for _ in range(40):
        world.tick()
        world.clock.seconds += 120
    books = world.job().books
    assert (books.succeeded, books.waiting) == (100, 100)
    control.resume(world.context, names=["labels"], providers=[])
    assert world.run().books.succeeded == 200


def test_a_paused_provider_holds_every_job_of_its_own(world: World) -> None:
    control.pause(world.context, names=[], providers=["sandbox"])
    world.submit(20)
    assert world.tick().planned == 0
    assert control.pause(world.context, names=[], providers=["sandbox"]).providers == []
    control.resume(world.context, names=[], providers=["sandbox"])
    assert world.run().books.succeeded == 20


def test_a_cancelled_job_keeps_what_was_finished_and_asks_no_further(world: World) -> None:
    world.providers.in_flight = 2
    world.submit(200)
    world.tick()
    world.clock.seconds += 300
    control.cancel_job(world.context, "labels")
    job = world.run(days=3)
    assert job.state is JobState.CANCELLED
    assert job.books.open == 0
    assert job.books.succeeded > 0
    assert job.books.cancelled >= 100
    assert {batch.state for batch in world.batches()} == {BatchState.CLOSED}
    assert [file.name for file in world.sandbox.books().files if not file.deleted] == []


def test_a_job_cancelled_before_anything_was_sent_costs_nothing(world: World) -> None:
    world.submit(20)
    control.cancel_job(world.context, "labels")
    job = world.run(days=1)
    assert job.state is JobState.CANCELLED
    assert job.books.cancelled == 20
    assert world.sandbox.books().batches == ()


def test_cancelling_a_batch_ends_its_other_records_only(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(running=(3600, 3600)))
    world.submit(100)
    world.tick()
    control.cancel_batch(world.context, "labels", 1)
    job = world.run(days=3)
    assert job.state is JobState.FINISHED
    assert job.books.succeeded >= 50
    assert job.books.cancelled > 0
    assert job.books.succeeded + job.books.cancelled == 100


def test_failed_records_are_asked_again_by_cause(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(overloaded=0.5, content_filter=0.2))
    world.submit(100, policy=Policy(attempts=1))
    before = world.run().books
    assert before.failed > 0
    world.sandbox.temper = Temper()
    where = parse_filter("cause:overloaded", RECORD_FIELDS, now=world.clock.now())
    rehearsed = control.retry(world.context, "labels", where, dry_run=True)
    assert world.job().books == before
    done = control.retry(world.context, "labels", where)
    assert 0 < done.records == rehearsed.records < before.failed
    after = world.run().books
    assert after.succeeded == before.succeeded + done.records
    assert after.failed == before.failed - done.records
    assert control.retry(world.context, "labels", where).records == 0


def test_what_was_cancelled_is_not_retried(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=0.5))
    world.submit(20)
    world.run()
    assert control.retry(world.context, "labels", ()).records > 0
    control.cancel_job(world.context, "labels")
    job = world.run()
    assert job.state is JobState.CANCELLED
    assert control.retry(world.context, "labels", ()).records == 0


@pytest.mark.fault("C07", "P05")
def test_a_refused_key_stops_its_provider_fails_nothing_and_is_probed(world: World) -> None:
    world.sandbox.inject("upload", "unauthorized", times=1)
    world.submit(20)
    world.tick()
    with world.registry.read() as db:
        account = accounts.find(db, "sandbox")
    assert account is not None
    assert account.gate is Gate.CLOSED
    assert account.code == "ORC3101"
    job = world.run()
    assert job.books.succeeded == 20
    with world.registry.read() as db:
        mended = accounts.find(db, "sandbox")
    assert mended is not None
    assert mended.gate is Gate.OPEN


@pytest.mark.fault("C09")
def test_a_used_up_balance_waits_and_burns_nothing(world: World) -> None:
    world.sandbox.inject("create", "quota", times=5)
    world.submit(20, policy=Policy(attempts=1))
    job = world.run()
    assert job.books.succeeded == 20


def test_resume_opens_a_gate_at_once(world: World) -> None:
    world.sandbox.inject("upload", "unauthorized", times=1)
    world.submit(20)
    world.tick()
    done = control.resume(world.context, names=[], providers=["sandbox"])
    assert done.providers == ["sandbox"]
    world.tick()
    assert world.batches()[0].state is BatchState.LIVE


@pytest.mark.fault("P07")
def test_a_refused_input_file_is_halved_then_parked_and_released_by_resume(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(rejected=1.0))
    world.submit(16)
    world.run(days=3)
    parked = [batch for batch in world.batches() if batch.state is BatchState.PARKED]
    assert len(parked) == 8
    assert {batch.requests for batch in parked} == {2}
    assert world.job().books.in_flight == 16
    assert all(batch.reason for batch in parked)
    world.sandbox.temper = Temper()
    control.resume(world.context, names=["labels"], providers=[])
    assert world.run().books.succeeded == 16


def test_an_unanswered_create_is_parked_where_deletion_revokes_nothing(world: World) -> None:
    world.sandbox.temper = Temper(limits=world.sandbox.temper.limits)
    world.sandbox.inject("create", "dropped", times=1)
    world.sandbox.inject("create", "gateway_timeout", times=1)
    world.submit(5, provider="openai", model="gpt-4o-mini", window="24h")
    world.run(days=2)
    (batch,) = world.batches()
    assert batch.state is BatchState.PARKED
    assert batch.code == "ORC5201"
    assert world.sandbox.books().batches == ()


def test_the_commands_name_what_they_do_not_find(world: World) -> None:
    with pytest.raises(NotFound, match="no job"):
        control.pause(world.context, names=["nobody"], providers=[])
    world.submit(5)
    with pytest.raises(NotFound, match="no batch b07"):
        control.cancel_batch(world.context, "labels", 7)


def test_a_batch_that_is_being_sent_can_not_be_cancelled(world: World) -> None:
    world.sandbox.inject("create", "answer_lost", times=1)
    world.sandbox.inject("list", "dropped", times=8, skip=1)
    world.submit(5)
    world.tick()
    with pytest.raises(GuardError, match="being sent right now"):
        control.cancel_batch(world.context, "labels", 1)
