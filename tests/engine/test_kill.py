"""Real processes over a real socket, killed with SIGKILL in each phase, on both databases."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from support.killing import PHASES, Killer

from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox
from orchestrator.sandbox.temper import Batches, Lines, Temper

RECORDS = 1_600

FEWER = ("planned", "create_began", "remote_ended", "reconciled")
FEWEST = ("create_began",)
"""On PostgreSQL each death is followed by the wait for the dead worker's lease, 10 s."""

TEMPER = Temper(
    lines=Lines(overloaded=0.05, content_filter=0.01, duplicated=0.01, garbage=0.01),
    batches=Batches(validating=(1, 600), running=(1800, 3600), finalizing=(1, 60)),
)


def write_project(folder: Path, registry_url: str, base_url: str) -> None:
    (folder / "orchestrator.toml").write_text(
        "schema = 1\n"
        f"[registry]\nurl = {json.dumps(registry_url)}\n"
        f"[spool]\ndir = {json.dumps(str(folder / 'spool'))}\n"
        f"[providers.sandbox]\nbase_url = {json.dumps(base_url)}\n"
        '[defaults]\nrequests_per_batch = 800\nretry.attempts = 9\nretry.back_off = "1s"\n'
        '[daemon]\npoll_min = "1s"\npoll_max = "2s"\nlease = "10s"\ntick = "1s"\nsettle = "3s"\n'
    )
    with (folder / "source.jsonl").open("w", encoding="utf-8") as file:
        for number in range(RECORDS):
            file.write(json.dumps({"id": f"r-{number:05d}", "text": "word " * 20}) + "\n")


def phases_for(registry_url: str, *, thorough: bool) -> tuple[str, ...]:
    if registry_url.startswith("sqlite"):
        return PHASES if thorough else FEWER
    return FEWER if thorough else FEWEST


@pytest.mark.fault("T04", "C03", "B04", "R01")
def test_a_job_killed_in_each_phase_ends_with_every_record_once_and_no_batch_twice(
    registry_url: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    sandbox = Sandbox(SandboxClock(time.time, speed=3600), seed=11, temper=TEMPER)
    sandbox.anonymous = True
    with running_sandbox(sandbox) as base_url:
        write_project(tmp_path, registry_url, base_url)
        phases = phases_for(registry_url, thorough=pytestconfig.getoption("--nightly"))
        killer = Killer(tmp_path, registry_url, phases)
        spec = ["--key", "id", "--prompt", "One word: {text}"]
        spec += ["--provider", "sandbox", "--model", "kimi-k2.6"]
        assert killer.run("submit", "source.jsonl", "--name", "everything", *spec) == 0
        assert killer.run("watch", "everything", "--progress", "off") == 3, (
            "some records fail for good"
        )
        assert killer.run("verify", "everything") == 0
        assert killer.run("export", "everything", "-o", "out.jsonl") == 0
        killer.close()
    assert set(killer.died_in) >= set(phases) - {"submitted", "job_registered", "observed"}
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    assert [row["id"] for row in rows] == [f"r-{number:05d}" for number in range(RECORDS)]
    outcomes = Counter(row["outcome"] for row in rows)
    assert set(outcomes) == {"succeeded", "failed"}
    books = sandbox.books()
    assert books.billed_twice() == {}
    assert sum(books.billed.values()) == outcomes["succeeded"]
    assert set(books.batches_per_metadata("orc_token").values()) == {1}
    assert set(books.batches_per_input().values()) == {1}
    assert [file.name for file in books.files if not file.deleted] == []
