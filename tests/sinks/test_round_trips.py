"""From the registry to a file of each format and back: every value as it was."""

from __future__ import annotations

import csv
import io
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook
from support.finished import finished
from support.tables import TEXTS, Typed, as_json, records_of, shape_of, tables

from orchestrator import api
from orchestrator.sinks.arrow_types import arrow_type
from orchestrator.sinks.csv_file import defused
from orchestrator.sinks.xlsx_file import cell_of, plain
from orchestrator.sources.arrow_types import words_of

FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
READERS = {
    "parquet": pyarrow.parquet.read_table,
    "arrow": lambda file: pa.ipc.open_file(file).read_all(),
    "feather": pyarrow.feather.read_table,
}


class Kept(io.BytesIO):
    def close(self):
        pass

    def abandon(self):
        raise AssertionError("abandoned")


def job_of(registry, columns):
    return finished(registry, records_of(columns), shape=shape_of(columns))


def export(registry, job, kind, **how):
    kept = Kept()
    api.export(registry, job, kept, kind=kind, **how)
    return kept.getvalue()


def values(column):
    """Return a column's values; nanoseconds apart, Python holds them all."""
    return list(map(repr, column.to_pylist()))


@FEW
@given(columns=tables())
def test_typed_columns_come_back_with_their_types(registry, columns):
    job = job_of(registry, columns)
    for kind, read in READERS.items():
        found = read(pa.BufferReader(export(registry, job, kind)))
        for number, column in enumerate(columns):
            got = found.column(f"c{number}")
            assert values(got) == values(pa.array(column.values, column.kind))
            assert stored(got.type, kind) == stored(column.kind, kind)
        assert found.column("outcome").to_pylist() == ["succeeded"] * len(columns[0].values)


def stored(kind, form):
    """Return a type as a format keeps it: Parquet has no seconds, and names of its own inside."""
    words = words_of(kind)
    return words.replace("[s", "[ms") if form == "parquet" else words


NANOS = "2024-02-29T23:59:59.123456789"


def test_nanoseconds_and_far_times_are_kept(registry):
    column = Typed(pa.timestamp("ns"), [NANOS, None])
    data = export(registry, job_of(registry, [column]), "parquet")
    found = READERS["parquet"](pa.BufferReader(data))
    assert found.column("c0").cast(pa.string()).to_pylist() == [NANOS.replace("T", " "), None]


@FEW
@given(columns=tables())
def test_json_lines_keep_what_the_registry_has(registry, columns):
    lines = export(registry, job_of(registry, columns), "jsonl").decode().splitlines()
    for line, record in zip(lines, records_of(columns), strict=True):
        row, wanted = json.loads(line), json.loads(record)
        assert {name: row[name] for name in wanted} == wanted


@FEW
@given(
    rows=st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), min_size=1, max_size=4),
    form=st.sampled_from([("csv", ","), ("tsv", "\t")]),
)
def test_separated_values_keep_text_and_tell_null_from_nothing(registry, rows, form):
    kind, delimiter = form
    columns = [Typed(pa.string(), list(column)) for column in zip(*rows, strict=True)]
    job = job_of(registry, columns)
    text = export(registry, job, kind, raw=True)
    read = list(csv.reader(io.StringIO(text.decode(), newline=""), delimiter=delimiter))
    assert [tuple(row[:2]) for row in read[1:]] == [(a or "", b or "") for a, b in rows]
    safe = export(registry, job, kind)
    read = list(csv.reader(io.StringIO(safe.decode(), newline=""), delimiter=delimiter))
    assert [tuple(row[:2]) for row in read[1:]] == [
        (defused(a or ""), defused(b or "")) for a, b in rows
    ]
    assert nulls(text, delimiter) == [tuple(value is None for value in row) for row in rows]


def nulls(text, delimiter):
    """Return which of the first two fields of each row are null, as a strict reader has it."""
    table = pyarrow.csv.read_csv(
        pa.BufferReader(text.replace(b"\x00", b"0")),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            column_types={"c0": pa.string(), "c1": pa.string()},
            include_columns=["c0", "c1"],
        ),
    )
    return [tuple(v is None for v in row.values()) for row in table.to_pylist()]


@FEW
@given(columns=tables())
def test_a_workbook_shows_every_value(registry, columns):
    cells = workbook(export(registry, job_of(registry, columns), "xlsx"))
    for number, column in enumerate(columns):
        got = [row[number] for row in cells[1:]]
        assert got == [shown(value, column.kind) for value in column.values]


def workbook(data):
    return load_workbook(io.BytesIO(data)).get_sheet_by_index(0).to_python(skip_empty_area=False)


def shown(value, kind):
    """Return what a reader of the workbook gets for a value."""
    if value is None:
        return ""
    column = plain(shape_of([Typed(kind, [])]).columns[0])
    if column.type == "json":
        return json.dumps(as_json(value, kind))
    if pa.types.is_duration(kind):
        return str(as_json(value, kind))
    if isinstance(value, bytes):
        return as_json(value, kind)
    cell = cell_of(pa.array([value], kind).to_pylist()[0])
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool)
    return float(f"{cell:.16G}") if is_number else cell  # what the format keeps of a double


@pytest.mark.parametrize("words", ["json", "extension<arrow.uuid>", "list<" * 5_000, "", None])
def test_words_that_name_no_type_are_those_of_text(words):
    assert arrow_type(words) == pa.string()


MOMENT = datetime.fromisoformat("2024-01-01T01:01:01.000005")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (10**15 - 1, 10**15 - 1),
        (10**15 + 1, str(10**15 + 1)),
        (-(10**20), float(-(10**20))),
        (Decimal("1.50"), 1.5),
        (Decimal("0.1234567890123456"), "0.1234567890123456"),
        (float("nan"), "nan"),
        (date(1900, 2, 28), "1900-02-28"),
        (date(1900, 3, 1), date(1900, 3, 1)),
        (MOMENT, "2024-01-01T01:01:01.000005"),
        (time(1, 2, 3), time(1, 2, 3)),
        (True, True),
    ],
)
def test_a_cell_never_shows_another_value_than_the_record_has(value, cell):
    got = cell_of(value)
    assert (got, type(got)) == (cell, type(cell)) or float(got) == cell


def test_only_text_is_not_a_cell_of_its_own():
    with pytest.raises(TypeError, match="timedelta"):
        cell_of(timedelta(1))
