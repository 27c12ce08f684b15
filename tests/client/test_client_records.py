"""Records in memory and functions of the user's: read twice, typed, and known again."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from client.conftest import ROWS, a_spec
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import Orchestrator, errors
from orchestrator.client import rows
from orchestrator.sources.registry import open_source

TYPED = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "big": pa.array([2**63 - 1, None, -(2**53) - 1], pa.int64()),
        "day": pa.array([dt.date(2026, 3, 1), None, dt.date(1, 1, 1)], pa.date32()),
        "at": pa.array(
            [dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC), None, None], pa.timestamp("us", "UTC")
        ),
        "price": pa.array([Decimal("1.10"), None, Decimal("-0.05")], pa.decimal128(10, 2)),
        "raw": pa.array([b"\x00\xff", None, b""], pa.binary()),
        "tags": pa.array([["a", None], None, []], pa.list_(pa.string())),
        "of": pa.array([{"n": 1}, None, {"n": None}], pa.struct([("n", pa.int64())])),
        "text": pa.array(["", None, "ü\U0001f600"], pa.string()),
    }
)


def frames() -> dict[str, Any]:
    return {
        "arrow": TYPED,
        "reader": TYPED.to_reader(),
        "polars": pl.from_arrow(TYPED),
        "lazy": pl.from_arrow(TYPED).lazy(),
    }


@pytest.mark.parametrize("kind", ["arrow", "reader", "polars", "lazy"])
def test_a_frame_keeps_its_types_to_the_outcome_and_to_the_table(kind: str, lite: Orchestrator):
    source = frames()[kind]
    job = lite.submit(a_spec(source=source, prompt="{id} {big} {day} {price} {text}"))
    found = [dict(outcome.record) for outcome in job.outcomes()]
    assert found == TYPED.to_pylist()
    table = job.outcomes().to_arrow().select(TYPED.column_names)
    assert table.to_pylist() == TYPED.to_pylist()
    assert [table.schema.field(name).type for name in ("day", "price", "of")] == [
        TYPED.schema.field(name).type for name in ("day", "price", "of")
    ]


def test_a_pandas_frame_is_a_source_with_its_named_index(orc: Orchestrator):
    frame = pd.DataFrame(
        {"n": [1, 2], "when": pd.to_datetime(["2026-01-01", "2026-01-02"])},
        index=pd.Index(["a", "b"], name="id"),
    )
    job = orc.submit(a_spec(source=frame, prompt="{n} {when}"))
    assert [o.key for o in job.outcomes()] == ["a", "b"]
    assert next(iter(job.outcomes())).record["when"].isoformat() == "2026-01-01T00:00:00"
    assert job.wait(timeout="60s").outcomes().to_pandas()["outcome"].tolist() == ["succeeded"] * 2


def test_the_same_frame_is_the_same_job_however_it_is_chunked(lite: Orchestrator):
    whole = pl.DataFrame(ROWS)
    parts = pl.concat([whole[:5], whole[5:]], rechunk=False)
    assert lite.submit(a_spec(source=whole)).id == lite.submit(a_spec(source=parts)).id


def test_a_generator_is_read_once(lite: Orchestrator):
    def many() -> Any:
        for number in range(3_000):
            yield {"id": number, "text": "x" * 1_000}

    job = lite.submit(a_spec(source=many()))
    assert job.progress().books.records == 3_000


def test_values_beyond_json_become_text_and_big_numbers_keep_their_digits(tmp_path: Path):
    row = {
        "i": 2**80,
        "d": Decimal("1.10"),
        "t": dt.date(2026, 1, 2),
        "n": np.int64(3),
        "a": np.array([1, 2]),
        "none": None,
    }
    path = rows.keep([row], tmp_path, "kept")
    assert path.read_text() == (
        f'{{"i":{2**80},"d":"1.10","t":"2026-01-02","n":3,"a":[1,2],"none":null}}\n'
    )


def test_numbers_that_json_lacks_are_kept_by_name_and_none_stays_null(tmp_path: Path):
    nan, endless = float("nan"), float("inf")
    row = {
        "f": nan,
        "n": None,
        "in": {"l": [1.5, endless, -endless]},
        "s": np.float32("nan"),
        "d": np.float64("inf"),
        "a": np.array([1.0, nan]),
        "t": dt.date(2026, 1, 2),
        "m": Decimal("1.10"),
    }
    path = rows.keep([row], tmp_path, "kept")
    assert path.read_text() == (
        '{"f":"NaN","n":null,"in":{"l":[1.5,"Infinity","-Infinity"]},"s":"NaN","d":"Infinity",'
        '"a":[1.0,"NaN"],"t":"2026-01-02","m":"1.10"}\n'
    )


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ([{"id": 1}, 7], "record 2 is a int, no mapping of columns"),
        ([{"id": 1}, {"id": object()}], "record 2: a object has no form in JSON"),
        ([{1: 2}], "record 1: the column 1 is not named by text"),
        ([{"id": "\ud800"}], "record 1: "),
        (7, "it is a int"),
        (pd.DataFrame({"a": [1, "x"]}), "a"),
    ],
)
def test_what_is_no_record_is_named_and_nothing_is_registered(
    source: Any, why: str, lite: Orchestrator
):
    with pytest.raises(errors.SourceError) as refused:
        lite.submit(a_spec(source=source))
    assert refused.value.code == "ORC1153"
    assert why in refused.value.why
    assert lite.jobs() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(st.characters(codec="utf-8")), json_values), min_size=1))
def test_mappings_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, kept: list):
    path = rows.keep(kept, tmp_path_factory.mktemp("kept"), "kept")
    assert [record.data for record in open_source(str(path)).records()] == kept


def test_messages_are_made_by_a_function_of_the_typed_row(orc: Orchestrator):
    seen: list[Any] = []

    def ask(row: Any) -> list:
        seen.append(row["price"])
        return [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": f"{row['id']} costs {row['price']}"},
        ]

    spec = a_spec(source=TYPED, prompt=None, messages=ask, body={"max_tokens": 9})
    plan = orc.plan(spec, show=1)
    assert seen == [Decimal("1.10"), None, Decimal("-0.05")]
    assert plan.samples == [
        {
            "model": "kimi-k2.6",
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "1 costs 1.10"},
            ],
            "max_tokens": 9,
        }
    ]
    job = orc.submit(plan)
    assert len(seen) == 3
    job.wait(timeout="60s", raise_on_failed=True)
    assert [dict(o.record) for o in job.outcomes()] == TYPED.to_pylist()
    assert [o.key for o in job.outcomes()] == ["1", "2", "3"]


def test_a_function_that_fails_is_told_for_every_record_and_registers_nothing(lite: Orchestrator):
    def ask(row: Any) -> Any:
        return [{"role": "user", "content": row["txt"]}] if row["id"] != "r-001" else "hello"

    with pytest.raises(errors.SourceError) as refused:
        lite.submit(a_spec(prompt=None, messages=ask))
    assert refused.value.code == "ORC1154"
    assert refused.value.details[:2] == (
        "line 1: messages failed: KeyError: 'txt'",
        "line 2: messages failed: TypeError: it returned a str; it must return a list of messages",
    )
    assert len(refused.value.details) == 12


def test_other_messages_of_the_same_records_are_another_job(lite: Orchestrator):
    def ask(words: str) -> Any:
        return lambda row: [{"role": "user", "content": words + row["text"]}]

    job = lite.submit(a_spec(prompt=None, messages=ask("a")))
    assert lite.submit(a_spec(prompt=None, messages=ask("a"))).id == job.id
    with pytest.raises(errors.NameTaken):
        lite.submit(a_spec(prompt=None, messages=ask("b")))


def test_a_job_takes_one_way_to_its_messages(lite: Orchestrator):
    with pytest.raises(errors.SourceError, match="breaks the rules"):
        lite.plan(a_spec(messages=lambda _row: []))


def test_a_template_may_be_text_or_a_file(lite: Orchestrator, home: Path):
    (home / "ask.j2").write_text("{{ text | upper }}")
    for template in ("{{ text | upper }}", Path("ask.j2")):
        plan = lite.plan(a_spec(prompt=None, template=template), show=1)
        assert plan.samples[0]["messages"][0]["content"] == "IT IS NUMBER 0"


def test_a_template_file_that_is_not_there_is_named(lite: Orchestrator):
    with pytest.raises(errors.OrchestratorError) as missing:
        lite.plan(a_spec(prompt=None, template=Path("nowhere.j2")))
    assert "nowhere.j2" in str(missing.value.to_dict())


def test_nothing_is_left_of_records_that_were_kept(home: Path):
    with Orchestrator.sandbox(settings={"spool.dir": home / "spool"}) as orc:
        orc.submit(a_spec())
        assert list((home / "spool").rglob("labels.jsonl"))
    assert not list((home / "spool").glob("python-*"))


def test_exports_go_to_files_of_every_format(lite: Orchestrator, home: Path):
    job = lite.submit(a_spec())
    job.wait(timeout="60s")
    assert job.export("out.csv") == "out.csv"
    assert (home / "out.csv").read_text().startswith("id,text,outcome,answer_text,")
    assert pl.read_parquet(job.outcomes().to_parquet(home / "out.parquet"))["id"].to_list() == [
        row["id"] for row in ROWS
    ]
    assert len(job.outcomes(key="r-00*").to_polars()) == 10
    job.export("parts/", format="parquet")
    assert pl.read_parquet(home / "parts").height == 12
    assert job.verify(export="out.csv").ok


def test_several_files_and_patterns_are_one_source(lite: Orchestrator, home: Path):
    for number, row in enumerate(ROWS[:3]):
        pl.DataFrame([row]).write_parquet(home / f"part-{number}.parquet")
    listed = lite.plan(a_spec(source=["part-0.parquet", Path("part-2.parquet")]))
    assert (listed.requests, lite.plan(a_spec(source="part-*.parquet")).requests) == (2, 3)


def test_another_jobs_answers_are_a_source(lite: Orchestrator):
    lite.submit(a_spec("first")).wait(timeout="60s")
    job = lite.submit(a_spec("second", source="job:first", key=None, prompt="Again: {answer_text}"))
    assert [o.key for o in job.outcomes()] == [row["id"] for row in ROWS]


def test_messages_are_made_for_wanted_records_only(lite: Orchestrator):
    seen: list[str] = []

    def ask(row: Any) -> list:
        seen.append(row["id"])
        return [{"role": "user", "content": row["text"]}]

    spec = a_spec(prompt=None, messages=ask, where="id >= 'r-004'", limit=2)
    job = lite.submit(spec)
    assert seen == [o.key for o in job.outcomes()] == ["r-004", "r-005"]


def test_outcomes_go_to_the_sinks_that_the_job_names_and_to_one_that_is_added(
    orc: Orchestrator, home: Path
):
    job = orc.submit(a_spec(sinks=["out.jsonl", {"file": "out.parquet"}]))
    job.wait(timeout="60s")
    assert pl.read_parquet(home / "out.parquet").height == 12
    assert [(view.state, view.rows) for view in job.sinks()] == [("done", 12)] * 2
    assert job.add_sink("late.csv").added
    (home / "out.jsonl").unlink()
    assert not job.add_sink(job.sinks()[0].sink, again=True).added
    job.wait(timeout="60s")
    assert len((home / "late.csv").read_text().splitlines()) == 13
    assert len((home / "out.jsonl").read_text().splitlines()) == 12


def test_a_watch_names_the_sink_that_waits_for_a_person(
    lite: Orchestrator, capsys: pytest.CaptureFixture[str]
):
    with closing(sqlite3.connect("warehouse.db")) as db:
        db.execute("CREATE TABLE tags (id TEXT PRIMARY KEY)")
    lite.submit(a_spec(sinks=["sql:sqlite:///warehouse.db/tags"])).watch(timeout="60s")
    (said,) = capsys.readouterr().err.splitlines()
    assert "add_columns = true adds them" in said
    assert said.endswith("then: orchestrator resume labels")


def test_a_sink_that_is_none_is_refused(lite: Orchestrator):
    with pytest.raises(errors.UsageError) as refused:
        lite.plan(a_spec(sinks=[{"nonsense": 1}]))
    assert refused.value.code == "ORC6025"


def test_a_key_may_be_several_columns(lite: Orchestrator):
    rows = [{"country": "de", "n": 1}, {"country": "at", "n": 1}]
    job = lite.submit(a_spec(source=rows, key=("country", "n"), prompt="{n}"))
    assert [o.key for o in job.outcomes()] == ["de|1", "at|1"]


@pytest.mark.parametrize(
    ("key", "what"),
    [(None, "nothing says which column"), ("nme", 'did you mean "name"'), (("name", "x"), '"x"')],
)
def test_a_key_that_is_no_column_is_refused_once(key: Any, what: str, lite: Orchestrator):
    with pytest.raises(errors.SourceError) as refused:
        lite.plan(a_spec(source=[{"name": "a"}, {"name": "b"}], key=key, prompt="{name}"))
    assert refused.value.code == "ORC2302"
    assert what in refused.value.message


def test_ready_batch_lines_are_recognised(lite: Orchestrator):
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "hello"}]}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    plan = lite.plan(a_spec(source=[line], key=None, prompt=None), show=1)
    assert plan.samples == [body]


def test_a_query_is_a_source_and_its_table_a_sink(registry_url: str, home: Path):
    with sqlite3.connect(home / "shop.db") as shop:
        shop.execute("CREATE TABLE reviews (id INTEGER PRIMARY KEY, text TEXT, stars INTEGER)")
        shop.executemany("INSERT INTO reviews VALUES (?, ?, ?)", [(1, "ok", 3), (2, "bad", 1)])
    shop.close()
    settings = {"connections.shop.url": f"sqlite:///{home}/shop.db"}
    with Orchestrator.sandbox(registry=registry_url, settings=settings) as orc:
        spec = a_spec(
            source="sql:shop",
            source_options={"query": "SELECT id, text FROM reviews WHERE stars < 3"},
            sinks=[{"sql": "shop", "table": "answers"}],
        )
        job = orc.submit(spec).wait(timeout="60s", raise_on_failed=True)
        assert [dict(o.record) for o in job.outcomes()] == [{"id": 2, "text": "bad"}]
    with sqlite3.connect(home / "shop.db") as shop:
        assert shop.execute("SELECT id, outcome FROM answers").fetchall() == [(2, "succeeded")]
    shop.close()


def test_only_what_is_new_or_changed_is_sent_again(orc: Orchestrator):
    orc.submit(a_spec(changed_only=True)).wait(timeout="60s")
    rows = [{**ROWS[0], "text": "another text"}, *ROWS[1:], {"id": "r-new", "text": "new"}]
    again = orc.submit(a_spec(source=rows, changed_only=True))
    assert (again.name, [o.key for o in again.outcomes()]) == ("labels-2", ["r-000", "r-new"])
