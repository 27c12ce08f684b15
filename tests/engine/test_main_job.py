"""A whole job over the sandbox, on both databases: one outcome a record, whatever happens."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa
from support.world import World

from orchestrator.api import control
from orchestrator.domain.model import BatchState, JobState
from orchestrator.domain.spec import Policy
from orchestrator.registry.tables import batches, events, failures, quarantine, requests, responses
from orchestrator.sandbox.temper import BAD, Batches, Lines, Quirks, Temper


def scalar(world: World, query: Any) -> Any:
    with world.registry.read() as db:
        return db.execute(query).scalar()


def states(world: World) -> Counter[str]:
    with world.registry.read() as db:
        return Counter(db.execute(sa.select(requests.c.state)).scalars())


def assert_books(world: World, name: str = "labels") -> None:
    """Rows, counters and the sandbox's own books tell the same."""
    job = world.job(name)
    counted = states(world)
    assert job.books.balanced
    assert job.books.succeeded == counted["succeeded"]
    assert job.books.failed == counted["failed"]
    assert job.books.expired == counted["expired"]
    assert job.books.cancelled == counted["cancelled"]
    assert job.books.waiting == counted["pending"]
    assert job.books.in_flight == counted["assigned"]
    assert scalar(world, sa.select(sa.func.count()).select_from(responses)) == job.books.succeeded
    books = world.sandbox.books()
    assert set(books.batches_per_metadata("orc_token").values()) <= {1}
    assert set(books.batches_per_input().values()) <= {1}


def assert_nothing_left(world: World) -> None:
    left = [file.name for file in world.sandbox.books().files if not file.deleted]
    assert left == []


def test_every_record_of_a_healthy_job_succeeds_and_nothing_is_left_behind(world: World) -> None:
    world.submit(220)
    job = world.run()
    assert job.state is JobState.FINISHED
    assert job.books.succeeded == job.books.records == 220
    assert [batch.requests for batch in world.batches()] == [50, 50, 50, 50, 20]
    assert {batch.state for batch in world.batches()} == {BatchState.CLOSED}
    assert_books(world)
    assert world.sandbox.books().billed_twice() == {}
    assert_nothing_left(world)
    assert not list(world.context.spool.directory.iterdir())


def test_a_response_names_its_batch_file_and_line(world: World) -> None:
    world.submit(30)
    world.run()
    with world.registry.read() as db:
        rows = db.execute(sa.select(responses).order_by(responses.c.request_id)).all()
    assert sorted(row.line for row in rows) == list(range(1, 31))
    assert {row.source for row in rows} == {"output"}
    assert {row.status_code for row in rows} == {200}
    assert all(row.tokens_in and row.tokens_out for row in rows)
    assert all(row.latency is not None and row.latency >= 0 for row in rows)
    (batch,) = world.batches()
    assert batch.output_sha256
    assert batch.output_bytes


def test_refused_lines_are_asked_again_and_permanent_ones_fail_with_the_providers_words(
    world: World,
) -> None:
    world.sandbox.temper = Temper(lines=Lines(overloaded=0.3, content_filter=0.1))
    world.submit(200)
    job = world.run()
    assert job.state is JobState.FINISHED
    assert job.books.failed > 0
    assert job.books.succeeded + job.books.failed == 200
    assert_books(world)
    with world.registry.read() as db:
        final = db.execute(sa.select(failures).where(failures.c.final)).all()
    assert len(final) == job.books.failed
    assert all(row.message for row in final)
    assert {row.status_code for row in final} <= {400, 429, 500}
    assert len(world.batches()) > 4
    assert_nothing_left(world)


def test_no_request_is_refused_more_often_than_the_policy_allows(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(overloaded=1.0))
    world.submit(20, policy=Policy(attempts=2, linger_seconds=1))
    job = world.run()
    assert job.books.failed == 20
    with world.registry.read() as db:
        asked = Counter(db.execute(sa.select(failures.c.request_id)).scalars())
    assert set(asked.values()) == {2}


@pytest.mark.fault("R02", "R04", "R07")
def test_lines_that_vanish_repeat_or_are_garbage_lose_nothing(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(missing=0.1, duplicated=0.2, garbage=0.2))
    world.submit(200)
    job = world.run()
    assert job.books.succeeded == 200
    assert_books(world)
    odd = scalar(world, sa.select(sa.func.count()).select_from(quarantine))
    counted = scalar(world, sa.select(sa.func.sum(batches.c.odd)))
    assert odd == counted > 0


