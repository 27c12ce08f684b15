"""Awkward values on their way into SQL columns and back: as they were, or one clear refusal."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.databases import Databases

from orchestrator.connections import Connections
from orchestrator.domain.shape import Column
from orchestrator.sinks.chunks import SinkRefused
from orchestrator.sinks.port import OutcomeRow, header_of
from orchestrator.sinks.row_values import RowValues
from orchestrator.sinks.sql import SqlSink
from orchestrator.sinks.sql_target import Target
from orchestrator.sinks.sql_types import Misfit, fitter, type_for

_numbers = itertools.count(1)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
WITHOUT_NUL = TEXT.filter(lambda text: "\0" not in text)
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | WITHOUT_NUL,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WITHOUT_NUL, inner, max_size=3),
    max_leaves=5,
)
DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - that is the type
COLUMNS = {
    "small": ("int64", st.integers(-(2**63), 2**63 - 1)),
    "unsigned": ("uint64", st.integers(0, 2**64 - 1)),
    "number": ("double", st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "yes": ("bool", st.booleans()),
    "words": ("string", WITHOUT_NUL),
    "price": ("decimal128(20, 4)", st.decimals(-(10**12), 10**12, places=4)),
    "day": ("date32[day]", DAYS),
    "moment": ("timestamp[us]", TIMES),
    "instant": ("timestamp[us, tz=UTC]", TIMES.map(lambda t: t.replace(tzinfo=UTC))),
    "clock": ("time64[us]", st.times()),
    "blob": ("binary", st.binary(max_size=20)),
    "nested": ("list<item: string>", st.lists(st.none() | WITHOUT_NUL, max_size=3)),
    "anything": (None, NESTED),
}
HEADER = header_of([Column("id", "string"), *(Column(n, w) for n, (w, _) in COLUMNS.items())])


def as_json(value: Any) -> Any:
    """Return a value as the record of a typed source holds it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal | date | datetime | time):
        return str(value) if isinstance(value, Decimal) else value.isoformat()
    return value


def expected(name: str, value: Any, dialect: str) -> Any:
    """Return what the column holds: SQLite keeps exact numbers as text."""
    if value is None:
        return None
    if name in {"unsigned", "price"} and dialect == "sqlite":
        return format(Decimal(value), "f")
    return value


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[sa.Engine]:
    url = f"sqlite:///{tmp_path_factory.mktemp('warehouse')}/w.db"
    if request.param == "postgresql":
        url = databases.fresh("postgresql")
    connections = Connections(lambda _name: url)
    yield connections.get("any")
    connections.close()


ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | kind for name, (_, kind) in COLUMNS.items()}),
    min_size=1,
    max_size=4,
)


