"""Equal requests are sent once and answered to all; earlier jobs' answers are used again."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.books import disagreements
from support.databases import Databases
from support.world import World

from orchestrator import api
from orchestrator.domain.errors import GuardError, SourceError
from orchestrator.domain.filters import RECORD_FIELDS, parse_filter
from orchestrator.domain.model import Job, JobState
from orchestrator.domain.spec import Answer
from orchestrator.engine import registration, sharing
from orchestrator.engine.context import read_spec
from orchestrator.engine.steps.prepare import prepare
from orchestrator.registry import jobs
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import failures, requests, responses
from orchestrator.sandbox.temper import Lines, Temper


def submit(world: World, texts: list[str], *, name: str = "labels", **changes: Any) -> Job:
    """Register a job of one record for each text."""
    source = world.folder / f"{name}-texts.jsonl"
    lines = (f'{{"id":"r-{n:03d}","text":"{text}"}}\n' for n, text in enumerate(texts))
    source.write_text("".join(lines))
    return world.submit(0, name=name, **{"dedup": True, **changes}, source=str(source))


def rows(world: World, *columns: Any) -> list[Any]:
    with world.registry.read() as db:
        return list(db.execute(sa.select(*columns)).all())


def sent(world: World, name: str = "labels") -> int:
    return sum(batch.requests for batch in world.batches(name))


def whole(world: World) -> None:
    assert disagreements(world) == []


def test_equal_requests_are_sent_once_and_answered_to_all(world: World) -> None:
    submit(world, ["a", "b", "a", "a", "c", "b"])
    job = world.run()
    assert (job.state, job.books.succeeded, job.shared) == (JobState.FINISHED, 6, 3)
    assert sent(world) == 3
    found = rows(world, responses.c.source, responses.c.tokens_in)
    assert Counter(source for source, _ in found) == {"output": 3, "twin": 3}
    assert all((tokens is None) == (source == "twin") for source, tokens in found)
    whole(world)


def test_without_the_option_each_is_sent(world: World) -> None:
    submit(world, ["a", "a"], dedup=False)
    assert world.run().shared == 0
    assert sent(world) == 2
    assert {row.body_hash for row in rows(world, requests.c.body_hash)} == {None}


def test_a_failure_is_passed_on_with_its_words_and_without_its_tokens(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=1.0))
    submit(world, ["a", "a", "b"])
    job = world.run()
    assert (job.books.failed, job.shared) == (3, 0)
    told = rows(world, failures.c.request_id, failures.c.cause, failures.c.message, failures.c.line)
    first, twin = told[0], next(row for row in told if row.request_id % 2**32 == 1)
    assert twin[1:] == first[1:]
    whole(world)


def test_failed_twins_that_are_asked_again_share_again(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=1.0))
    submit(world, ["a", "a", "a", "b"])
    world.run()
    world.sandbox.temper = Temper()
    api.retry(world.context, "labels", ())
    assert world.job().books.waiting == 4
    job = world.run()
    assert (job.books.succeeded, job.shared) == (4, 2)
    assert sent(world) == 2 + 2
    whole(world)


def test_the_first_twin_is_sent_if_its_leader_is_not_asked_again(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=1.0))
    submit(world, ["a", "a", "a"])
    world.run()
    world.sandbox.temper = Temper()
    api.retry(
        world.context, "labels", parse_filter("key!=r-000", RECORD_FIELDS, now=world.clock.now())
    )
    job = world.run()
    assert (job.books.failed, job.books.succeeded, job.shared) == (1, 2, 1)
    assert sent(world) == 1 + 1
    whole(world)


def test_a_cancelled_job_leaves_no_twin_waiting(world: World) -> None:
    submit(world, ["a", "a", "b"])
    world.tick()
    api.cancel_job(world.context, "labels")
    job = world.run()
    assert job.state is JobState.CANCELLED
    assert job.books.open == 0
    assert job.books.cancelled >= 1
    whole(world)


def test_a_cancelled_batch_cancels_who_waits_for_it(world: World) -> None:
    submit(world, ["a", "a", "b", "b", "b"])
    job = world.job()
    world.context.registry.write(lambda db: jobs.set_due(db, job.id, world.clock.now()))
    prepare(world.context, job)
    api.cancel_batch(world.context, "labels", 1)
    job = world.run()
    assert (job.state, job.books.cancelled) == (JobState.FINISHED, 5)
    whole(world)


def test_twins_are_settled_in_chunks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "CHUNK", 3)
    submit(world, ["a"] * 20 + ["b"] * 5)
    job = world.run()
    assert (job.books.succeeded, job.shared) == (25, 23)
    whole(world)


def test_an_answer_of_an_earlier_job_is_used_again(world: World) -> None:
    submit(world, ["a", "b"], name="first", dedup=False, cache=True)
    world.run("first")
    world.clock.seconds += 86_400
    submit(world, ["b", "c", "b"], name="second", dedup=False, cache=True)
    assert world.job("second").books.succeeded == 2
    job = world.run("second")
    assert (job.books.succeeded, job.cached, job.shared) == (3, 2, 0)
    assert sent(world, "second") == 1
    again = [row for row in rows(world, responses) if row.source == "cache"]
    original = next(row for row in rows(world, responses) if row.body == again[0].body)
    assert (again[0].batch_id, again[0].line) == (original.batch_id, original.line)
    assert again[0].recorded_at == original.recorded_at
    assert (again[0].tokens_in, again[0].tokens_out) == (None, None)
    whole(world)


def test_a_job_answered_whole_from_earlier_ones_ends_without_the_provider(world: World) -> None:
    submit(world, ["a", "b"], name="first", cache=True)
    world.run("first")
    submit(world, ["b", "a", "b", "b"], name="second", cache=True)
    calls = len(world.sandbox.books().batches)
    world.tick()
    job = world.job("second")
    assert (job.state, job.books.succeeded) == (JobState.FINISHED, 4)
    assert (job.cached, job.shared, job.tokens_in) == (2, 2, 0)
    assert len(world.sandbox.books().batches) == calls
    whole(world)


@pytest.mark.parametrize(
    ("change", "cached"),
    [
        ({}, 1),
        ({"cache_max_age": 3600 * 30}, 1),
        ({"cache_max_age": 3600}, 0),
        ({"provider": "kimi"}, 0),
        ({"body": {"max_tokens": 9}}, 0),
        ({"answer": Answer(schema={"type": "string"}, native=False)}, 0),
        ({"cache": False}, 0),
    ],
)
def test_only_what_asks_the_same_of_the_same_in_time_is_used_again(
    world: World, change: dict[str, Any], cached: int
) -> None:
    submit(world, ["a"], name="first", cache=True)
    world.run("first")
    world.clock.seconds += 86_400
    submit(world, ["a"], name="second", **{"cache": True, **change})
    assert world.job("second").cached == cached


def test_an_age_is_counted_from_the_answer_itself_however_often_it_was_used(world: World) -> None:
    for name in ("first", "second", "third"):
        submit(world, ["a"], name=name, cache=True, cache_max_age=86_400)
        world.run(name)
        world.clock.seconds += 50_000
    assert [world.job(name).cached for name in ("first", "second", "third")] == [0, 1, 0]


def test_a_registration_that_was_cut_off_shares_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "CHUNK", 4)
    submit(world, ["x", "y"], name="first", cache=True)
    world.run("first")
    texts = ["x", "a", "b", "x", "a", "b", "y", "a", "c"]

    def die(done: int, _all: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        submit_with(world, texts, die)
    submit(world, texts, name="second", cache=True)
    job = world.run("second")
    assert (job.books.succeeded, job.cached, job.shared) == (9, 2, 4)
    assert sent(world, "second") == 3
    whole(world)


def test_a_source_that_changes_takes_answers_used_again_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "CHUNK", 2)
    submit(world, ["x", "y"], name="first", cache=True)
    world.run("first")

    def change(_done: int, _all: int) -> None:
        path = world.folder / "second-texts.jsonl"
        path.write_text(path.read_text().replace("later", "other"))

    with pytest.raises(SourceError):
        submit_with(world, ["x", "y", "x", *["later" * 50_000] * 60], change)
    assert len(rows(world, responses.c.request_id)) == 2
    whole(world)


TEXTS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=25)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.data(),
    TEXTS,
    st.sampled_from([0.0, 0.4, 0.8]),
    st.lists(st.sampled_from(["retry", "some", "cancel", "tick"]), max_size=5),
)
def test_every_record_has_one_outcome_and_each_body_is_billed_once(
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    texts: list[str],
    trouble: float,
    commands: list[str],
) -> None:
    registry = Registry(databases.fresh("sqlite"), sync=False)
    lines = Lines(content_filter=trouble, overloaded=trouble / 4)
    world = World(registry, tmp_path_factory.mktemp("equal"), temper=Temper(lines=lines))
    world.requests_per_batch = data.draw(st.integers(1, 8))
    world.boot()
    submit(world, texts)
    for command in commands:
        act(world, command, data)
    job = world.run()
    assert job.books.recorded == len(texts)
    whole(world)
    if "some" not in commands:
        answered = Counter(row.body_hash for row in answers_by_line(world))
        assert all(count == 1 for count in answered.values())
    registry.close()


def act(world: World, command: str, data: st.DataObject) -> None:
    """Do one thing that users do; where it can't be done, nothing happens."""
    with contextlib.suppress(GuardError):
        match command:
            case "tick":
                world.advance()
            case "cancel":
                api.cancel_job(world.context, "labels")
            case "retry":
                world.run()
                api.retry(world.context, "labels", ())
            case "some":
                world.run()
                key = f"r-{data.draw(st.integers(0, 24)):03d}"
                api.retry(
                    world.context,
                    "labels",
                    parse_filter(f"key={key}", RECORD_FIELDS, now=world.clock.now()),
                )


def answers_by_line(world: World) -> list[Any]:
    with world.registry.read() as db:
        query = sa.select(requests.c.body_hash, responses.c.source)
        query = query.join(responses, responses.c.request_id == requests.c.id)
        return [row for row in db.execute(query) if row.source in {"output", "error"}]


def submit_with(world: World, texts: list[str], on_progress: Any) -> None:
    """Register the job "second" as `submit` does, told of each chunk."""
    with world.registry.read() as db:
        first = jobs.find(db, "first")
    assert first is not None
    path = world.folder / "second-texts.jsonl"
    path.write_text(
        "".join(f'{{"id":"r-{n:03d}","text":"{text}"}}\n' for n, text in enumerate(texts))
    )
    spec = msgspec.structs.replace(read_spec(first.spec), name="second", source=str(path))
    api.submit(world.context, spec, actor="test", on_progress=on_progress)
