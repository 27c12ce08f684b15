"""Real processes killed with SIGKILL while outcomes are on their way to a file and a table."""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox
from orchestrator.sandbox.temper import Batches, Temper

RECORDS = 800
KILLED_AT = (1, 300, 600)
TEMPER = Temper(batches=Batches(validating=(1, 600), running=(1800, 3600), finalizing=(1, 60)))


def write_project(folder: Path, base_url: str) -> None:
    (folder / "orchestrator.toml").write_text(
        f'schema = 1\n[registry]\nurl = "sqlite:///{folder}/registry.db"\n'
        f'[spool]\ndir = "{folder}/spool"\n'
        f'[providers.sandbox]\nbase_url = "{base_url}"\n'
        "[defaults]\nrequests_per_batch = 100\n"
        '[daemon]\npoll_min = "1s"\npoll_max = "2s"\nlease = "10s"\ntick = "200ms"\n'
    )
    rows = (json.dumps({"id": f"r-{n:05d}", "text": "word " * 20}) + "\n" for n in range(RECORDS))
    (folder / "source.jsonl").write_text("".join(rows))


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", *command],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "ORCHESTRATOR_SYSTEM_CONFIG": "/nowhere"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def delivered(folder: Path) -> int:
    """Return how many rows the sink that is furthest behind is known to have."""
    with closing(sqlite3.connect(folder / "registry.db")) as db:
        return db.execute("SELECT coalesce(min(rows), 0) FROM deliveries").fetchone()[0]


def ended(process: subprocess.Popen[bytes], within: float) -> bool:
    """Whether the process has ended, or does so `within` so many seconds."""
    handle = os.pidfd_open(process.pid)
    try:
        return bool(select.select([handle], [], [], within)[0])
    finally:
        os.close(handle)


@pytest.mark.fault("T04")
def test_a_killed_process_leaves_no_outcome_out_and_none_twice(tmp_path: Path) -> None:
    sandbox = Sandbox(SandboxClock(time.time, speed=3600), seed=11, temper=TEMPER)
    sandbox.anonymous = True
    killed = []
    with running_sandbox(sandbox) as base_url:
        write_project(tmp_path, base_url)
        command = ["submit", "source.jsonl", "--key", "id", "--prompt", "One word: {text}"]
        command += ["--provider", "sandbox", "--model", "kimi-k2.6", "--name", "everything"]
        command += ["--sink", "growing.jsonl", "--stream"]
        command += ["--sink", f"sql:sqlite:///{tmp_path}/warehouse.db/tags?mode=append"]
        submitted = start(tmp_path, *command)
        _, errors = submitted.communicate()
        assert submitted.returncode == 0, errors.decode()
        for rows in KILLED_AT:
            process = start(tmp_path, "watch", "everything", "--progress", "off")
            while not ended(process, 0.005):
                if delivered(tmp_path) >= rows:
                    process.send_signal(signal.SIGKILL)
                    break
            process.communicate()
            killed.append(process.returncode == -signal.SIGKILL)
        process = start(tmp_path, "watch", "everything", "--progress", "off")
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert killed[:2] == [True, True]
    wanted = [f"r-{n:05d}" for n in range(RECORDS)]
    lines = (tmp_path / "growing.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == wanted
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as db:
        assert [row[0] for row in db.execute("SELECT id FROM tags ORDER BY id")] == wanted