@given(rows=ROWS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_value_is_in_its_column_as_it_was(
    engine: sa.Engine, rows: list[dict[str, Any]]
) -> None:
    table, dialect = f"t{next(_numbers)}", engine.dialect.name
    target = Target(table=table, mode="merge", key=("id",))
    chunk = [
        (
            1,
            n,
            OutcomeRow(json.dumps({"id": str(n)} | {k: as_json(v) for k, v in row.items()}), "x"),
        )
        for n, row in enumerate(rows)
    ]
    for _ in range(2):  # a chunk may come again
        sink = SqlSink(engine, target, RowValues(HEADER), mark="m")
        sink.write(chunk)
    with engine.connect() as db:
        read = sa.Table(table, sa.MetaData(), autoload_with=engine)
        found = [dict(row) for row in db.execute(sa.select(read).order_by(read.c.id)).mappings()]
    with engine.begin() as db:
        read.drop(db)
    assert [row["id"] for row in found] == [str(n) for n in range(len(rows))]
    for row, kept in zip(rows, found, strict=True):
        for name, value in row.items():
            assert _read(kept[name], name, value, dialect) == expected(name, value, dialect), name


def _read(kept: Any, name: str, value: Any, dialect: str) -> Any:
    """Return what a column holds in the form of `expected`."""
    if name == "instant" and kept is not None and dialect == "sqlite":
        return kept.replace(tzinfo=UTC)
    if name in {"nested", "anything"} and isinstance(kept, str) and not isinstance(value, str):
        return json.loads(kept)
    return kept


def test_nul_is_refused_by_a_database_that_cannot_keep_it_or_replaced_on_demand(
    engine: sa.Engine,
) -> None:
    header = header_of([Column("id", "string")])
    row = OutcomeRow('{"id":"r-1"}', "succeeded", "a\0b")
    table = f"t{next(_numbers)}"
    target = Target(table=table, mode="merge", key=("id",), columns=("text",))
    sink = SqlSink(engine, target, RowValues(header), mark="m")
    if engine.dialect.name == "sqlite":
        sink.write([(1, 1, row)])
    else:
        with pytest.raises(SinkRefused) as refused:
            sink.write([(1, 1, row)])
        assert refused.value.message.startswith("record r-1 does not fit the table")
        kept = Target(table=table, mode="merge", key=("id",), columns=("text",), nul="\ufffd")
        SqlSink(engine, kept, RowValues(header), mark="m").write([(1, 1, row)])
    with engine.connect() as db:
        (text,) = db.execute(sa.text(f"SELECT text FROM {table}")).one()
    assert text == ("a\0b" if engine.dialect.name == "sqlite" else "a\ufffdb")


def test_a_row_that_the_database_refuses_is_named_and_nothing_of_its_chunk_is_written(
    engine: sa.Engine,
) -> None:
    table = f"t{next(_numbers)}"
    with engine.begin() as db:
        db.execute(sa.text(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, text TEXT NOT NULL)"))
    header = header_of([Column("id", "int64")])
    target = Target(table=table, mode="merge", key=("id",), columns=("text",))
    rows = [OutcomeRow(f'{{"id":{n}}}', "x", None if n == 3 else "text") for n in range(5)]
    sink = SqlSink(engine, target, RowValues(header), mark="m")
    with pytest.raises(SinkRefused) as refused:
        sink.write([(1, n, row) for n, row in enumerate(rows)])
    assert refused.value.message == f"the table {table} refuses record 3"
    with engine.connect() as db:
        assert db.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one() == 0


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        (sa.Integer(), "12a", "it is a text"),
        (sa.Integer(), 1.5, "it is a number"),
        (sa.Integer(), 2**40, "more than 31 bits"),
        (sa.SmallInteger(), 40_000, "more than 15 bits"),
        (sa.Integer(), True, "true or false"),
        (sa.Numeric(10, 2), "1.005", "more than 2 decimal places"),
        (sa.Numeric(10, 2), [], "a nested value"),
        (sa.String(3), "four", "4 characters long"),
        (sa.Boolean(), "perhaps", "it is a text"),
        (sa.Date(), "soon", "it is a text"),
        (sa.Date(), datetime(2026, 1, 1, tzinfo=UTC), "it is a time"),
        (sa.LargeBinary(), "text", "it is a text"),
        (sa.Double(), "x", "no number"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(
    kind: sa.types.TypeEngine[Any], value: Any, why: str
) -> None:
    with pytest.raises(Misfit, match=why):
        fitter(kind, "postgresql")(value)


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        (sa.Integer(), "12", 12),
        (sa.Integer(), 3.0, 3),
        (sa.Numeric(10, 2), "1.50", Decimal("1.50")),
        (sa.Boolean(), "True", True),
        (sa.Text(), 5, "5"),
        (sa.Text(), {"a": None}, '{"a":null}'),
        (sa.DateTime(), "2026-09-01T12:00:00+02:00", datetime(2026, 9, 1, 10)),  # noqa: DTZ001
        (sa.Date(), "2026-09-01", date(2026, 9, 1)),
        (sa.JSON(), {"a": 1}, {"a": 1}),
    ],
)
def test_what_loses_nothing_is_taken(kind: sa.types.TypeEngine[Any], value: Any, kept: Any) -> None:
    assert fitter(kind, "postgresql")(value) == kept


def test_keys_get_a_length_where_a_database_needs_one() -> None:
    assert isinstance(type_for("string", dialect="mysql", is_key=True), sa.String)
    assert type_for("string", dialect="mysql", is_key=True).length == 255  # type: ignore[attr-defined]
    assert isinstance(type_for("duration[us]", dialect="postgresql"), sa.Text)