@pytest.mark.fault("P09")
def test_an_expired_batch_keeps_its_answers_and_the_rest_is_asked_again(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(expired=0.7))
    world.submit(200, policy=Policy(rounds=20))
    job = world.run(days=60)
    assert job.books.succeeded == 200
    assert "expired" in {batch.remote_status for batch in world.batches()}
    assert world.sandbox.books().billed_twice() == {}
    assert_books(world)


def test_requests_that_only_ever_expire_end_as_expired(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(expired=1.0))
    world.submit(60, policy=Policy(on_expired="close"))
    job = world.run(days=60)
    assert job.state is JobState.FINISHED
    assert job.books.expired > 0
    assert job.books.succeeded + job.books.expired == 60
    assert_books(world)


@pytest.mark.fault("P10")
def test_a_batch_cancelled_by_somebody_else_waits_for_a_person_and_keeps_its_answers(
    world: World,
) -> None:
    world.submit(50)
    world.tick()
    (batch,) = world.batches()
    world.clock.seconds += 120
    world.sandbox.cancel(str(batch.remote_id))
    world.run(days=2)
    (batch,) = world.batches()
    assert batch.state is BatchState.PARKED
    assert batch.code == "ORC5206"
    books = world.job().books
    assert books.succeeded > 0
    assert books.succeeded + books.in_flight == 50
    control.resume(world.context, names=["labels"], providers=[])
    job = world.run()
    assert job.books.succeeded == 50
    assert world.sandbox.books().billed_twice() == {}
    assert_books(world)


@pytest.mark.fault("P03")
@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(status_words={"validating": "scheduling"}),
        Quirks(null_counts=True),
        Quirks(empty_ids=True),
        Quirks(empty_error_file=True),
        Quirks(body_as_string=True),
        Quirks(id_length=95),
        Quirks(advance_when_asked=True),
        Quirks(endless_list=True),
        Quirks(no_file_list=True),
        Quirks(max_limit=100),
        Quirks(error_line="mixed"),
        Quirks(unfinished_lines="silent"),
        Quirks(validation_errors="nowhere"),
        Quirks(metadata_in_list=False),
    ],
    ids=lambda quirks: "-".join(
        name
        for name in quirks.__struct_fields__
        if getattr(quirks, name) != getattr(Quirks(), name)
    ),
)
def test_what_compatible_servers_do_differently_changes_no_outcome(
    world: World, quirks: Quirks
) -> None:
    world.sandbox.temper = Temper(quirks=quirks, lines=Lines(content_filter=0.05))
    world.submit(120)
    job = world.run()
    assert job.state is JobState.FINISHED
    assert job.books.succeeded + job.books.failed == 120
    assert world.sandbox.books().billed_twice() == {}
    assert_books(world)


def test_the_worst_temper_loses_no_record_and_pays_no_batch_twice(world: World) -> None:
    world.sandbox.temper = BAD
    world.submit(300, policy=Policy(rounds=30, attempts=6))
    for _ in range(20):
        job = world.run(days=3)
        if job.state is JobState.FINISHED:
            break
        # A batch of one record that fails validation can't be halved: a person lets it go on.
        parked = [batch for batch in world.batches() if batch.state is BatchState.PARKED]
        assert {batch.code for batch in parked} <= {"ORC3207"}
        control.resume(world.context, names=["labels"], providers=[])
    assert job.state is JobState.FINISHED, [(b.label, b.state, b.reason) for b in world.batches()]
    assert job.books.recorded == 300
    assert_books(world)
    assert_nothing_left(world)


def test_the_story_of_a_batch_is_told_by_its_events(world: World) -> None:
    world.submit(10)
    world.run()
    with world.registry.read() as db:
        told = list(
            db.execute(
                sa.select(events.c.kind).where(events.c.batch_id == 1).order_by(events.c.id)
            ).scalars()
        )
    healthy = ["planned", "built", "upload_began", "uploaded", "create_began", "created"]
    assert told[:6] == healthy
    assert told[-4:] == ["remote_ended", "collected", "reconciled", "cleaned_up"]
