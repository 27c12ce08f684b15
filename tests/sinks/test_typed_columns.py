"""Columns whose source says no type, values that fit no column, and rows that fill a sheet."""

from __future__ import annotations

import io
import json
import math
import zipfile
from decimal import ROUND_DOWN, Decimal

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook
from support.finished import completion, finished

from orchestrator import api
from orchestrator.domain.errors import SinkError
from orchestrator.domain.profile import Price
from orchestrator.domain.shape import Column, Shape
from orchestrator.domain.spec import Answer
from orchestrator.domain.tariff import Costs, Tariff
from orchestrator.engine.inferring import Inference
from orchestrator.engine.source_columns import typed_columns
from orchestrator.sinks import arrow_files, xlsx_file
from orchestrator.sinks.arrow_table import ArrowTable
from orchestrator.sinks.port import OutcomeRow, block_of, header_of

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), JSON), min_size=1, max_size=6)


class Kept(io.BytesIO):
    abandoned = False

    def close(self):
        pass

    def abandon(self):
        self.abandoned = True


def inferred(*chunks):
    found = Inference()
    for chunk in chunks:
        found.learn([json.dumps(record) for record in chunk])
    return found.types


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([None], "string"),
        ([None, True], "bool"),
        ([1, 2**63 - 1], "int64"),
        ([1, 2**63], "json"),
        ([1, 0.5, 2**53], "double"),
        ([1, 0.5, 2**53 + 1], "json"),
        ([2**53 + 1, 1, 0.5], "json"),
        ([True, 1], "json"),
        (["a", None], "string"),
        (["a", 1], "json"),
        ([[1], [], None], "list<item: int64>"),
        ([[1], [0.5, None]], "list<item: double>"),
        ([[1], ["a"]], "json"),
        ([[1, "a"]], "json"),
        ([[[1]], [[], None]], "list<item: list<item: int64>>"),
        ([[1], 1], "json"),
        ([{"a": 1}], "json"),
    ],
)
def test_a_column_is_as_narrow_as_all_its_values_allow(values, words):
    records = [{"c": value} for value in values]
    assert inferred(records) == {"c": words}
    assert inferred(*[[record] for record in records]) == {"c": words}


@settings(deadline=None)
@given(RECORDS, st.integers(0, 6))
def test_no_value_of_a_column_without_a_type_is_lost_or_changed(records, cut):
    types = inferred(records[:cut], records[cut:])
    assert types == inferred(records)
    table = ArrowTable(header_of(Column(name, kind) for name, kind in types.items()))
    batch = table.batch([OutcomeRow(json.dumps(record), "open") for record in records])
    for row, record in zip(batch.to_pylist(), records, strict=True):
        for name, kind in types.items():
            got = json.loads(row[name]) if kind == "json" and row[name] is not None else row[name]
            assert same(got, record.get(name))


def same(got, wanted):
    if isinstance(wanted, list):
        return len(got) == len(wanted) and all(map(same, got, wanted))
    if isinstance(wanted, float) and isinstance(got, float):
        return math.copysign(1, got) == math.copysign(1, wanted) and got == wanted
    return got == wanted and isinstance(got, bool) == isinstance(wanted, bool)


def test_a_source_says_some_types_and_the_records_the_others(registry):
    shape = Shape(columns=(Column("id"), Column("day", "date32[day]")))
    records = ['{"id":1,"day":"2024-02-29","more":[1]}', '{"day":null,"id":2}']
    job = finished(registry, records, shape=shape)
    found = [(column.name, column.type) for column in typed_columns(registry, job)]
    assert found == [("id", "int64"), ("day", "date32[day]"), ("more", "list<item: int64>")]


MISFITS = (
    ("int64", '"7"', "Expected `int | null`, got `str`"),
    ("int64", "1.5", "got `float`"),
    ("int8", "128", "large"),
    ("uint8", "-1", "negative"),
    ("date32[day]", '"yesterday"', "yesterday"),
    ("decimal128(5, 2)", '"1.555"', "data loss"),
    ("decimal128(5, 2)", '"12345.00"', "precision"),
    ("timestamp[us, tz=UTC]", '"2024-01-01T00:00:00"', "zone offset"),
    ("time64[us]", '"25:00:00"', "25:00:00"),
    ("binary", '"%%"', "base64"),
    ("list<item: int64>", '[1,"2"]', "got `str`"),
    ("struct<a: int64>", "[]", "got `array`"),
    ("map<string, int64>", '[["a","b"]]', "got `str`"),
    ("null", "1", "got `int`"),
    ("double", '"many"', "many"),
)


@pytest.mark.parametrize(("words", "value", "why"), MISFITS)
def test_a_value_that_fits_no_column_is_told_with_its_record(registry, words, value, why):
    shape = Shape(columns=(Column("id", "string"), Column("v", words)))
    records = ['{"id":"r-1","v":null}', f'{{"id":"r-2","v":{value}}}']
    job = finished(registry, records, shape=shape)
    kept = Kept()
    with pytest.raises(SinkError, match=r'of record r-\d+ does not fit the column "v"') as error:
        api.export(registry, job, kept, kind="parquet")
    assert (error.value.code, error.value.exit_code) == ("ORC6010", 73)
    assert error.value.where == f"row 2 of the export, column v ({words})"
    assert why in error.value.why
    assert kept.abandoned
    api.export(registry, job, Kept(), kind="jsonl")


