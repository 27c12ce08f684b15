"""From each kind of source to each kind of file: what the record says is what the table holds."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import pytest
import sqlalchemy as sa
import xlsxwriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook
from support.finished import finished
from support.tables import TEXTS, tables

from orchestrator import api
from orchestrator.domain.intake import Record
from orchestrator.engine.source_columns import typed_columns
from orchestrator.sinks.arrow_types import arrow_type
from orchestrator.sources.arrow_json import json_values
from orchestrator.sources.registry import open_source

FEW = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
JSON_ROWS = st.lists(
    st.dictionaries(
        st.sampled_from(["a", "b", "c"]),
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXTS
        | st.lists(st.none() | st.integers(-5, 5) | TEXTS, max_size=2),
    ),
    min_size=1,
    max_size=4,
)
TEXT_ROWS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4)
CELLS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.just("text")


def write_jsonl(rows, path):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def write_csv(rows, path):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([("a", "b"), *rows])


def write_arrow(columns, path):
    names = [f"c{number}" for number in range(len(columns))]
    arrays = [pa.array(column.values, column.kind) for column in columns]
    table = pa.table(arrays, names)
    if path.suffix == ".parquet":
        pa.parquet.write_table(table, path)
    else:
        pa.feather.write_feather(table, path, compression="uncompressed")


def write_xlsx(rows, path):
    book = xlsxwriter.Workbook(path)
    sheet = book.add_worksheet()
    for at, row in enumerate([("a", "b"), *rows]):
        sheet.write_row(at, 0, row)
    book.close()


def write_sql(rows, path):
    engine = sa.create_engine(f"sqlite:///{path}")
    meta = sa.MetaData()
    columns = [sa.Column("a", sa.Numeric(12, 3)), sa.Column("b", sa.Text), sa.Column("d", sa.Date)]
    table = sa.Table("rows", meta, sa.Column("id", sa.BigInteger, primary_key=True), *columns)
    meta.drop_all(engine)
    meta.create_all(engine)
    with engine.begin() as db:
        for number, (a, b, d) in enumerate(rows):
            db.execute(sa.insert(table).values(id=2**53 + number, a=a, b=b, d=d))
    engine.dispose()


SQL_ROWS = st.lists(
    st.tuples(
        st.none() | st.decimals(-(10**8), 10**8, places=3),
        st.none() | TEXTS.map(lambda text: text.replace("\0", "")),
        st.none() | st.dates(),
    ),
    min_size=1,
    max_size=4,
)
SOURCES = {
    "jsonl": (JSON_ROWS, write_jsonl),
    "csv": (TEXT_ROWS, write_csv),
    "tsv": (TEXT_ROWS, write_csv),
    "parquet": (tables(), write_arrow),
    "arrow": (tables(), write_arrow),
    "feather": (tables(), write_arrow),
    "xlsx": (st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4), write_xlsx),
    "db": (SQL_ROWS, write_sql),
}


def taken_in(path):
    """Return the records of a source as the registry keeps them, and its shape."""
    if path.suffix == ".db":
        source = open_source(f"sqlite:///{path}", options={"table": "rows"})
    else:
        source = open_source(str(path))
    rows = list(source.records())
    assert all(isinstance(row, Record) for row in rows), rows
    texts = [bytes(row.raw or msgspec.json.encode(row.data)).decode() for row in rows]
    return texts, source.shape()


class Kept(io.BytesIO):
    def close(self):
        pass

    def abandon(self):
        raise AssertionError("abandoned")


def export(registry, job, kind):
    kept = Kept()
    api.export(registry, job, kept, kind=kind, raw=True)
    return kept.getvalue()


@pytest.mark.parametrize("kind", SOURCES)
@FEW
@given(data=st.data())
def test_every_file_holds_what_the_records_say(registry, tmp_path, kind, data):
    values, write = SOURCES[kind]
    path = tmp_path / f"source.{kind}"
    write(data.draw(values), path)
    texts, shape = taken_in(path)
    job = finished(registry, texts, shape=shape)
    records = [json.loads(text) for text in texts]
    types = {column.name: column.type for column in typed_columns(registry, job)}
    for form, read in TYPED.items():
        holds(read(pa.BufferReader(export(registry, job, form))), records, types)
    lines = export(registry, job, "jsonl").decode().split("\n")[:-1]
    assert [{n: v for n, v in json.loads(line).items() if n in types} for line in lines] == records
    for form, delimiter in (("csv", ","), ("tsv", "\t")):
        text = io.StringIO(export(registry, job, form).decode(), newline="")
        rows = list(csv.DictReader(text, delimiter=delimiter))
        assert [[row[name] for name in types] for row in rows] == [
            [in_text(members(text).get(name)) for name in types] for text in texts
        ]
    cells = load_workbook(io.BytesIO(export(registry, job, "xlsx"))).get_sheet_by_index(0)
    rows = cells.to_python(skip_empty_area=False)
    assert rows[0][: len(types)] == list(types)
    assert len(rows) == 1 + len(records)


TYPED = {
    "parquet": pa.parquet.read_table,
    "arrow": lambda file: pa.ipc.open_file(file).read_all(),
    "feather": pa.feather.read_table,
}
members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def in_text(raw):
    """Return what a field of separated values holds for a member of a record."""
    if raw is None or bytes(raw) == b"null":
        return ""
    return json.loads(bytes(raw)) if bytes(raw)[:1] == b'"' else bytes(raw).decode()


def holds(table, records, types):
    """Hold each column of a typed table against the records."""
    for name, words in types.items():
        column = table.column(name).combine_chunks()
        wanted = [record.get(name) for record in records]
        if words == "json":
            assert [None if t is None else json.loads(t) for t in column.to_pylist()] == wanted
        else:
            kept = column.cast(arrow_type(words))  # Parquet has no seconds
            assert repr(json_values(kept)) == repr(as_typed(wanted, words))


def as_typed(values, words):
    """Return JSON values as a column of whole numbers and others holds them."""
    if words in {"double", "float"}:
        return [float(value) if type(value) is int else value for value in values]
    return values
