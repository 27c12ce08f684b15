"""Formats and the text files among them, without a registry: names, lines, cells."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.outputs import Kept

from orchestrator.domain.errors import UsageError
from orchestrator.domain.shape import Column
from orchestrator.sinks.csv_file import CsvSink, defused
from orchestrator.sinks.formats import asked_format, format_of
from orchestrator.sinks.jsonl import JsonlSink
from orchestrator.sinks.port import COLUMNS, OutcomeRow, column_names, header_of


def test_formats_follow_the_name_then_the_ending():
    assert format_of("out.csv", None) == "csv"
    assert format_of("out.ndjson", None) == "jsonl"
    assert format_of("-", None) == "jsonl"
    assert format_of("out", None) == "jsonl"
    assert format_of("out.csv", "jsonl") == "jsonl"
    assert format_of("out.pq", None) == "parquet"
    with pytest.raises(UsageError, match='did you mean "parquet"'):
        format_of("out", "parket")


def test_an_ending_that_says_no_format_is_refused_unless_one_is_named():
    with pytest.raises(UsageError, match=r'ending "\.parqet", did you mean "parquet"') as refused:
        asked_format("out.parqet", None)
    assert (refused.value.code, "--format" in refused.value.next) == ("ORC6003", True)
    assert asked_format("out.foo", "csv") == "csv"
    assert asked_format("out", None) == asked_format("-", None) == "jsonl"
    assert asked_format("out.parts/", None) == "parquet"


KEYS = st.sampled_from([*COLUMNS, *(f"answer_{name}" for name in COLUMNS), "id", "x"])


@given(st.sets(KEYS))
def test_outcome_columns_never_take_a_name_of_the_source(taken):
    names = column_names(taken)
    assert len(set(names)) == len(COLUMNS)
    assert not set(names) & taken


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)
RECORDS = st.dictionaries(st.text(max_size=8), VALUES, max_size=5)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]))


@given(RECORDS, TEXTS, TEXTS)
def test_a_line_holds_the_record_as_it_was_and_the_outcome_behind_it(record, text, message):
    kept = Kept()
    names = column_names(record)
    row = OutcomeRow(json.dumps(record), "failed", text, 1, None, "0.10", None, message, 2, "b01")
    JsonlSink(kept, header_of(map(Column, record))).write([row])
    line = kept.bytes.decode()
    assert line.count("\n") == 1
    read = json.loads(line)
    assert {key: value for key, value in read.items() if key not in names} == record
    assert read[names[1]] == text
    assert read[names[6]] == message


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_a_table_is_read_back_as_it_was_but_for_formulas(values):
    kept = Kept()
    columns = [f"c{n}" for n in range(len(values))]
    record = json.dumps(dict(zip(columns, values, strict=True)))
    CsvSink(kept, header_of(map(Column, columns))).write([OutcomeRow(record, "open")])
    _, row = csv.reader(io.StringIO(kept.bytes.decode(), newline=""))
    assert row[: len(values)] == [defused(value) for value in values]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=cmd()", "'=cmd()"),
        ("+1 call", "'+1 call"),
        ("@sum", "'@sum"),
        ("-x", "'-x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("-5", "-5"),
        ("+49.5", "+49.5"),
        ("-1,000.50", "-1,000.50"),
        ("", ""),
        ("a=b", "a=b"),
    ],
)
def test_only_text_that_a_spreadsheet_would_run_is_defused(cell, shown):
    assert defused(cell) == shown
