"""Sources of every kind from the command line, and which of their records are sent."""

from __future__ import annotations

import sqlite3

import pyarrow as pa
import pytest
from pyarrow import parquet

from orchestrator.cli.intake_options import _ending

PROMPT = ("--prompt", "Positive? {text}")


@pytest.fixture
def project(offline):
    rows = "".join(f"{n},{'good' if n % 2 else 'bad'},{n}\n" for n in range(1, 5))
    (offline.folder / "reviews.csv").write_text(f"id,text,stars\n{rows}")
    with sqlite3.connect(offline.folder / "warehouse.db") as db:
        db.execute("CREATE TABLE tickets (id INTEGER PRIMARY KEY, text TEXT, lang TEXT)")
        db.executemany("INSERT INTO tickets VALUES (?, ?, 'en')", [(n, f"t {n}") for n in range(5)])
    db.close()
    url = f"sqlite:///{offline.folder / 'warehouse.db'}"
    offline.configure(f'[connections.warehouse]\nurl = "{url}"\n')
    return offline


def submitted(project, *argv):
    ran = project.run("submit", *argv, *PROMPT, "--json")
    assert ran.status == 0, ran.err
    return ran.data()


def keys(project, job):
    ran = project.run("records", "list", job, "--json")
    return sorted(record["key"] for record in ran.data())


def test_a_table_is_a_source_and_names_the_job(project):
    data = submitted(project, "sql:warehouse", "--table", "tickets")
    assert (data["job"], data["records"]) == ("tickets", 5)


def test_a_query_is_given_in_place_or_in_a_file(project):
    query = "SELECT id, text FROM tickets WHERE id > 2"
    assert submitted(project, "sql:warehouse", "--query", query)["records"] == 2
    (project.folder / "late.sql").write_text(f"{query} AND id > 3;\n")
    data = submitted(project, "sql:warehouse", "--query-file", "late.sql")
    assert (data["job"], data["records"]) == ("late", 1)


def test_two_ways_to_say_what_is_read_are_refused(project):
    ran = project.run("plan", "sql:warehouse", "--query", "SELECT 1", "--table", "t", *PROMPT)
    assert ran.status == 2
    assert "--table and --query both say what is read" in ran.err


@pytest.mark.parametrize(
    ("argv", "status", "code"),
    [
        (("sql:warehouse", "--table", "nope"), 66, "ORC2036"),
        (("sql:warehouse", "--query", "SELEC 1"), 65, "ORC2037"),
        (("sql:nowhere", "--table", "t"), 78, "ORC1111"),
        (("sql:warehouse",), 65, "ORC2032"),
        (("sql:warehouse", "--query-file", "none.sql"), 66, "ORC2002"),
        (("*.parquet",), 66, "ORC2002"),
        (("reviews.csv", "--sheet", "one"), 65, "ORC2032"),
        (("reviews.csv", "--only", "stars >="), 65, "ORC2041"),
        (("reviews.csv", "--only", "stars >= 3"), 65, "ORC2042"),
        (("reviews.csv", "--only", "stars|int > 9"), 65, "ORC2043"),
        (("reviews.csv", "--key", "id,lang"), 65, "ORC2302"),
    ],
)
def test_each_slip_has_its_error_and_registers_nothing(project, argv, status, code):
    ran = project.run("submit", *argv, *PROMPT)
    assert (ran.status, f"[{code}]" in ran.err) == (status, True), ran.err
    ran = project.run("jobs", "--json")
    assert ran.status == 66 or ran.data() == []


def test_files_by_pattern_are_one_source(project):
    for name in ("a", "b"):
        table = pa.table({"id": [f"{name}1", f"{name}2"], "text": ["x", "y"]})
        parquet.write_table(table, project.folder / f"part-{name}.parquet")
    data = submitted(project, "part-*.parquet", "--name", "parts")
    assert data["records"] == 4
    assert keys(project, "parts") == ["a1", "a2", "b1", "b2"]


