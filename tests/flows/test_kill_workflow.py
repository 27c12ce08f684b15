"""Three stages over a thousand records of real text, killed with SIGKILL in each stage."""

from __future__ import annotations

import csv
import time
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import pytest
import sqlalchemy as sa
from engine.test_kill import TEMPER, write_project
from support.killing import Killer

from orchestrator.registry import jobs, outcomes
from orchestrator.registry.session import Registry
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox

RECORDS = 1_000
DICTIONARY = Path(__file__).parents[2] / "examples" / "devils-dictionary.csv"

FLOW = """
[workflow]
name = "tone"

[defaults]
provider = "sandbox"
model = "kimi-k2.6"

[jobs.classify]
source = {{ file = "definitions.csv", key = "id" }}
prompt = "Is this definition cynical? {{word}}: {{definition}}"

[jobs.rewrite]
source = {{ job = "classify", answer = "tone", stream = {stream} }}
prompt = "{{tone}}. Say it kindly: {{definition}}"

[jobs.judge]
source = {{ job = "rewrite", answer = "kind", stream = {stream} }}
prompt = "Is {{kind}} what {{word}} means?"
"""

PHASES = (
    "classify:submitted",
    "classify:create_began",
    "rewrite:submitted",
    "rewrite:create_began",
    "judge:submitted",
    "judge:reconciled",
)
FEWER = ("classify:create_began", "rewrite:submitted", "judge:reconciled")
"""One in each stage."""

_TOLD = (
    "SELECT DISTINCT jobs.name || ':' || events.kind"
    " FROM events JOIN jobs ON jobs.id = events.job_id"
)


class StageKiller(Killer):
    """Kills once in every phase of every stage."""

    def phases(self) -> set[str]:
        try:
            with self._engine.connect() as db:
                told = db.exec_driver_sql(_TOLD).scalars()
                return {phase for phase in told if phase in self._phases}
        except sa.exc.DBAPIError:
            return set()  # no registry yet


def write_definitions(folder: Path) -> None:
    """Write a thousand records of real text: the examples' definitions, over and over."""
    with DICTIONARY.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "definitions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for number, row in enumerate(islice(cycle(rows), RECORDS)):
            writer.writerow({**row, "id": f"{row['id']}-{number}"})


@pytest.mark.parametrize(
    ("registry_url", "stream"),
    # On PostgreSQL each death costs the wait for a lease.
    [("sqlite", "false"), ("sqlite", "true"), ("postgresql", "true")],
    indirect=["registry_url"],
)
def test_a_workflow_killed_in_each_stage_ends_with_every_record_once_and_no_batch_twice(
    registry_url: str, tmp_path: Path, stream: str, pytestconfig: pytest.Config
) -> None:
    phases = PHASES if pytestconfig.getoption("--thorough") else FEWER
    sandbox = Sandbox(SandboxClock(time.time, speed=7200), seed=11, temper=TEMPER)
    sandbox.anonymous = True
    with running_sandbox(sandbox) as base_url:
        write_project(tmp_path, registry_url, base_url)
        write_definitions(tmp_path)
        (tmp_path / "flow.toml").write_text(FLOW.format(stream=stream))
        killer = StageKiller(tmp_path, registry_url, phases)
        assert killer.run("apply", "flow.toml") == 0
        assert killer.run("watch", "tone", "--progress", "off") == 3, "some fail for good"
        assert killer.run("apply", "flow.toml") == 0
        assert killer.run("verify") == 0
        killer.close()
    assert set(killer.died_in) >= set(phases) - {"classify:submitted"}
    answered = check_keys(registry_url)
    books = sandbox.books()
    assert sum(books.billed.values()) == answered
    assert set(books.batches_per_metadata("orc_token").values()) == {1}
    assert [file.name for file in books.files if not file.deleted] == []


def check_keys(registry_url: str) -> int:
    """Hold the keys of each stage against the answers of the one before; return all answers."""
    total = 0
    with closing(Registry(registry_url)) as registry, registry.read() as db:
        before: set[str] | None = None
        for name in ("classify", "rewrite", "judge"):
            job = jobs.find(db, name)
            assert job is not None
            rows = outcomes.sourced(db, *outcomes.span(job.id, 0, RECORDS))
            keys = {row.key for row in rows}
            assert len(keys) == len(rows) == job.books.records
            assert before is None or keys == before
            before = {row.key for row in rows if row.state == "succeeded"}
            assert len(before) > 900
            total += len(before)
    return total
