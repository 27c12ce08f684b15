"""`doctor PROVIDER --probe` against the sandbox and its quirks, over a real socket."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from orchestrator.sandbox.temper import Batches, Bounds, Quirks, Temper
from orchestrator.shipped import shipped

ENDPOINT = "/v1/chat/completions"
FINAL = {"completed", "failed", "expired", "cancelled"}


def findings(ran):
    return {found["fact"]: found for found in ran.data()["probe"]["findings"]}


def quirky(sandbox, batches=None, **quirks):
    sandbox.temper = Temper(quirks=Quirks(**quirks), batches=batches or Batches())


def left_over(sandbox):
    """What is not deleted and not ended at the provider, whoever made it."""
    books = sandbox.books()
    files = {file["id"] for file in sandbox.list_files()["data"]}
    return files | {batch.id for batch in books.batches if batch.status not in FINAL}


def own_profile(project, *, old, new):
    shipped_one = (shipped("config") / "providers" / "sandbox.toml").read_text()
    assert old in shipped_one
    (project.folder / "mine.toml").write_text(shipped_one.replace(old, new))
    project.configure('api_key = { file = "key" }\nprofile = "mine.toml"\n')


def test_a_probe_finds_the_facts_and_leaves_nothing_behind(project, sandbox):
    quirky(sandbox, batches=Batches(validating=(36_000.0, 36_000.0)))
    ran = project.run("doctor", "sandbox", "--probe", "--yes", "--json")
    assert ran.status == 0, ran.out + ran.err
    found = findings(ran)
    assert found["delete_revokes_create"]["found"] == "proved"
    assert found["metadata"]["found"] is found["input_file_id"]["found"] is True
    assert found["deletion_under_way"]["found"] == "goes_on"
    assert 0 <= found["batch_list_lag"]["found"] < 10
    assert 0 <= found["file_list_lag"]["found"] < 10
    assert ran.data()["probe"]["profile_lines"] == []
    assert left_over(sandbox) == set()
    assert sum(sandbox.books().billed.values()) == 1


def test_each_finding_is_a_line_and_the_cost_comes_first(project):
    ran = project.run("doctor", "--probe", "-y")
    assert ran.err.startswith("one batch of one request to kimi-k2.6, at most <$0.01")
    for line in ("ok    revoking  a creation over a deleted file is refused", "ok    cleaned"):
        assert line in ran.out
    assert "is not as its profile" not in ran.out


def test_a_creation_over_a_deleted_file_is_disproved_and_cancelled_at_once(project, sandbox):
    slow = Batches(validating=(36_000.0, 36_000.0))
    quirky(sandbox, batches=slow, create_over_deleted=True)
    ran = project.run("doctor", "sandbox", "--probe", "-y")
    assert ran.status == 78
    assert "fail  revoking  a creation over a deleted file is accepted" in ran.out
    assert '    [quirks]\n    delete_revokes_create = "disproved"\n' in ran.out
    assert 'profile = "sandbox.toml"' in ran.out
    first = sandbox.books().batches[0]
    assert first.status == "cancelled"
    assert left_over(sandbox) == set()


def test_what_the_profile_does_not_know_yet_is_proved(project):
    own_profile(project, old='revokes_create = "proved"', new='revokes_create = "unknown"')
    ran = project.run("doctor", "--probe", "-y")
    assert ran.status == 0
    assert '    delete_revokes_create = "proved"\n  in ' in ran.out
    assert "mine.toml" in ran.out


def test_a_refusal_without_a_control_proves_nothing(project, sandbox):
    sandbox.temper = Temper(limits=Bounds(endpoint="/v1/elsewhere"))
    ran = project.run("doctor", "--probe", "-y", "--json")
    assert ran.status == 69
    assert findings(ran)["delete_revokes_create"]["found"] is None
    assert ran.data()["probe"]["profile_lines"] == []
    assert left_over(sandbox) == set()


def test_late_lists_and_hidden_metadata_are_measured(project, sandbox):
    quirky(sandbox, list_lag=36_000.0, file_list_lag=18_000.0, metadata_in_list=False)
    ran = project.run("doctor", "--probe", "-y", "--json")
    found = findings(ran)
    assert 1.0 <= found["batch_list_lag"]["found"] < 10
    assert 0.5 <= found["file_list_lag"]["found"] < 10
    assert (found["metadata"]["found"], found["metadata"]["verdict"]) == (False, "warn")
    assert found["input_file_id"]["found"] is True
    assert ran.data()["probe"]["profile_lines"] == ["metadata_in_list = false"]
    assert left_over(sandbox) == set()


def test_a_batch_that_dies_with_its_input_file_is_told(project, sandbox):
    slow = Batches(validating=(72_000.0, 72_000.0))
    quirky(sandbox, batches=slow, deleted_input="fails")
    found = findings(project.run("doctor", "--probe", "-y", "--json"))
    assert found["deletion_under_way"]["found"] == "fails"


def test_a_list_of_files_that_is_not_there_is_a_line_for_the_profile(project, sandbox):
    quirky(sandbox, no_file_list=True)
    ran = project.run("doctor", "--probe", "-y", "--json")
    assert "list_files = false" in ran.data()["probe"]["profile_lines"]


def test_a_key_that_the_provider_does_not_heed_is_disproved_and_paid_once(project, sandbox):
    own_profile(project, old="idempotent_create = false", new="idempotent_create = true")
    sandbox.temper = Temper(batches=Batches(validating=(36_000.0, 36_000.0)))
    ran = project.run("doctor", "--probe", "-y", "--json")
    assert (ran.status, findings(ran)["idempotent_create"]["found"]) == (78, False)
    assert sum(sandbox.books().billed.values()) <= 1
    assert left_over(sandbox) == set()


def test_strangers_files_and_batches_are_never_touched(project, sandbox):
    sandbox.temper = Temper(batches=Batches(running=(72_000.0, 72_000.0)))
    blob = sandbox.blobs.writer()
    blob.write(b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{}}\n')
    file = sandbox.upload("theirs.jsonl", "batch", blob)["id"]
    wanted = {"input_file_id": file, "endpoint": ENDPOINT, "completion_window": "7d"}
    batch = sandbox.create(json.dumps(wanted).encode())["id"]
    project.run("doctor", "--probe", "-y", "--timeout", "1s")
    books = sandbox.books()
    assert [f.deleted for f in books.files if f.id == file] == [False]
    status = next(b.status for b in books.batches if b.id == batch)
    assert status not in {"cancelling", "cancelled"}


@pytest.mark.parametrize(("op", "fault"), [("create", "answer_lost"), ("upload", "answer_lost")])
def test_what_an_unanswered_call_has_made_is_found_and_removed(project, sandbox, op, fault):
    quirky(sandbox, create_over_deleted=True)
    sandbox.inject(op, fault)
    project.run("doctor", "--probe", "-y")
    assert left_over(sandbox) == set()


def test_without_a_terminal_it_is_refused_and_nothing_is_sent(project, sandbox):
    ran = project.run("doctor", "--probe")
    assert (ran.status, "[ORC7005]" in ran.err, "--yes" in ran.err) == (7, True, True)
    assert sandbox.books().files == ()


def test_the_answer_no_sends_nothing(project, sandbox):
    ran = project.run("doctor", "--probe", tty=True, stdin="n\n")
    assert (ran.status, "at most <$0.01" in ran.err) == (7, True)
    assert sandbox.books().files == ()


def test_offline_and_probe_exclude_each_other(project):
    assert project.run("doctor", "--probe", "--offline", "-y").status == 2


def test_a_probe_is_bounded(project, sandbox):
    quirky(sandbox, batches=Batches(validating=(36_000_000.0, 36_000_000.0)))
    ran = project.run("doctor", "--probe", "-y", "--timeout", "1s", "--json")
    assert findings(ran)["deletion_under_way"]["found"] is None
    assert left_over(sandbox) == set()


def start(project):
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", "doctor", "--probe", "-y"],
        cwd=project.folder,
        env={**os.environ, "HOME": str(project.folder), "ORCHESTRATOR_SYSTEM_CONFIG": "/nowhere"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupt_at(child, *moments):
    """Send SIGINT at each line of stderr that begins so, in this order; return all of stderr."""
    left = list(moments)
    said = ""
    for line in child.stderr:
        said += line
        if left and line.startswith(left[0]):
            child.send_signal(signal.SIGINT)
            left.pop(0)
    assert left == []
    return said


def test_ctrl_c_ends_a_probe_early_and_what_it_made_is_removed(project, sandbox):
    quirky(sandbox, batches=Batches(validating=(36_000_000.0, 36_000_000.0)))
    with start(project) as child:
        interrupt_at(child, "deleting the input file under the batch")
        out = child.stdout.read()
    assert child.returncode == 130
    assert "warn  probe     stopped before its end" in out
    assert left_over(sandbox) == set()


def test_a_second_ctrl_c_ends_it_at_once_and_says_what_stays(project, sandbox):
    slow = Batches(validating=(36_000_000.0,) * 2, cancelling=(36_000_000.0,) * 2)
    quirky(sandbox, batches=slow)
    with start(project) as child:
        moments = "deleting the input file under the batch", "removing what was made"
        said = interrupt_at(child, *moments)
    assert (child.returncode, "left at once: what the probe has made stays" in said) == (130, True)
    assert sandbox.books().billed == {}
