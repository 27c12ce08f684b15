"""Tables and queries as sources, on SQLite and PostgreSQL."""

import datetime as dt
import json
import uuid
from decimal import Decimal

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import ConfigError, NotFound, SourceError
from orchestrator.sources import sql_rows
from orchestrator.sources.port import Opening
from orchestrator.sources.registry import open_source


def reviews(**columns):
    return sa.Table(
        "reviews",
        sa.MetaData(),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text),
        *(sa.Column(name, kind) for name, kind in columns.items()),
    )


def opened(warehouse, **options):
    return open_source("sql:warehouse", options=options, opening=warehouse.opening)


def rows_of(source):
    return [row.data for row in source.records()]


def test_a_table_is_read_whole_in_the_order_of_its_key(warehouse):
    rows = [{"id": n, "text": None if n % 7 == 0 else f"text {n}"} for n in range(3_000)]
    warehouse.put(reviews(), rows[::-1])
    source = opened(warehouse, table="reviews")
    found = list(source.records())
    assert [row.data for row in found] == rows
    assert [row.position for row in found] == list(range(1, 3_001))
    shape = source.shape()
    assert [(column.name, column.type) for column in shape.columns] == [
        ("id", "int64"),
        ("text", "string"),
    ]
    assert (shape.rows, shape.place(17)) == (3_000, "row 17")


def test_a_key_of_several_columns_pages_as_well(warehouse):
    pairs = sa.Table(
        "pairs",
        sa.MetaData(),
        sa.Column("a", sa.Text, primary_key=True),
        sa.Column("b", sa.Integer, primary_key=True),
    )
    rows = [{"a": f"k{n // 40:03d}", "b": n % 40} for n in range(2_000)]
    warehouse.put(pairs, rows[::-1])
    assert rows_of(opened(warehouse, table="pairs")) == rows


def test_a_table_without_a_key_is_read_through_a_cursor(warehouse):
    warehouse.run("CREATE TABLE loose (n integer, s text)")
    with warehouse.engine.begin() as db:
        db.exec_driver_sql(
            "INSERT INTO loose SELECT n, NULL FROM (" + numbers(warehouse, 5_000) + ") q"
        )
    found = rows_of(opened(warehouse, table="loose"))
    assert sorted(row["n"] for row in found) == list(range(5_000))
    assert found[0]["s"] is None


def numbers(warehouse, count):
    if warehouse.dialect == "postgresql":
        return f"SELECT generate_series(0, {count - 1}) AS n"
    step = f"SELECT n + 1 FROM c WHERE n < {count - 1}"
    return f"WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL {step}) SELECT n FROM c"


def test_a_query_is_taken_as_it_is_written(warehouse):
    warehouse.put(reviews(), [{"id": n, "text": f"12:3{n} is 10%"} for n in range(4)])
    wanted = "text LIKE '%3%' AND id > 1 ORDER BY id;"
    query = f"SELECT text AS t, id * 2 AS twice FROM reviews WHERE {wanted}"
    source = opened(warehouse, query=query)
    assert rows_of(source) == [{"t": "12:32 is 10%", "twice": 4}, {"t": "12:33 is 10%", "twice": 6}]
    common = opened(
        warehouse, query="WITH q AS (SELECT id FROM reviews) SELECT id FROM q ORDER BY 1"
    )
    assert [row["id"] for row in rows_of(common)] == [0, 1, 2, 3]


def test_every_pass_hands_out_what_the_first_one_read(warehouse):
    warehouse.put(reviews(), [{"id": n, "text": "old"} for n in range(1_000)])
    source = opened(warehouse, table="reviews")
    before = list(source.records())
    digest = source.digest()
    warehouse.run("UPDATE reviews SET text = 'new'", "DELETE FROM reviews WHERE id > 500")
    assert list(source.records()) == before
    assert source.digest() == digest
    fresh = opened(warehouse, table="reviews")
    assert len(list(fresh.records())) == 501
    assert fresh.digest() != digest


def test_a_pass_that_was_broken_off_is_repeated_to_the_same_place(warehouse):
    warehouse.put(reviews(), [{"id": n, "text": "old"} for n in range(1_000)])
    source = opened(warehouse, table="reviews")
    first = [row for row, _ in zip(source.records(), range(10), strict=False)]
    digest = source.digest()
    warehouse.run("UPDATE reviews SET text = 'new' WHERE id < 10")
    assert [row for row, _ in zip(source.records(), range(10), strict=False)] == first
    assert source.digest() == digest


def test_a_query_is_run_once_however_often_its_rows_are_read(warehouse):
    warehouse.put(reviews(), [{"id": n, "text": "x"} for n in range(600)])
    ran = []

    @sa.event.listens_for(warehouse.connections.get("warehouse"), "before_cursor_execute")
    def note(_db, _cursor, statement, *_more):
        ran.append(statement)

    source = opened(warehouse, query="SELECT id FROM reviews ORDER BY id")
    for _ in range(3):
        assert len(source.shape().names) == 1
        assert len(rows_of(source)) == 600
    assert ran == ["SELECT id FROM reviews ORDER BY id"]


