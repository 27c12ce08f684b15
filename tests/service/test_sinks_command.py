"""Sinks from the command line: named at submit, listed, added later, mended, run again."""

from __future__ import annotations

import json
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path


def found(project, query):
    with closing(sqlite3.connect(project.folder / "warehouse.db")) as db:
        return db.execute(query).fetchall()


def test_a_table_is_answered_in_one_command(project):
    sink = f"sql:sqlite:///{project.folder}/warehouse.db/tags"
    ran = project.submit(20, "labels", "--sink", sink, "--sink", "out.csv", "--stream", "--watch")
    assert ran.status == 0, ran.err
    assert found(project, "SELECT count(*), min(outcome), max(outcome) FROM tags") == [
        (20, "succeeded", "succeeded")
    ]
    assert (project.folder / "out.csv").read_text().count("succeeded") == 20
    data = project.run("sinks", "labels", "--json").data()
    assert [(sink["state"], sink["rows"]) for sink in data] == [("done", 20)] * 2
    shown = project.run("jobs", "show", "labels", "--json").data()
    assert [sink["state"] for sink in shown["sinks"]] == ["done", "done"]


def test_a_sink_of_the_configuration_is_served_and_held_until_it_is_mended(project):
    project.configure(
        """
api_key = { file = "key" }
[connections.warehouse]
url = { file = "warehouse.url" }
[jobs.tags]
source = "tags.jsonl"
key = "id"
prompt = "Positive or negative? {text}"
sink = [{ sql = "warehouse", table = "tags" }, { file = "{job}.out.jsonl" }]
"""
    )
    (project.folder / "warehouse.url").write_text(f"sqlite:///{project.folder}/warehouse.db")
    with closing(sqlite3.connect(project.folder / "warehouse.db")) as db:
        db.execute("CREATE TABLE tags (id TEXT PRIMARY KEY)")
    project.write("tags.jsonl", 10)
    watched = project.run("submit", "tags", "--watch")
    assert watched.status == 3
    (said,) = [line for line in watched.err.splitlines() if "sql:warehouse/tags" in line]
    assert "add_columns = true adds them" in said
    assert said.endswith("then: orchestrator resume tags")
    status = project.run("status", "--json")
    assert status.status == 3
    (need,) = status.data()["needs_you"]
    assert (need["cause"], need["code"]) == ("sink", "ORC6023")
    assert need["next"].endswith("orchestrator resume tags")
    assert "has no column text" in project.run("jobs", "show", "tags").out
    assert "orchestrator resume tags" in project.run("explain", "tags").out
    with closing(sqlite3.connect(project.folder / "warehouse.db")) as db:
        db.execute("DROP TABLE tags")
    resumed = project.run("resume", "tags", "--json").data()
    assert resumed["sinks"] == ["sql:warehouse/tags"]
    assert project.run("watch", "tags").status == 0
    assert found(project, "SELECT count(*) FROM tags") == [(10,)]
    lines = (project.folder / "tags.out.jsonl").read_text().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 10


def test_a_sink_is_added_later_and_run_again_from_the_start(project):
    assert project.submit(5, "labels", "--watch").status == 0
    asked = project.run("deliver", "labels", "--sink", "out.jsonl", "--json").data()
    assert (asked["added"], asked["again"]) == (True, False)
    assert project.run("watch", "labels").status == 0
    written = project.folder / "out.jsonl"
    assert len(written.read_text().splitlines()) == 5
    written.unlink()
    asked = project.run("deliver", "labels", "--sink", "out.jsonl", "--again", "--json").data()
    assert (asked["added"], asked["again"]) == (False, True)
    assert project.run("watch", "labels").status == 0
    assert len(written.read_text().splitlines()) == 5


def test_what_appends_is_not_run_again_from_the_start(project):
    sink = f"sql:sqlite:///{project.folder}/warehouse.db/tags?mode=append"
    assert project.submit(5, "labels", "--sink", sink, "--watch").status == 0
    (shown,) = project.run("sinks", "labels", "--json").data()
    refused = project.run("deliver", "labels", "--sink", shown["sink"], "--again")
    assert (refused.status, "ORC6030" in refused.err) == (7, True)
    assert found(project, "SELECT count(*) FROM tags") == [(5,)]


def test_a_held_sink_takes_the_options_that_deliver_gives_it(project):
    place = f"sql:sqlite:///{project.folder}/warehouse.db/tags"
    with closing(sqlite3.connect(project.folder / "warehouse.db")) as db:
        db.execute("CREATE TABLE tags (id TEXT PRIMARY KEY)")
    assert project.submit(5, "labels", "--sink", place, "--watch").status == 3
    again = project.submit(5, "labels", "--sink", f"{place}?columns=id")
    assert "has the same 5 records, and other sinks" in again.out + again.err
    assert "orchestrator deliver labels --sink ..." in again.err
    refused = project.run("deliver", "labels", "--sink", f"{place}?colums=id")
    assert (refused.status, 'did you mean "columns"' in refused.err) == (73, True)
    for given in (f"{place}?columns=id", place):  # the place alone leaves the options as they are
        assert project.run("deliver", "labels", "--sink", given).status == 0
        assert project.run("watch", "labels").status == 0
    assert found(project, "SELECT count(*) FROM tags") == [(5,)]
    same = project.submit(5, "labels", "--sink", f"{place}?columns=id")
    assert "other sinks" not in same.out + same.err


def test_a_sink_that_makes_no_sense_is_refused_before_anything_is_sent(project):
    refused = project.submit(5, "labels", "--sink", "sql:warehouse")
    assert (refused.status, "a table is named as sql:CONNECTION/TABLE" in refused.err) == (2, True)
    refused = project.submit(5, "labels", "--sink", "nowhere/out.csv")
    assert (refused.status, "ORC6025" in refused.err) == (73, True)
    refused = project.submit(5, "labels", "--sink", "out.foo")
    assert (refused.status, "no format has the ending .foo" in refused.err) == (73, True)
    assert "?format=jsonl" in refused.err
    assert project.run("jobs").out == ""


def test_the_commands_of_the_page_do_what_it_says(project, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text()
    block = page.split("```console\n")[1].split("```")[0].replace("\\\n", "")
    commands = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]
    lines = "".join(f"r-{n},it is number {n}\n" for n in range(10))
    (project.folder / "reviews.csv").write_text(f"id,text\n{lines}")
    monkeypatch.chdir(project.folder)
    for _, *argv in commands:
        ran = project.run(*argv)
        assert ran.status == 0, (argv, ran.err)
    assert project.run("watch", "reviews").status == 0
    states = [sink["state"] for sink in project.run("sinks", "reviews", "--json").data()]
    assert states == ["done"] * 3
    assert found(project, "SELECT count(*) FROM tags") == [(10,)]
    assert (project.folder / "later.parquet").is_file()