def test_a_decimal_may_be_a_number_and_text_may_be_any_json(registry):
    shape = Shape(columns=(Column("d", "decimal128(20, 2)"), Column("t", "string")))
    records = ['{"d":123456789012345678.25,"t":{"a": 1}}', '{"d":"1.5","t":"{}"}']
    kept = Kept()
    api.export(registry, finished(registry, records, shape=shape), kept, kind="parquet")
    rows = pa.parquet.read_table(pa.BufferReader(kept.getvalue())).to_pylist()
    assert [str(row["d"]) for row in rows] == ["123456789012345678.25", "1.50"]
    assert [row["t"] for row in rows] == ['{"a": 1}', "{}"]


def test_members_of_checked_answers_are_typed_columns(registry):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "any": {}}}
    bodies = [completion('{"n": 5, "any": [1]}'), completion("?"), completion('{"any": "x"}')]
    job = finished(registry, ["{}"] * 3, bodies=bodies, answer=Answer(schema=schema))
    kept = Kept()
    api.export(registry, job, kept, kind="parquet")
    table = pa.parquet.read_table(pa.BufferReader(kept.getvalue()))
    assert table.schema.field("n").type == pa.int64()
    assert table.column("n").to_pylist() == [5, None, None]
    assert table.column("any").to_pylist() == ["[1]", None, "x"]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "xlsx"])
def test_an_answer_that_fits_its_schema_without_being_an_object_has_no_members(registry, kind):
    bodies = [completion("[1]"), completion('{"n": 5}')]
    job = finished(
        registry, ["{}"] * 2, bodies=bodies, answer=Answer(schema={"properties": {"n": {}}})
    )
    done = api.export(registry, job, Kept(), kind=kind)
    assert done.rows == 2


@pytest.mark.parametrize("price", ["0.6", "0.1234567", "900000000000000"])
def test_costs_in_a_column_of_decimals_are_those_in_words(price):
    rate = Decimal(price)
    tariff = Tariff(Price(currency="USD", input=rate, cached_input=rate, output=rate, as_of=""))
    costs = Costs(tariff, [tariff.units(n, 0, 0) for n in (1, 20_000, 3)])
    costs[2] = None
    block = block_of([OutcomeRow("{}", "succeeded")] * 3)._replace(cost=costs)
    got = ArrowTable(header_of(())).of_block(block).column("cost").to_pylist()
    point = Decimal(1).scaleb(-12)
    assert got == [None if t is None else Decimal(t).quantize(point, ROUND_DOWN) for t in costs]


def test_a_parquet_file_has_groups_of_rows_that_readers_can_skip(registry, monkeypatch):
    monkeypatch.setattr(arrow_files, "GROUP_ROWS", 1_000)
    job = finished(registry, (f'{{"id":{n}}}' for n in range(2_500)))
    kept = Kept()
    api.export(registry, job, kept, kind="parquet")
    file = pa.parquet.ParquetFile(pa.BufferReader(kept.getvalue()))
    assert file.metadata.num_row_groups == 2
    assert file.read().column("id").to_pylist() == list(range(2_500))


def test_a_full_sheet_is_followed_by_another_with_the_same_header(registry, monkeypatch):
    monkeypatch.setattr(xlsx_file, "SHEET_ROWS", 4)
    job = finished(registry, (f'{{"id":{n}}}' for n in range(7)))
    kept = Kept()
    api.export(registry, job, kept, kind="xlsx")
    book = load_workbook(io.BytesIO(kept.getvalue()))
    assert book.sheet_names == ["outcomes", "outcomes 2", "outcomes 3"]
    sheets = [book.get_sheet_by_index(n).to_python() for n in range(3)]
    assert {sheet[0][0] for sheet in sheets} == {"id"}
    assert [row[0] for sheet in sheets for row in sheet[1:]] == list(range(7))


@pytest.mark.parametrize("text", ["x" * 32_768, "\U0001f600" * 16_384])
def test_a_text_that_no_cell_holds_is_refused_and_never_cut(registry, text):
    records = [json.dumps({"id": "r-1", "t": text[1:]}), json.dumps({"id": "r-2", "t": text})]
    kept = Kept()
    with pytest.raises(SinkError, match=r"the t of record r-\d+ has 32,768 characters") as error:
        api.export(registry, finished(registry, records), kept, kind="xlsx")
    assert (error.value.code, kept.abandoned) == ("ORC6012", True)


@pytest.mark.parametrize("raw", [False, True])
def test_text_that_would_be_a_formula_is_marked_as_text_in_a_workbook(registry, raw):
    job = finished(registry, ['{"t":"=1+1"}'])
    kept = Kept()
    api.export(registry, job, kept, kind="xlsx", raw=raw)
    book = load_workbook(io.BytesIO(kept.getvalue())).get_sheet_by_index(0).to_python()
    assert book[1][0] == "=1+1"
    assert (b"quotePrefix" in styles(kept.getvalue())) is not raw


def styles(data):
    return zipfile.ZipFile(io.BytesIO(data)).read("xl/styles.xml")
