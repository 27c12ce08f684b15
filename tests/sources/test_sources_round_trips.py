"""From each kind of source into the registry and back, on both databases, with awkward values."""

import csv
import itertools
import json

import msgspec
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet
from support.arrow_data import TEXT, arrays, same

from orchestrator import api
from orchestrator.domain.shape import read_shape
from orchestrator.domain.spec import JobSpec
from orchestrator.registry import outcomes
from orchestrator.sinks.arrow_values import codec_of
from orchestrator.sources.arrow_types import type_of

NUMBERS = itertools.count(1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e300, 1e300) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
QUICK = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def stored(world, source, **changes):
    """Register a job over `source`; return its records as they are kept, and their shape."""
    spec = JobSpec(
        **{
            "name": f"trip-{next(NUMBERS)}",
            "source": str(source),
            "key": "k",
            "prompt": "{v}",
            "provider": "sandbox",
            "model": "kimi-k2.6",
            **changes,
        }
    )
    job = api.submit(world.context, spec, actor="test").job
    with world.registry.read() as db:
        found = outcomes.sourced(db, *outcomes.span(job.id, 0, 1_000), ())
    return [row.record for row in found], read_shape(job.shape)


@QUICK
@given(st.lists(JSON, min_size=1, max_size=5))
def test_json_lines_are_kept_to_the_letter(world, values):
    path = world.folder / "a.jsonl"
    lines = [
        json.dumps({"k": str(n), "v": v}, ensure_ascii=n % 2 == 0) for n, v in enumerate(values)
    ]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    records, _ = stored(world, path)
    assert records == lines


@QUICK
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_values_of_separated_text_are_text(world, values):
    path = world.folder / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["k", "v"], *enumerate(values)])
    records, shape = stored(world, path)
    found = [json.loads(record) for record in records]
    # The reader of the standard library takes a lone \r within quotes for what it is.
    assert found == [{"k": str(n), "v": value} for n, value in enumerate(values)]
    assert [column.type for column in shape.columns] == ["string", "string"]


WRITERS = {"parquet": parquet.write_table, "feather": feather.write_feather}


@QUICK
@given(arrays(rows=3), st.sampled_from(list(WRITERS)))
def test_every_arrow_type_comes_back_from_the_registry(world, array, ending):
    path = world.folder / f"a.{ending}"
    if ending == "parquet" and str(array.type) != "timestamp[s, tz=+05:30]":
        path = world.folder / "a.feather"
    WRITERS[path.suffix[1:]](pa.table({"k": range(3), "v": array}), path)
    records, shape = stored(world, path, prompt="say something")
    column = shape.columns[1]
    values = [json.loads(record)["v"] for record in records]
    back = codec_of(type_of(column.type)).array(values)
    assert same(back.to_pylist(), array.cast(back.type).to_pylist())


@QUICK
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
            st.none() | st.integers(-(2**63), 2**63 - 1),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_rows_of_a_table_come_back_from_the_registry(world, values):
    path = world.folder / f"warehouse-{next(NUMBERS)}.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    table = sa.Table(
        "t",
        sa.MetaData(),
        sa.Column("k", sa.Integer, primary_key=True),
        sa.Column("v", sa.Text),
        sa.Column("n", sa.BigInteger),
    )
    table.create(engine)
    rows = [{"k": number, "v": v, "n": n} for number, (v, n) in enumerate(values)]
    with engine.begin() as db:
        db.execute(table.insert(), rows)
    engine.dispose()
    records, _ = stored(world, f"sqlite:///{path}", source_options={"table": "t"})
    assert [json.loads(record) for record in records] == rows


def test_a_nul_is_kept_as_its_escape_and_comes_back(world):
    path = world.folder / "a.parquet"
    parquet.write_table(pa.table({"k": ["a"], "v": ["x\0y"]}), path)
    (record,), _ = stored(world, path)
    assert record == '{"k":"a","v":"x\\u0000y"}'
    assert msgspec.json.decode(record)["v"] == "x\0y"


def test_an_empty_text_and_a_null_stay_apart(world):
    path = world.folder / "a.parquet"
    parquet.write_table(pa.table({"k": ["a", "b"], "v": ["", None]}), path)
    records, _ = stored(world, path)
    assert [json.loads(record)["v"] for record in records] == ["", None]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_key_that_comes_twice_keeps_both_records_where_they_are_numbered(world, kind):
    rows = [{"k": "a", "v": "1"}, {"k": "a", "v": "2"}, {"k": "b", "v": "3"}]
    path = world.folder / f"a.{kind}"
    if kind == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        parquet.write_table(pa.Table.from_pylist(rows), path)
    records, _ = stored(world, path, on_duplicate="suffix")
    assert [json.loads(record) for record in records] == rows
