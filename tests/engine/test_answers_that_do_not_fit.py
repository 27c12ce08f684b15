"""Answers held against the schema of their job: wrapped ones are taken, unfit ones asked again."""

from __future__ import annotations

import json

import msgspec
import sqlalchemy as sa
from support.books import assert_the_books_agree
from support.world import World

from orchestrator.api import control
from orchestrator.api.lookup import find_record
from orchestrator.api.records import trace_record
from orchestrator.domain.filters import RECORD_FIELDS, parse_filter
from orchestrator.domain.model import JobState
from orchestrator.domain.profile import Limits
from orchestrator.domain.spec import Answer, Policy
from orchestrator.registry.tables import failures, payloads, requests
from orchestrator.sandbox.temper import Batches, Lines, Temper

BRISK = Batches(validating=(1, 1), running=(60, 60), finalizing=(1, 1), cancelling=(1, 1))
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "stars": {"type": "integer", "maximum": 5}},
    "required": ["label", "stars"],
    "additionalProperties": False,
}


def submit(world: World, count: int = 60, *, answer: Answer | None = None, **changes):
    answer = answer or Answer(schema=SCHEMA)
    return world.submit(count, answer=answer, **changes)


def spoil(world: World, **rates: float) -> None:
    world.sandbox.temper = Temper(batches=BRISK, lines=Lines(**rates))


def rows(world: World, *columns):
    with world.registry.read() as db:
        return db.execute(sa.select(*columns)).all()


def test_wrapped_answers_are_successes(world):
    spoil(world, wrapped=1.0)
    submit(world)
    job = world.run()
    assert (job.books.succeeded, job.books.failed) == (60, 0)
    assert not rows(world, failures.c.id)


def test_unfit_answers_are_asked_again_until_they_fit(world):
    spoil(world, invalid_json=0.4, wrapped=0.3)
    submit(world, policy=Policy(attempts=20, rounds=20, linger_seconds=0))
    job = world.run()
    assert job.state is JobState.FINISHED
    assert (job.books.succeeded, job.books.failed) == (60, 0)
    told = rows(world, failures.c.cause, failures.c.code, failures.c.final, failures.c.message)
    assert len(told) > 10
    assert {row[:3] for row in told} == {("invalid", "unfit_answer", False)}
    words = {row.message for row in told}
    assert "no JSON in the answer" in words
    assert any('"label" is a required property' in word for word in words)
    assert_the_books_agree(world)


def test_an_answer_that_never_fits_fails_after_the_attempts_of_the_policy(world):
    spoil(world, invalid_json=1.0)
    submit(world, 20, policy=Policy(attempts=3, linger_seconds=0))
    job = world.run()
    assert (job.books.succeeded, job.books.failed) == (0, 20)
    assert len(rows(world, failures.c.id)) == 60
    assert sum(row.final for row in rows(world, failures.c.final)) == 20
    assert all(row.body for row in rows(world, failures.c.body))
    # Every token of an unfit answer is paid for: the books of the job hold it.
    assert job.tokens_out == sum(row.tokens_out for row in rows(world, failures.c.tokens_out)) > 0
    assert_the_books_agree(world)


def test_the_repair_shows_the_model_its_answer_and_what_is_wrong_with_it(world):
    spoil(world, invalid_json=1.0)
    submit(world, 3, policy=Policy(attempts=2, linger_seconds=0))
    world.run()
    for body, repair in rows(world, payloads.c.body, payloads.c.repair):
        before, after = json.loads(body), json.loads(repair)
        assert before["messages"] == after["messages"][:-2]
        said, asked = after["messages"][-2:]
        assert said["role"] == "assistant"
        assert said["content"]
        assert asked["role"] == "user"
        assert "can't be used: " in asked["content"]
        assert {**before, "messages": 0} == {**after, "messages": 0}


