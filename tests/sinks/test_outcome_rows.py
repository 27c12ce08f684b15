"""Rows of outcomes: their columns, those of checked answers, and the order in which they came."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.finished import completion, finished

from orchestrator import api
from orchestrator.domain.profile import Price
from orchestrator.domain.shape import Column, Shape
from orchestrator.domain.spec import Answer
from orchestrator.engine.outcome_rows import header, outcomes_after
from orchestrator.sinks.port import COLUMNS, header_of

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string"}, "score": {"type": "integer"}, "text": {}},
    "required": ["mood"],
}


class Kept(io.BytesIO):
    def close(self):
        pass

    def abandon(self):
        raise AssertionError("abandoned")


def exported(registry, job, kind, **how):
    kept = Kept()
    done = api.export(registry, job, kept, kind=kind, **how)
    return done, kept.getvalue().decode()


def dear(_provider, _model):
    one = Decimal(1)
    return Price(currency="USD", input=one, cached_input=one, output=one, as_of="2026-01-01")


def test_the_members_of_a_checked_answer_are_columns(registry):
    good = completion('Sure: {"mood": "grim", "score": 9007199254740993}')
    bodies = [good, completion('{"score": 1}')]
    records = ['{"id":"a","mood":"?"}', '{"id":"b","mood":"!"}']
    job = finished(registry, records, bodies=bodies, answer=Answer(schema=SCHEMA))
    done, text = exported(registry, job, "jsonl")
    first, second = map(json.loads, text.splitlines())
    assert (first["answer_mood"], first["score"], first["answer_text"]) == (
        "grim",
        9007199254740993,
        None,
    )
    assert [second[name] for name in ("mood", "answer_mood", "score")] == ["!", None, None]
    assert dict(done.renamed) == {"mood": "answer_mood", "text": "answer_text"}
    _, table = exported(registry, job, "csv")
    rows = list(csv.reader(io.StringIO(table)))
    assert rows[0] == ["id", "mood", *COLUMNS, "answer_mood", "score", "answer_text"]
    assert rows[1][-3:] == ["grim", "9007199254740993", ""]


def test_columns_have_types_but_for_those_of_a_source_that_says_none(registry):
    shape = Shape(columns=(Column("id"), Column("day", "date32[day]")))
    job = finished(registry, ['{"id":1}'], shape=shape, answer=Answer(schema=SCHEMA))
    types = {column.name: column.type for column in header(job).columns}
    assert types.pop("id") is None
    assert types["day"] == "date32[day]"
    assert (types["outcome"], types["cost"]) == ("string", "decimal128(38, 12)")
    assert (types["mood"], types["score"], types["answer_text"]) == ("string", "int64", "string")


def test_an_answer_that_no_line_brought_took_no_attempt_cost_nothing_and_has_no_batch(registry):
    for source, batch in (("output", "b01"), ("twin", None), ("cache", None)):
        job = finished(registry, ['{"id":1}'], source=source)
        row = json.loads(exported(registry, job, "jsonl", prices=dear)[1])
        sent = source == "output"
        assert (row["attempts"], row["batch"], row["text"]) == (int(sent), batch, "yes")
        assert row["cost"] == (0.000015 if sent else 0)


def test_a_source_that_knows_its_columns_is_taken_at_its_word(registry):
    shape = Shape(columns=(Column("id", "string"), Column("n", "int64")))
    job = finished(registry, ['{"id":"a"}', '{"id":"b","n":null}'], shape=shape)
    _, table = exported(registry, job, "csv")
    assert [row[:2] for row in csv.reader(io.StringIO(table))] == [
        ["id", "n"],
        ["a", ""],
        ["b", ""],
    ]


def test_text_of_no_characters_can_be_told_from_null(registry):
    job = finished(registry, ['{"a":"","b":null,"c":"x"}'])
    _, table = exported(registry, job, "csv")
    assert table.splitlines()[1].startswith('"",,x,')


def test_readers_in_the_order_of_recording_miss_nothing_and_see_nothing_twice(world):
    world.submit(130)
    seen, place, going = [], (0, 0), True
    while going:
        going = world.advance()
        while rows := outcomes_after(world.registry, world.job(), *place, 7):
            assert place < rows[0][:2]
            assert len(rows) <= 7
            place = rows[-1][:2]
            seen += rows
    assert sorted(seen) == seen
    ids = [json.loads(row.record)["id"] for _, _, row in seen]
    assert sorted(ids) == [f"r-{n:05d}" for n in range(130)]
    assert {row.outcome for _, _, row in seen} == {"succeeded"}
    assert {row.text for _, _, row in seen} != {None}


def test_an_answer_that_holds_no_text_leaves_its_neighbours_alone(registry):
    cut = completion("?").replace("?", "cut \\ud83d")
    job = finished(registry, ['{"id":1}', '{"id":2}'], bodies=[completion("whole"), cut])
    rows = [json.loads(line) for line in exported(registry, job, "jsonl")[1].splitlines()]
    assert [row["text"] for row in rows] == ["whole", "cut \ufffd"]


def test_a_reader_takes_less_where_outcomes_are_large(registry, monkeypatch):
    job = finished(registry, [f'{{"id":{n}}}' for n in range(5)])
    monkeypatch.setattr("orchestrator.engine.outcome_rows._CHUNK_BYTES", 250)
    assert [len(outcomes_after(registry, job, 0, 0, limit)) for limit in (1, 2, 5)] == [1, 2, 2]


NAMES = st.lists(
    st.sampled_from(["id", "text", "answer_text", "answer_answer_text", "mood", "answer_mood"]),
    unique=True,
)


@given(NAMES, NAMES)
def test_no_two_columns_of_an_export_share_a_name(source, answer):
    header = header_of(map(Column, source), map(Column, answer))
    names = [column.name for column in header.columns]
    assert len(set(names)) == len(names) == len(source) + len(COLUMNS) + len(answer)
    assert [column.name for column in header.source] == source
    assert header.members == tuple(answer)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_an_export_with_answers_is_verified(registry, kind, tmp_path):
    job = finished(
        registry,
        ['{"id":"a"}', '{"id":"b"}'],
        bodies=[completion('{"mood": "=up"}'), completion("no")],
        answer=Answer(schema=SCHEMA),
    )
    path = tmp_path / f"out.{kind}"
    path.write_text(exported(registry, job, kind)[1], newline="")
    told = {e.what: e.ok for e in api.verify(registry, job, export=path)}
    assert told["rows with the outcome of the registry"]
    path.write_text(path.read_text().replace("=up", "=down"))
    told = {e.what: e.ok for e in api.verify(registry, job, export=path)}
    assert not told["rows with the outcome of the registry"]