def test_a_query_changes_nothing(warehouse):
    warehouse.put(reviews(), [{"id": 1, "text": "a"}])
    source = "DELETE FROM reviews RETURNING id"
    if warehouse.dialect == "postgresql":
        with pytest.raises(SourceError, match="fails"):
            rows_of(opened(warehouse, query=source))
    else:
        rows_of(opened(warehouse, query=source))
    assert len(rows_of(opened(warehouse, table="reviews"))) == 1


PG_TYPES = """
SELECT 9223372036854775807 AS big, 12.50::numeric(10,2) AS price, 1e30::numeric AS huge,
  'NaN'::numeric AS no_number, 'Infinity'::float8 AS endless, DATE '2024-02-29' AS day,
  TIMESTAMP '2024-02-29 12:00:00.5' AS moment, TIMESTAMPTZ '2024-02-29 12:00+02' AS instant,
  TIME '01:02:03' AS clock, INTERVAL '1 day 1 second' AS span, true AS yes, '\\x00ff'::bytea AS raw,
  '00000000-0000-0000-0000-000000000001'::uuid AS uid, ARRAY[1,NULL,3] AS list,
  '{"a": [1, null], "b": "x"}'::jsonb AS doc, NULL::text AS nothing, '' AS blank,
  '10.0.0.1'::inet AS address
"""


@pytest.mark.parametrize("registry_url", ["postgresql"], indirect=True)
def test_every_common_type_of_postgresql_has_its_form_and_its_words(warehouse):
    source = opened(warehouse, query=PG_TYPES)
    (row,) = rows_of(source)
    assert row == {
        "big": 2**63 - 1,
        "price": "12.50",
        "huge": "1" + "0" * 30,
        "no_number": "NaN",
        "endless": "Infinity",
        "day": "2024-02-29",
        "moment": "2024-02-29T12:00:00.500000",
        "instant": "2024-02-29T10:00:00Z",
        "clock": "01:02:03",
        "span": 86_401_000_000,
        "yes": True,
        "raw": "AP8=",
        "uid": str(uuid.UUID(int=1)),
        "list": [1, None, 3],
        "doc": {"a": [1, None], "b": "x"},
        "nothing": None,
        "blank": "",
        "address": "10.0.0.1",
    }
    words = {column.name: column.type for column in source.shape().columns}
    assert words == {
        "big": "int64",
        "price": "decimal128(38, 2)",
        "huge": "decimal128(38, 0)",
        "no_number": "string",
        "endless": "double",
        "day": "date32[day]",
        "moment": "timestamp[us]",
        "instant": "timestamp[us, tz=UTC]",
        "clock": "time64[us]",
        "span": "duration[us]",
        "yes": "bool",
        "raw": "binary",
        "uid": "string",
        "list": None,
        "doc": None,
        "nothing": None,
        "blank": "string",
        "address": None,
    }


@pytest.mark.parametrize("registry_url", ["sqlite"], indirect=True)
def test_values_of_sqlite_are_what_they_are_not_what_the_column_says(warehouse):
    warehouse.run(
        "CREATE TABLE odd (k TEXT PRIMARY KEY, v INTEGER)",
        "INSERT INTO odd VALUES ('a', 1), ('b', 'text'), ('c', x'00ff'), ('d', 1.5), (NULL, NULL)",
    )
    source = opened(warehouse, table="odd")
    # A key that may be null can't be paged by: the row without one would be lost.
    assert {row["k"]: row["v"] for row in rows_of(source)} == {
        "a": 1,
        "b": "text",
        "c": "AP8=",
        "d": 1.5,
        None: None,
    }
    assert source.shape().columns[1].type is None


TEXTS = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": TEXTS,
            "n": st.none() | st.integers(-(2**63), 2**63 - 1),
            "x": st.none() | st.floats(allow_nan=False),
            "raw": st.none() | st.binary(max_size=8),
        }
    ),
    max_size=8,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=ROWS)
def test_awkward_values_come_out_as_they_went_in(warehouse, rows):
    table = reviews(n=sa.BigInteger, x=sa.Double, raw=sa.LargeBinary)
    table.drop(warehouse.engine, checkfirst=True)
    warehouse.put(table, [{"id": number, **row} for number, row in enumerate(rows)])
    found = rows_of(opened(warehouse, table="reviews"))
    told = json.loads(msgspec.json.encode(found))
    assert told == found
    for row, given_row in zip(found, rows, strict=True):
        assert (row["text"], row["n"]) == (given_row["text"], given_row["n"])
        assert row["x"] == given_row["x"] or row["x"] in {"Infinity", "-Infinity"}
        raw = given_row["raw"]
        assert row["raw"] == (None if raw is None else msgspec.to_builtins(raw))


