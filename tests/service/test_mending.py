"""verify, adopt, quarantine, recover as commands, against a sandbox behind a real socket."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from orchestrator.app import App
from orchestrator.registry.identity import identity
from orchestrator.sandbox.temper import Batches, Lines, Temper
from orchestrator.service.work import at_work
from orchestrator.settings import load

LONG = Temper(batches=Batches(validating=(1, 1), running=(10**8, 10**8), finalizing=(1, 1)))


@pytest.fixture
def restored(project, sandbox):
    """Two batches at the provider, and a registry from before they were sent."""
    sandbox.temper = LONG
    project.submit(80)
    assert project.run("db", "backup", "-o", "old.db").status == 0
    assert project.run("tick").status == 0
    for left in project.folder.glob("registry.db*"):
        left.unlink()
    shutil.copy(project.folder / "old.db", project.registry)
    return project


def broken(project, *argv):
    """The checks that fail, but for those of due times: these commands are told another time."""
    checks = json.loads(project.run("verify", *argv, "--json").out)["data"]["checks"]
    return [each["invariant"] for each in checks if not each["ok"] and each["invariant"] != "I11"]


def sent(sandbox):
    return sorted(batch.id for batch in sandbox.books().batches)


@pytest.mark.fault("Q06")
def test_a_restored_backup_is_recovered_with_a_confirmation_and_nothing_is_sent_again(
    restored, sandbox
):
    before = sent(sandbox)
    assert len(before) == 2
    differs = restored.run("verify", "--provider")
    assert (differs.status, "orchestrator help ORC5214" in differs.err) == (6, True)
    assert all(f"orphan     {remote_id}" in differs.out for remote_id in before)
    rehearsed = restored.run("recover", "--dry-run")
    assert rehearsed.status == 0
    assert "2 to see to" in rehearsed.out
    assert rehearsed.out.endswith("nothing was changed\n")
    refused = restored.run("recover")
    assert (refused.status, "--yes" in refused.err) == (7, True)
    assert restored.run("adopt", "--list").out == ""
    data = restored.run("recover", "sandbox", "--yes", "--json").data()
    (found,) = data["providers"]
    assert [stray["verdict"] for stray in found["found"]] == ["adopted"] * 2
    assert sorted(stray["row"] for stray in found["found"]) == ["labels/b01", "labels/b02"]
    assert restored.run("tick").status == 0
    assert sent(sandbox) == before
    assert restored.run("verify", "--provider", "sandbox").status == 0
    assert broken(restored) == []
    again = restored.run("recover")
    assert (again.status, "nothing had to be done" in again.out) == (0, True)


def test_recover_is_refused_while_another_worker_holds_the_registry(restored):
    configuration = load(environ={"HOME": str(restored.folder)}, cwd=restored.folder)
    with App(configuration) as app, at_work(app, "daemon"):
        assert restored.run("recover", "--yes").status == 8
        with app.registry.read() as db:
            old = identity(db)
        assert restored.run("recover", "--new-identity", "--confirm", old).status == 8
        assert restored.run("recover", "--dry-run").status == 0, "looking is always allowed"


@pytest.mark.fault("Q07")
def test_another_identity_needs_the_old_one_to_be_typed(project, sandbox):
    sandbox.temper = LONG
    project.submit(20)
    project.run("tick")

    def name():
        configuration = load(environ={"HOME": str(project.folder)}, cwd=project.folder)
        with App(configuration) as app, app.registry.read() as db:
            return identity(db)

    old = name()
    told = project.run("recover", "--new-identity", "--dry-run")
    assert "1 batch on the way is followed, and collected, by both copies" in told.out
    refused = project.run("recover", "--new-identity", "--yes")
    assert (refused.status, f"--confirm {old}" in refused.err) == (7, True)
    assert project.run("recover", "--new-identity", "--confirm", "else").status == 7
    assert name() == old
    data = project.run("recover", "--new-identity", "--confirm", old, "--json").data()
    assert (data["old"], data["new"]) == (old, name())
    assert [each["batch"] for each in data["live"]] == ["labels/b01"]
    assert name() != old
    story = project.run("events", "--where", "event:identity_changed", "--json").data()
    assert story[0]["data"] == {"from": old, "to": data["new"]}
    assert broken(project) == []


@pytest.mark.fault("Q06")
def test_a_stray_is_listed_adopted_and_let_go_with_a_confirmation(restored, sandbox):
    with closing(sqlite3.connect(restored.registry)) as db, db:
        db.execute("UPDATE jobs SET name = 'renamed'")
    assert restored.run("tick").status == 0
    listed = restored.run("adopt", "--json").data()
    assert [(stray["verdict"], stray["job"]) for stray in listed] == [("waiting", "labels")] * 2
    first, second = (stray["remote_id"] for stray in listed)
    status = restored.run("status")
    assert (status.status, "ORC5210" in status.out) == (3, True)
    with closing(sqlite3.connect(restored.registry)) as db, db:
        db.execute("UPDATE jobs SET name = 'labels', state = 'paused'")
    rehearsed = restored.run("adopt", first, "--dry-run")
    assert "nothing was changed" in rehearsed.out
    refused = restored.run("adopt", first)
    assert (refused.status, "--yes" in refused.err) == (7, True)
    adopted = restored.run("adopt", first, "--yes", "--json").data()
    assert adopted["verdict"] in {"adopted", "extra"}
    forgotten = restored.run("adopt", second, "--forget", "--yes", "--json").data()
    assert forgotten["verdict"] == "forgotten"
    assert "nothing to forget" in restored.run("adopt", second, "--forget").out
    verdicts = {
        stray["remote_id"]: stray["verdict"] for stray in restored.run("adopt", "--json").data()
    }
    assert verdicts == {first: adopted["verdict"], second: "forgotten"}
    kinds = {event["event"] for event in restored.run("events", "--json", "--limit", "0").data()}
    assert kinds >= {"stray_found", "stray_forgotten", f"stray_{adopted['verdict']}"}


def test_a_registry_that_knows_no_provider_says_that_one_must_be_named(project):
    assert project.run("db", "migrate").status == 0
    ran = project.run("recover", "--dry-run")
    assert (ran.status, "orchestrator recover PROVIDER" in ran.err) == (66, True)
    assert project.run("recover", "sandbox", "--dry-run").status == 0


@pytest.mark.parametrize(
    "argv",
    [
        ("adopt", "--forget"),
        ("adopt", "batch_1", "--list"),
        ("recover", "sandbox", "--new-identity"),
        ("recover", "--confirm", "x"),
        ("quarantine", "labels", "--show", "1"),
        ("verify", "--export", "labels.jsonl"),
        ("verify", "labels", "--provider", "sandbox"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(project, argv):
    project.submit(3)
    ran = project.run(*argv)
    assert (ran.status, ran.out) == (2, "")
    assert "next" in ran.err


@pytest.mark.parametrize(
    "argv",
    [
        ("adopt", "batch_nowhere"),
        ("adopt", "batch_nowhere", "--forget"),
        ("quarantine", "nobody"),
        ("quarantine", "labels/b09"),
        ("quarantine", "--show", "4711"),
    ],
)
def test_what_is_not_there_is_said_to_be_so(project, argv):
    project.submit(3)
    ran = project.run(*argv)
    assert (ran.status, ran.out) == (66, "")
    assert "next" in ran.err


@pytest.mark.fault("R02", "R03")
def test_odd_lines_are_listed_by_place_and_one_is_shown_whole(project, sandbox):
    sandbox.temper = Temper(lines=Lines(garbage=0.2, duplicated=0.1))
    project.submit(40)
    assert project.run("watch", "labels").status in {0, 3}
    listed = project.run("quarantine", "labels", "--json").data()
    assert listed
    assert {line["job"] for line in listed} == {"labels"}
    first = listed[0]
    of_batch = project.run("quarantine", first["batch"], "--json").data()
    assert first in of_batch
    assert {line["batch"] for line in of_batch} == {first["batch"]}
    shown = project.run("quarantine", "--show", str(first["id"]), "--json").data()
    assert shown["raw"].startswith(first["head"][:20])
    assert shown["kept"] == shown["length"]
    text = project.run("quarantine", "--show", str(first["id"]))
    assert f"{first['batch']}, {first['file']} file, line {first['line']}" in text.out
    ids = project.run("quarantine", "labels", "--limit", "0", "--format", "id").out.split()
    rest = project.run("quarantine", "labels", "--after", ids[0], "--format", "id").out.split()
    assert rest == ids[1:51]


def test_verify_tells_each_check_and_fails_on_a_broken_row(project):
    project.submit(20)
    assert project.run("watch", "labels").status == 0
    whole = project.run("verify")
    assert whole.status == 0
    assert "the books of every job  ok  (1 job, 24 equations each)" in whole.out
    assert "1 key looked for" in whole.out
    with closing(sqlite3.connect(project.registry)) as db, db:
        db.execute(
            "UPDATE responses SET line = 0 WHERE request_id = (SELECT min(id) FROM requests)"
        )
    failed = project.run("verify")
    assert (failed.status, "orchestrator help ORC5213" in failed.err) == (6, True)
    assert "WRONG 1" in failed.out
    assert "labels/b01: r-0000" in failed.out
    assert broken(project) == ["I5"]
    assert project.run("verify", "labels").status == 6
