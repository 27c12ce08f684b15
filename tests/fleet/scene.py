"""A job on disk, a registry and a sandbox behind a real socket: the scene of one murder."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from fleet.child import NAME
from fleet.nursery import FAST, Order
from support.books import assert_the_books_agree

from orchestrator.registry import jobs
from orchestrator.registry.session import Registry
from orchestrator.registry.workers import instance_id
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox
from orchestrator.sandbox.temper import Batches, Lines, Temper
from orchestrator.spool import Spool

TEMPER = Temper(
    lines=Lines(overloaded=0.12, content_filter=0.05),
    batches=Batches(validating=(1, 2), running=(5, 10), finalizing=(1, 1)),
)
SEED = 2
"""With it the second batch has a line that fails for good and one that is asked again, once.

So each run passes the same boundaries, however the two batches fall into step."""

SPEED = 200
RECORDS = 8
A_BATCH = 4


class Scene:
    """What the children of a test work on, and what they left behind."""

    def __init__(
        self, folder: Path, url: str, sandbox: Sandbox, clock: SandboxClock, base_url: str
    ) -> None:
        self.folder = folder
        self.url = url
        self.sandbox = sandbox
        self.clock = clock
        self.pace = FAST
        (folder / "orchestrator.toml").write_text(
            "schema = 1\n"
            f"[registry]\nurl = {json.dumps(url)}\n"
            f"[spool]\ndir = {json.dumps(str(folder / 'spool'))}\n"
            f"[defaults]\nrequests_per_batch = {A_BATCH}\n"
            f"[providers.sandbox]\nbase_url = {json.dumps(base_url)}\n"
            '[daemon]\ntick = "100ms"\npoll_min = "1s"\npoll_max = "2s"\nsettle = "1s"\n'
        )
        lines = (f'{{"id":"r-{n:03d}","text":"record {n}"}}\n' for n in range(RECORDS))
        (folder / "source.jsonl").write_text("".join(lines))

    def order(self, **what: object) -> Order:
        """Return the order to go on with this job."""
        return Order(folder=str(self.folder), **what)  # type: ignore[arg-type]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command of the orchestrator here, its stderr a pipe."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", *command],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command to its end; return its status and what it said on stderr."""
        with self.start(*command) as process:
            _, said = process.communicate()
        return process.returncode, said

    def trace(self, name: str = "trace") -> list[str]:
        """Return the boundaries that a child passed, the one it died at last."""
        return [line for line in self._lines(name) if not line.startswith("told ")]

    def told(self, name: str = "trace") -> list[str]:
        """Return the kinds of what a child told."""
        return [line[5:] for line in self._lines(name) if line.startswith("told ")]

    def _lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text().splitlines()

    def assert_nothing_lost_and_nothing_twice(self) -> None:
        """Hold the sandbox's books against the registry's, and the outcomes against the source."""
        registry = Registry(self.url, sync=False)
        try:
            self._assert(registry)
        finally:
            registry.close()

    def _assert(self, registry: Registry) -> None:
        with registry.read() as db:
            job = jobs.find(db, NAME)
            instance = instance_id(db, datetime.now(UTC))
        assert job is not None
        books = job.books
        assert (books.records, books.succeeded + books.failed) == (RECORDS, RECORDS)
        assert books.succeeded >= RECORDS // 2, "a run that only failed proves nothing"
        world = SimpleNamespace(
            registry=registry,
            sandbox=self.sandbox,
            pace=self.pace,
            clock=SimpleNamespace(now=lambda: datetime.fromtimestamp(self.clock(), UTC)),
            context=SimpleNamespace(spool=Spool(self.folder / "spool" / instance, owner="test")),
        )
        assert_the_books_agree(world)  # type: ignore[arg-type]  # as much of a world as it reads
        assert self.sandbox.books().billed_twice() == {}


@contextlib.contextmanager
def scene(folder: Path, url: str, *, seed: int = SEED) -> Iterator[Scene]:
    """Set a scene with a sandbox that runs while the block does."""
    clock = SandboxClock(time.time, speed=SPEED)
    sandbox = Sandbox(clock, seed=seed, temper=TEMPER)
    sandbox.anonymous = True
    folder.mkdir(parents=True, exist_ok=True)
    with running_sandbox(sandbox) as base_url:
        yield Scene(folder, url, sandbox, clock, base_url)