def test_a_connection_that_drops_is_told_with_the_row_it_dropped_after(warehouse, monkeypatch):
    monkeypatch.setattr(sql_rows, "_FIRST", 16)
    monkeypatch.setattr(sql_rows, "chunk_rows", lambda _rows, _octets: 16)
    warehouse.put(reviews(), [{"id": n, "text": "x" * 2_000} for n in range(2_000)])
    rows = opened(warehouse, query="SELECT * FROM reviews").records()
    for _ in range(16):
        next(rows)
    if warehouse.dialect == "postgresql":
        mine = "pid <> pg_backend_pid() AND datname = current_database()"
        warehouse.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
        with pytest.raises(SourceError, match="broke off while it was read") as caught:
            list(rows)
        assert caught.value.code == "ORC2038"
        assert caught.value.where.startswith("after row ")
        assert "starts over" in caught.value.next
    else:
        assert len(list(rows)) == 1_984


@pytest.mark.parametrize(
    "options", [{"query": "SELECT nonsense FROM nowhere"}, {"query": "SELEC 1"}]
)
def test_a_query_that_fails_is_told_in_the_databases_words(warehouse, options):
    with pytest.raises(SourceError, match="the query on warehouse fails") as caught:
        opened(warehouse, **options)
    assert caught.value.code == "ORC2037"
    assert "no" in caught.value.why or "syntax" in caught.value.why


def test_a_row_that_fails_further_on_is_told_with_the_row_before(warehouse):
    if warehouse.dialect == "postgresql":
        query = "SELECT 1 / (2000 - n) AS x FROM generate_series(0, 5000) n"
    else:
        each = "json(CASE WHEN n = 2000 THEN '{' ELSE '1' END)"
        query = f"SELECT {each} AS x FROM ({numbers(warehouse, 5_000)})"
    source = opened(warehouse, query=query)
    with pytest.raises(SourceError, match="fails") as caught:
        list(source.records())
    assert caught.value.code == "ORC2037"
    assert caught.value.where == "after row 256"


def test_a_table_that_is_not_there_names_those_that_are(warehouse):
    warehouse.put(reviews(), [])
    with pytest.raises(NotFound, match='no table "reviewz"') as caught:
        opened(warehouse, table="reviewz")
    assert caught.value.code == "ORC2036"
    assert "reviews" in caught.value.why


def test_a_table_may_be_named_with_its_schema(warehouse):
    schema = "main" if warehouse.dialect == "sqlite" else "public"
    warehouse.put(reviews(), [{"id": 1, "text": "a"}])
    assert len(rows_of(opened(warehouse, table=f"{schema}.reviews"))) == 1


def test_columns_of_one_name_are_refused(warehouse):
    with pytest.raises(SourceError, match='"a" names the columns 1 and 2') as caught:
        opened(warehouse, query="SELECT 1 AS a, 2 AS a")
    assert caught.value.code == "ORC2007"


@pytest.mark.parametrize("options", [{}, {"table": "a", "query": "SELECT 1"}])
def test_a_database_is_read_by_a_table_or_a_query(warehouse, options):
    with pytest.raises(SourceError, match="needs a table or a query") as caught:
        opened(warehouse, **options)
    assert caught.value.code == "ORC2032"


def test_a_type_without_a_form_is_told_by_its_column(warehouse):
    if warehouse.dialect == "sqlite":
        return
    with pytest.raises(SourceError, match='the column "r" of') as caught:
        rows_of(opened(warehouse, query="SELECT int4range(1, 2) AS r"))
    assert caught.value.code == "ORC2034"
    assert "CAST(r AS text)" in caught.value.next


def test_a_url_leads_to_a_database_and_one_with_a_password_to_an_error(tmp_path):
    path = tmp_path / "a.db"
    engine = sa.create_engine(f"sqlite:///{path}")
    reviews().create(engine)
    engine.dispose()
    opening = Opening(workdir=tmp_path)
    source = open_source(f"sqlite:///{path}", options={"table": "reviews"}, opening=opening)
    assert rows_of(source) == []
    with pytest.raises(ConfigError) as caught:
        open_source("postgresql://me:hush@db/x", options={"table": "t"}, opening=opening)
    assert "hush" not in str(caught.value.to_dict())


def test_a_database_that_is_not_there_is_told_as_such(tmp_path):
    address = f"postgresql+psycopg:///none?host={tmp_path}"
    with pytest.raises(SourceError, match="can't be reached") as caught:
        open_source(address, options={"table": "t"})
    assert caught.value.code == "ORC2038"


def test_decimals_and_times_of_every_kind_are_observed(warehouse):
    table = reviews(price=sa.Numeric(12, 3), day=sa.Date, at=sa.DateTime)
    if warehouse.dialect == "sqlite":
        return
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, 6)  # noqa: DTZ001 - a column without a zone
    row = {"id": 1, "text": "", "price": Decimal("1.250"), "day": moment.date(), "at": moment}
    warehouse.put(table, [row])
    source = opened(warehouse, table="reviews")
    (found,) = rows_of(source)
    assert (found["price"], found["day"], found["at"]) == (
        "1.250",
        "2024-01-02",
        "2024-01-02T03:04:05.000006",
    )
