"""Parquet and Arrow files as sources."""

import datetime
import gzip
from decimal import Decimal

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet
from support.arrow_data import arrays

from orchestrator.domain.errors import SourceError
from orchestrator.domain.shape import Column
from orchestrator.sources.arrow_json import json_values
from orchestrator.sources.registry import open_source


def write_stream(table, path):
    with pa.ipc.new_stream(path, table.schema) as out:
        out.write_table(table)


WRITERS = {
    "parquet": parquet.write_table,
    "feather": feather.write_feather,
    "arrows": write_stream,
}


@pytest.mark.parametrize("ending", WRITERS)
def test_rows_come_in_order_with_their_positions_types_and_digest(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    table = pa.table(
        {
            "id": pa.array([1, 2**60, None], pa.int64()),
            "day": [datetime.date(2024, 2, 29), None, datetime.date(1, 1, 1)],
            "price": pa.array([Decimal("1.10"), None, Decimal(0)], pa.decimal128(10, 2)),
            "tags": [["a", ""], [], None],
        }
    )
    WRITERS[ending](table, file)
    source = open_source(str(file))
    rows = list(source.records())
    assert [row.position for row in rows] == [1, 2, 3]
    assert [row.data for row in rows] == [
        {"id": 1, "day": "2024-02-29", "price": "1.10", "tags": ["a", ""]},
        {"id": 2**60, "day": None, "price": None, "tags": []},
        {"id": None, "day": "0001-01-01", "price": "0.00", "tags": None},
    ]
    shape = source.shape()
    assert [column.type for column in shape.columns][:3] == [
        "int64",
        "date32[day]",
        "decimal128(10, 2)",
    ]
    assert shape.place(2) == "row 2"
    assert shape.rows == (3 if ending == "parquet" else None)
    assert len(source.digest()) == 64


@settings(max_examples=60, deadline=None)
@given(arrays(rows=3), st.sampled_from(["feather", "arrows"]))
def test_a_column_of_any_type_is_read_as_it_was_written(tmp_path_factory, array, ending):
    file = tmp_path_factory.mktemp("any") / f"a.{ending}"
    WRITERS[ending](pa.table({"x": array}), file)
    source = open_source(str(file))
    assert [row.data["x"] for row in source.records()] == json_values(array)
    assert source.shape().columns == (Column("x", str(array.type)),)


def test_many_row_groups_and_rows_are_numbered_through(tmp_path):
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"n": range(20_000)}), file, row_group_size=3_000)
    rows = list(open_source(str(file)).records())
    assert [row.position for row in rows] == list(range(1, 20_001))
    assert [row.data["n"] for row in rows] == list(range(20_000))


@pytest.mark.parametrize("ending", ["parquet", "feather", "arrows"])
def test_what_is_no_such_file_is_refused_with_the_librarys_words(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    file.write_bytes(b"PAR1 nothing of the kind")
    with pytest.raises(SourceError, match="can't be read as") as caught:
        open_source(str(file))
    assert caught.value.code == "ORC2033"
    assert caught.value.why


def test_damage_further_on_is_told_when_it_is_met(tmp_path):
    file = tmp_path / "a.parquet"
    parquet.write_table(
        pa.table({"n": ["x" * 50] * 1000}), file, compression="gzip", use_dictionary=False
    )
    content = bytearray(file.read_bytes())
    content[60:120] = b"\0" * 60
    file.write_bytes(content)
    source = open_source(str(file))
    with pytest.raises(SourceError, match="can't be read as parquet"):
        list(source.records())


def test_a_file_that_is_replaced_while_it_is_read_is_noticed(tmp_path):
    file = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"n": [1, 2]}), file)
    source = open_source(str(file))
    rows = source.records()
    next(rows)
    (tmp_path / "b").write_bytes(file.read_bytes())
    (tmp_path / "b").rename(file)
    with pytest.raises(SourceError, match="changed while it was read") as caught:
        list(rows)
    assert caught.value.code == "ORC2005"


def test_columns_of_one_name_are_refused(tmp_path):
    file = tmp_path / "a.arrows"
    batch = pa.record_batch([pa.array([1]), pa.array([2])], names=["a", "a"])
    write_stream(pa.Table.from_batches([batch]), file)
    with pytest.raises(SourceError, match='"a" names the columns 1 and 2') as caught:
        open_source(str(file))
    assert caught.value.code == "ORC2007"


def test_a_type_without_a_form_as_text_is_refused_by_the_columns_name(tmp_path):
    file = tmp_path / "a.arrows"
    spans = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    write_stream(pa.table({"span": spans}), file)
    with pytest.raises(SourceError, match='column "span" of') as caught:
        open_source(str(file))
    assert caught.value.code == "ORC2034"


def test_an_empty_file_is_told_as_such(tmp_path):
    file = tmp_path / "a.parquet"
    file.touch()
    with pytest.raises(SourceError, match="is empty"):
        open_source(str(file))


def zstd(content):
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as packed:
        packed.write(content)
    return out.getvalue().to_pybytes()


PACKERS = {"gz": gzip.compress, "zst": zstd}


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_text_is_unpacked_while_it_is_read(tmp_path, packing):
    lines = [msgspec.json.encode({"n": n, "text": "é" * n}) for n in range(200)]
    file = tmp_path / f"a.jsonl.{packing}"
    file.write_bytes(PACKERS[packing](b"\n".join(lines)))
    rows = list(open_source(str(file)).records())
    assert [(row.position, row.raw) for row in rows] == list(enumerate(lines, 1))
    table = tmp_path / f"a.csv.{packing}"
    table.write_bytes(PACKERS[packing](b"a,b\n1,2\n"))
    assert [row.data for row in open_source(str(table)).records()] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_text_that_is_cut_off_or_no_such_thing_is_refused(tmp_path, packing):
    file = tmp_path / f"a.jsonl.{packing}"
    whole = PACKERS[packing](b'{"a":1}\n' * 1000)
    for content in (whole[:-9], b"not packed at all"):
        file.write_bytes(content)
        with pytest.raises(SourceError, match="can't be unpacked"):
            list(open_source(str(file)).records())
