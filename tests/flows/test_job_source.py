"""Another job's outcomes as a source: its columns, its keys, its order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.world import World

from orchestrator import api
from orchestrator.domain.answer_columns import columns_of
from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.domain.intake import Record
from orchestrator.domain.shape import Column
from orchestrator.domain.spec import Answer, JobSpec
from orchestrator.engine.handing_on import HandOn, read_options
from orchestrator.engine.job_source import JobSource
from orchestrator.registry import jobs, outcomes
from orchestrator.sandbox.temper import Lines, Temper
from orchestrator.sinks.port import OutcomeRow, header_of


def a_spec(**changes: Any) -> JobSpec:
    values: dict[str, Any] = {
        "name": "second",
        "source": "job:labels",
        "prompt": "Is {answer_text} right for {text}?",
        "provider": "sandbox",
        "model": "kimi-k2.6",
        **changes,
    }
    return JobSpec(**values)


def records_of(source: JobSource) -> list[Record]:
    return [row for row in source.records() if isinstance(row, Record)]


def test_answers_of_a_job_are_the_records_of_the_next(world: World) -> None:
    world.submit(7)
    world.run()
    job = api.submit(world.context, a_spec(), actor="test").job
    assert job.books.records == 7
    world.run("second")
    with world.registry.read() as db:
        rows = outcomes.sourced(db, *outcomes.span(job.id, 0, 7))
    assert [row.key for row in rows] == [f"r-{n:05d}" for n in range(7)]
    first = json.loads(rows[0].record)
    assert list(first) == ["id", "text", "answer_text"]
    assert first["text"] == "record 0"
    assert first["answer_text"]


def test_only_what_succeeded_is_handed_on_unless_all_is_wanted(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=0.5))
    world.submit(40)
    books = world.run().books
    assert 0 < books.succeeded < 40
    answered = records_of(JobSource(world.registry, "labels", {}))
    everyone = records_of(JobSource(world.registry, "labels", {"outcomes": "all"}))
    assert len(answered) == books.succeeded
    assert len(everyone) == 40
    words = [row.data["outcome"] for row in everyone]
    assert words.count("failed") == books.failed
    assert all(row.data["error_code"] for row in everyone if row.data["outcome"] == "failed")
    assert [row.position for row in everyone] == list(range(1, 41))


def test_a_job_that_has_not_ended_is_no_source_yet(world: World) -> None:
    world.submit(3)
    with pytest.raises(SourceError, match="job labels has not ended") as caught:
        api.submit(world.context, a_spec(), actor="test")
    assert caught.value.code == "ORC2072"
    assert "orchestrator watch labels" in caught.value.next
    with world.registry.read() as db:
        assert jobs.find(db, "second") is None


def test_a_mistyped_job_is_told_with_the_nearest_one(world: World) -> None:
    world.submit(3)
    with pytest.raises(NotFound, match='did you mean "labels"'):
        JobSource(world.registry, "lables", {})


def test_an_answer_given_later_makes_it_another_source(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=0.5))
    world.submit(20)
    world.run()
    source = JobSource(world.registry, "labels", {})
    before = source.digest()
    assert JobSource(world.registry, "labels", {}).digest() == before
    assert JobSource(world.registry, "labels", {"outcomes": "all"}).digest() != before
    api.retry(world.context, "labels", ())
    world.run()
    assert JobSource(world.registry, "labels", {}).digest() != before


def test_an_option_that_it_does_not_take_is_refused_by_name(world: World) -> None:
    world.submit(1)
    world.run()
    for wrong in ({"sheet": 1}, {"outcomes": "some"}, {"answer": 3}):
        with pytest.raises(SourceError) as caught:
            JobSource(world.registry, "labels", wrong)
        assert caught.value.code == "ORC2032"
    with pytest.raises(SourceError) as caught:
        JobSource(world.registry, "labels", {"answer": "text"}).shape()
    assert caught.value.code == "ORC2073"


SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"type": "string"},
        "score": {"type": "number"},
        "why": {"type": "object"},
    },
}


def test_members_of_a_checked_answer_are_columns_with_types() -> None:
    header = header_of((Column("id"), Column("price", "decimal128(38, 2)")), columns_of_schema())
    hand_on = HandOn(header, read_options({"answer": "judged"}))
    assert hand_on.columns == (
        Column("id"),
        Column("price", "decimal128(38, 2)"),
        Column("judged", "string"),
        Column("label", "string"),
        Column("score", "double"),
        Column("why", "string"),
    )
    answer = '{"label":"spam","score":0.12345678901234567890,"why":{"a":1}}'
    row = OutcomeRow('{"id":9007199254740993,"price":"1.50"}', "succeeded", answer, answer=answer)
    record = hand_on.record(1, row)
    assert record is not None
    assert record.data["why"] == '{"a":1}'
    assert b'"score":0.12345678901234567890' in record.raw
    assert record.raw.startswith(b'{"id":9007199254740993,"price":"1.50","judged":')
    assert msgspec.json.decode(record.raw) == record.data


def columns_of_schema() -> tuple[Column, ...]:
    return columns_of(Answer(schema=SCHEMA).schema)


def test_the_key_goes_from_job_to_job_however_it_came_to_be(world: World, tmp_path: Path) -> None:
    source = tmp_path / "twice.jsonl"
    source.write_text('{"id":"a","text":"x"}\n' * 2 + '{"id":"ü","text":"y"}\n')
    world.submit(source=str(source), on_duplicate="suffix")
    world.run()
    keys = [record.key for record in JobSource(world.registry, "labels", {}).records()]
    assert keys == ["a", "a~2", "ü"]