def test_a_plan_says_what_a_condition_passes_over(project):
    ran = project.run("plan", "reviews.csv", *PROMPT, "--only", "stars|int >= 3")
    assert "2 records passed over by the condition" in ran.out
    assert ran.out.rstrip().endswith("--only 'stars|int >= 3'")
    data = project.run("plan", "reviews.csv", *PROMPT, "--only", "stars|int >= 3", "--json").data()
    assert (data["requests"], data["source"]["passed_over"]) == (2, 2)


def test_a_key_of_several_columns_joins_them(project):
    submitted(project, "reviews.csv", "--key", "text,id", "--name", "pairs")
    assert keys(project, "pairs") == ["bad|2", "bad|4", "good|1", "good|3"]


def test_changes_only_are_sent_and_no_change_is_nothing_to_do(project):
    submitted(project, "reviews.csv")
    more = (project.folder / "reviews.csv").read_text() + "5,new,5\n"
    (project.folder / "reviews.csv").write_text(more)
    planned = project.run("plan", "reviews.csv", *PROMPT, "--changed-only")
    assert "4 records held by earlier jobs as they are" in planned.out
    assert "the source has changed since job reviews" in planned.out
    data = submitted(project, "reviews.csv", "--changed-only")
    assert (data["job"], data["records"], data["unchanged"]) == ("reviews-2", 1, 4)
    assert data["changed_since"] == "reviews"
    again = submitted(project, "reviews.csv", "--changed-only")
    assert (again["status"], again["job"], again["unchanged"]) == (
        "nothing_changed",
        "reviews-2",
        5,
    )
    ran = project.run("submit", "reviews.csv", *PROMPT, "--changed-only", "--fail-if-empty")
    assert (ran.status, ran.out) == (5, "reviews-2\n")
    ran = project.run("plan", "reviews.csv", *PROMPT, "--changed-only", "--show", "2")
    assert ran.status == 0
    ran = project.run("submit", "reviews.csv", *PROMPT, "--changed-only", "-n", "--fail-if-empty")
    assert ran.status == 5


def test_how_many_rows_there_are_is_told_before_they_are_read(project, monkeypatch):
    monkeypatch.setattr("orchestrator.cli.intake_options.MANY_ROWS", 3)
    table = pa.table({"id": ["a", "b", "c"], "text": ["x", "y", "z"]})
    parquet.write_table(table, project.folder / "many.parquet")
    ran = project.run("plan", "many.parquet", *PROMPT)
    assert "many.parquet has 3 rows; each is read before" in ran.err


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        (b"PAR1...", ".parquet"),
        (b"ARROW1..", ".arrow"),
        (b"PK\x03\x04...", ".xlsx"),
        (b'\xef\xbb\xbf {"a":1}', ".jsonl"),
        (b"a,b\n1,2\n", ".csv"),
    ],
)
def test_standard_input_is_told_by_how_it_begins(tmp_path, content, ending):
    (tmp_path / "stdin").write_bytes(content)
    assert _ending(tmp_path / "stdin") == ending


def test_standard_input_is_a_series_by_the_name_of_its_job(project):
    head = "id,text\n"
    argv = ("submit", "-", *PROMPT, "--name", "piped", "--changed-only", "--json")
    project.run(*argv, stdin=f"{head}1,a\n")
    data = project.run(*argv, stdin=f"{head}1,a\n2,b\n").data()
    assert (data["job"], data["records"], data["unchanged"]) == ("piped-2", 1, 1)


def test_a_source_that_changed_is_told_though_everything_is_sent(project):
    submitted(project, "reviews.csv")
    with (project.folder / "reviews.csv").open("a") as file:
        file.write("5,new,5\n")
    ran = project.run("submit", "reviews.csv", *PROMPT, "--name", "second")
    assert "the source has changed since job reviews" in ran.err