def test_a_record_shows_what_was_sent_in_its_place(world):
    spoil(world, invalid_json=1.0)
    submit(world, 1, policy=Policy(attempts=2, linger_seconds=0))
    world.run()
    shown = trace_record(world.registry, find_record(world.registry, "r-00000", None)).to_dict()
    assert len(shown["repair"]["messages"]) == len(shown["request"]["messages"]) + 2
    assert [attempt["word"] for attempt in shown["attempts"]] == ["invalid", "invalid"]


def test_lines_are_as_long_as_the_registry_says_repaired_or_not(world):
    spoil(world, invalid_json=0.5)
    submit(world, policy=Policy(attempts=20, rounds=20, linger_seconds=0))
    world.run()
    for batch in world.batches():
        assert batch.bytes > 0
    query = (requests.c.custom_id, requests.c.size, payloads.c.body, payloads.c.repair)
    where = requests.c.id == payloads.c.request_id
    with world.registry.read() as db:
        found = db.execute(sa.select(*query).where(where)).all()
    frames = {size - len(repair or body) - len(name) for name, size, body, repair in found}
    assert len(frames) == 1
    assert any(repair for *_, repair in found)


def test_ready_lines_are_held_against_a_schema_too(world):
    spoil(world, invalid_json=0.5)
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "x"}]}
    line = {"method": "POST", "url": "/v1/chat/completions"}
    source = world.folder / "lines.jsonl"
    rows = [
        {"custom_id": f"l-{n}", **line, "body": {**body, "response_format": form}}
        for n in range(20)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = Policy(attempts=20, rounds=20, linger_seconds=0)
    submit(world, source=str(source), lines=True, key=None, prompt=None, model=None, policy=again)
    assert world.run().books.succeeded == 20
    assert_the_books_agree(world)


def test_without_repair_an_unfit_answer_is_final(world):
    spoil(world, invalid_json=1.0)
    submit(world, 10, answer=Answer(schema=SCHEMA, repair=False))
    job = world.run()
    assert job.books.failed == 10
    assert len(rows(world, failures.c.id)) == 10
    assert not any(row.repair for row in rows(world, payloads.c.repair))


def test_a_repair_that_no_line_can_hold_closes_the_request(world):
    spoil(world, invalid_json=1.0)
    profile = world.providers.profile("sandbox")
    limits = msgspec.structs.replace(profile.limits, max_line_bytes=620)
    assert isinstance(limits, Limits)
    world.profiles["sandbox"] = msgspec.structs.replace(profile, limits=limits)
    submit(world, 10, policy=Policy(attempts=5, linger_seconds=0))
    job = world.run()
    assert job.books.failed == 10
    assert all(row.final for row in rows(world, failures.c.final))
    assert len(rows(world, failures.c.id)) == 10


def test_retry_begins_with_the_request_as_it_was_rendered(world):
    spoil(world, invalid_json=1.0)
    submit(world, 5, policy=Policy(attempts=2, linger_seconds=0))
    before = rows(world, requests.c.id, requests.c.size, requests.c.est_in)
    world.run()
    assert all(row.repair for row in rows(world, payloads.c.repair))
    assert rows(world, requests.c.id, requests.c.size, requests.c.est_in) != before
    unfit = parse_filter("cause:invalid", RECORD_FIELDS, now=world.clock.now())
    control.retry(world.context, "labels", unfit)
    assert not any(row.repair for row in rows(world, payloads.c.repair))
    assert rows(world, requests.c.id, requests.c.size) == [row[:2] for row in before]
    spoil(world)
    assert world.run().books.succeeded == 5


def test_an_answer_that_was_cut_off_says_so(world):
    spoil(world)
    answer = Answer(schema=SCHEMA, repair=False)
    submit(world, 3, answer=answer, body={"max_completion_tokens": 3})
    assert world.run().books.failed == 3
    assert all("cut off at its token limit" in row[0] for row in rows(world, failures.c.message))
