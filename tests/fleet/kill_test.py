"""The kill test: a large job on a fleet that is being killed, stopped and cut off all the while."""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from fleet.havoc import JOB, Fleet, Plan
from fleet.postgres import own_postgres
from fleet.wire import wire_to
from support.books import assert_the_books_agree

from orchestrator.domain.pacing import Pace
from orchestrator.registry.session import Registry
from orchestrator.registry.workers import instance_id
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox
from orchestrator.sandbox.temper import Batches, Lines, Temper
from orchestrator.spool import Spool

TEMPER = Temper(
    lines=Lines(overloaded=0.02, content_filter=0.005, duplicated=0.005, garbage=0.005),
    batches=Batches(validating=(1, 300), running=(1800, 7200), finalizing=(1, 60)),
)
_WAVE = 7_500
"""Virtual seconds that as many batches as may be in flight take, at most."""

CALM_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The figures of one kill test."""

    fleet: Fleet
    ended: bool
    statuses: list[int]
    verified: int
    outcomes: Counter[str]
    remote_batches: int
    takeovers: int
    logged: Counter[str]
    bugs: list[str]


def kill_test(folder: Path, plan: Plan, *, tell: Callable[[str], None] = lambda _: None) -> Outcome:
    """Run the whole test, and hold all against all. Raises AssertionError."""
    with _fleet(folder, plan) as (fleet, sandbox):
        spec = ["--key", "id", "--prompt", "One word: {text}"]
        spec += ["--provider", "sandbox", "--model", "kimi-k2.6"]
        assert fleet.run("submit", "source.jsonl", "--name", JOB, *spec) == 0
        ended = fleet.fight(calm_seconds=CALM_SECONDS, tell=tell)
        assert ended, f"{CALM_SECONDS:.0f} s after the last blow the job has not ended"
        statuses = fleet.drain()
        assert fleet.run("export", JOB, "-o", "out.jsonl") == 0
        verified = fleet.run("verify", JOB, "--export", "out.jsonl")
        outcomes = _every_record_once_and_in_order(folder / "out.jsonl", plan.records)
        _books_agree(fleet, sandbox)
        return Outcome(
            fleet=fleet,
            ended=ended,
            statuses=statuses,
            verified=verified,
            outcomes=outcomes,
            remote_batches=len(sandbox.books().batches),
            takeovers=fleet.takeovers(),
            logged=fleet.logged(),
            bugs=fleet.bugs(),
        )


@contextlib.contextmanager
def _fleet(folder: Path, plan: Plan) -> Iterator[tuple[Fleet, Sandbox]]:
    waves = -(-plan.records // plan.a_batch) / plan.in_flight + 3
    speed = min(3600.0, waves * _WAVE / (plan.seconds * 0.7))
    sandbox = Sandbox(SandboxClock(time.time, speed=speed), seed=plan.seed, temper=TEMPER)
    sandbox.anonymous = True
    with contextlib.ExitStack() as stack:
        base_url = stack.enter_context(running_sandbox(sandbox))
        server = stack.enter_context(own_postgres())
        wire = stack.enter_context(wire_to(server.socket))
        fleet = Fleet(folder, plan, server, wire, base_url)
        stack.callback(fleet.close)
        yield fleet, sandbox


def _every_record_once_and_in_order(path: Path, records: int) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    with path.open("rb") as file:
        for number, line in enumerate(file):
            row = json.loads(line)
            assert row["id"] == f"r-{number:06d}", f"row {number + 1} is {row['id']}"
            outcomes[row["outcome"]] += 1
    assert outcomes.total() == records
    return outcomes


def _books_agree(fleet: Fleet, sandbox: Sandbox) -> None:
    registry = Registry(fleet.url)
    try:
        with registry.read() as db:
            instance = instance_id(db, datetime.now(UTC))
        world = SimpleNamespace(
            registry=registry,
            sandbox=sandbox,
            pace=Pace(),
            clock=SimpleNamespace(now=lambda: datetime.fromtimestamp(sandbox._clock(), UTC)),
            context=SimpleNamespace(
                spool=Spool(fleet.folder / "spool" / instance, owner="kill test")
            ),
        )
        assert_the_books_agree(world)  # type: ignore[arg-type]  # as much of a world as it reads
    finally:
        registry.close()
    assert sandbox.books().billed_twice() == {}
