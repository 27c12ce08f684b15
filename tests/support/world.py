"""A world in one process: registry, sandbox and engine on one virtual clock."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from orchestrator import api
from orchestrator.connections import Connections, no_connections
from orchestrator.domain.budget import Budgets
from orchestrator.domain.model import Batch, BatchState, Job, JobState
from orchestrator.domain.pacing import Pace
from orchestrator.domain.profile import Profile
from orchestrator.domain.spec import JobSpec
from orchestrator.engine.context import Context, Told, silence
from orchestrator.engine.tick import Report, tick
from orchestrator.provider.client import HttpProvider
from orchestrator.provider.profiles import load_profile
from orchestrator.registry import batches, jobs, workers
from orchestrator.registry.session import Registry
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.temper import GOOD, Temper
from orchestrator.sandbox.transport import SandboxTransport
from orchestrator.spool import Spool

START = datetime(2026, 9, 1, 12, tzinfo=UTC)

shipped_profile = functools.cache(load_profile)


class VirtualClock:
    """Time that moves only when it is told to."""

    def __init__(self) -> None:
        self.seconds = START.timestamp()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    def unix(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class TestKey:
    def reveal(self) -> str:
        return "sk-test"


class SandboxProviders:
    """Every provider's name leads to the one sandbox."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.in_flight = 40
        self.made: dict[str, HttpProvider] = {}

    def get(self, name: str) -> HttpProvider:
        if name not in self.made:
            self.made[name] = HttpProvider(
                name=name,
                profile=self.profile(name),
                key=self._world.key,
                now=self._world.clock.now,
                monotonic=self._world.clock.monotonic,
                sleep=self._world.clock.sleep,
                rng=random.Random(1),
                transport=SandboxTransport(self._world.sandbox),
            )
        return self.made[name]

    def profile(self, name: str) -> Profile:
        return self._world.profiles.get(name) or shipped_profile(name)

    def names(self) -> list[str]:
        return ["sandbox", "kimi", "openai"]

    def max_in_flight(self, _name: str) -> int:
        return self.in_flight


class World:
    """Everything a job needs from submission to export, under the test's control."""

    def __init__(self, registry: Registry, folder: Path, *, temper: Temper = GOOD) -> None:
        self.registry = registry
        self.folder = folder
        self.clock = VirtualClock()
        self.key = TestKey()
        self.profiles: dict[str, Profile] = {}
        self.sandbox = Sandbox(self.clock.unix, seed=7, temper=temper)
        self.providers = SandboxProviders(self)
        self.tokens = itertools.count(1)
        self.requests_per_batch = 50
        self.budgets = Budgets()
        self.stopping: Callable[[], bool] = lambda: False
        self.tell: Callable[[Told], None] = silence
        self.pace = Pace()
        self.connections: Connections = no_connections()
        self.boots = itertools.count(1)
        self.context = self.boot()

    def boot(self) -> Context:
        """Start the engine anew, as after a crash: nothing but the registry is remembered."""
        number = next(self.boots)
        worker = f"worker-{number}"
        now = self.clock.now()
        lease = timedelta(days=365)

        def begin(db: Any) -> str:
            workers.end_all(db, now)
            workers.begin(
                db,
                worker=worker,
                kind="test",
                host="here",
                pid=1,
                version="0",
                now=now,
                lease=lease,
            )
            return workers.instance_id(db, now)

        instance = self.registry.write(begin)
        rng = random.Random(number)
        self.context = Context(
            registry=self.registry,
            providers=self.providers,
            spool=Spool(self.folder / "spool", owner=worker),
            clock=self.clock,
            pace=self.pace,
            worker=worker,
            instance=instance,
            new_token=lambda: f"{next(self.tokens):032x}",
            rng=rng,
            actor=worker,
            requests_per_batch=self.requests_per_batch,
            transfers=1,
            connections=self.connections,
            tell=lambda told: self.tell(told),  # noqa: PLW0108 - a test may replace it
            stopping=lambda: self.stopping(),  # noqa: PLW0108 - a test may replace it
            budgets=self.budgets,
        )
        return self.context

    def submit(self, count: int = 100, *, name: str = "labels", **changes: Any) -> Job:
        """Register a job of `count` small records."""
        source = self.folder / f"{name}.jsonl"
        lines = (f'{{"id":"r-{n:05d}","text":"record {n}"}}\n' for n in range(count))
        source.write_text("".join(lines), encoding="utf-8")
        values: dict[str, Any] = {
            "name": name,
            "source": str(source),
            "key": "id",
            "prompt": "Say one word about {text}",
            "provider": "sandbox",
            "model": "kimi-k2.6",
            **changes,
        }
        spec = JobSpec(**values)
        return api.submit(self.context, spec, actor="test").job

    def tick(self) -> Report:
        """Do what is due now."""
        return tick(self.context)

    def advance(self) -> bool:
        """Do what is due now and move to the next due moment; False when nothing is open."""
        report = self.tick()
        if report.next_at is None:
            return False
        self.clock.seconds = max(report.next_at.timestamp(), self.clock.seconds + 1)
        return True

    def rest(self, *, days: float = 3) -> None:
        """Let time pass until nothing is due any more, or so many days."""
        end = self.clock.seconds + days * 86_400
        while self.clock.seconds < end and self.advance():
            pass

    def job(self, name: str = "labels") -> Job:
        with self.registry.read() as db:
            found = jobs.find(db, name)
        assert found is not None
        return found

    def batches(self, name: str = "labels") -> Sequence[Batch]:
        with self.registry.read() as db:
            return batches.of_job(db, self.job(name).id, limit=1000)

    def run(self, name: str = "labels", *, days: float = 30) -> Job:
        """Let time pass, from one due moment to the next, until the job has ended."""
        end = self.clock.seconds + days * 86_400
        while self.clock.seconds < end:
            report = self.tick()
            job = self.job(name)
            if job.state in {JobState.FINISHED, JobState.CANCELLED}:
                self.settle()
                return self.job(name)
            if report.next_at is None:
                return job
            self.clock.seconds = max(report.next_at.timestamp(), self.clock.seconds + 1)
        return self.job(name)

    def settle(self, *, days: float = 2) -> None:
        """Let clean-up after the end be done, however often it has to be tried."""
        end = self.clock.seconds + days * 86_400
        while self.clock.seconds < end:
            report = self.tick()
            if report.next_at is None or not self.unsettled():
                return
            self.clock.seconds = max(report.next_at.timestamp(), self.clock.seconds + 1)

    def unsettled(self) -> list[Batch]:
        """Return the batches that neither ended nor wait for a person."""
        done = {BatchState.CLOSED, BatchState.PARKED}
        with self.registry.read() as db:
            return [batch for batch in batches.page(db, limit=10_000) if batch.state not in done]
