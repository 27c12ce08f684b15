"""A project on disk with a really running sandbox, and commands run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cli.fake_terminal import a_world

from orchestrator.cli.main import run
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox
from orchestrator.shipped import shipped

SPEED = 36_000
PROMPT = "Positive or negative? {text}"


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str

    def data(self) -> Any:
        """The document, held against its shipped schema."""
        document = json.loads(self.out)
        name = document["schema"].removeprefix("orchestrator.").removesuffix("/1")
        schema = (shipped("config") / "schemas" / f"{name}.schema.json").read_text()
        jsonschema.validate(document, json.loads(schema))
        return document["data"]


class Project:
    """A folder with a configuration; commands run in process or as children."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.configure()

    @property
    def registry(self) -> Path:
        return self.folder / "registry.db"

    def configure(self, more: str = "") -> None:
        (self.folder / "orchestrator.toml").write_text(
            f"""schema = 1
[registry]
url = "sqlite:///{self.registry}"
[spool]
dir = "spool"
[defaults]
provider = "sandbox"
model = "kimi-k2.6"
requests_per_batch = 50
retry.back_off = "0s"
[daemon]
tick = "100ms"
poll_min = "1s"
lease = "10s"
drain = "10s"
[providers.sandbox]
base_url = "{self.url}"
{more}""",
            encoding="utf-8",
        )

    def write(self, name: str, count: int) -> Path:
        path = self.folder / name
        rows = (f'{{"id":"r-{n:04d}","text":"it is number {n}"}}\n' for n in range(count))
        path.write_text("".join(rows), encoding="utf-8")
        return path

    def run(self, *argv: str, **how: Any) -> Ran:
        world = a_world(self.folder, **how)
        status = run(argv, world)
        return Ran(status, world.stdout.getvalue(), world.stderr.getvalue())

    def submit(self, count: int = 20, name: str = "labels", *more: str) -> Ran:
        self.write(f"{name}.jsonl", count)
        return self.run("submit", f"{name}.jsonl", "--prompt", PROMPT, *more)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command as a process of its own, its stderr a pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", *argv],
            cwd=self.folder,
            env={**os.environ, "HOME": str(self.folder), "ORCHESTRATOR_SYSTEM_CONFIG": "/nowhere"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(SandboxClock(time.time, speed=SPEED), seed=7, key="sk-test")


@pytest.fixture
def project(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    with running_sandbox(sandbox) as url:
        made = Project(tmp_path, url)
        made.configure('api_key = { file = "key" }\n')
        (tmp_path / "key").write_text("sk-test\n")
        yield made


@pytest.fixture
def offline(tmp_path: Path) -> Project:
    """A project whose provider is not there."""
    return Project(tmp_path, "http://127.0.0.1:9/v1")


def events_of(child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield what a child logs, as it logs it."""
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("{"):
            yield json.loads(line)


@pytest.fixture
def until() -> Callable[..., dict[str, Any]]:
    def wait(child: subprocess.Popen[str], event: str) -> dict[str, Any]:
        """Read a child's log up to an event."""
        seen = []
        for found in events_of(child):
            seen.append(found["event"])
            if found["event"] == event:
                return found
        raise AssertionError(f"{event} never came, but {seen}")

    return wait
