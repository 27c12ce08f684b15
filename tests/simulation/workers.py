"""Workers: each a loop of ticks in a process of its own, with a lease, a clock and a spool."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.domain.errors import RegistryError
from orchestrator.domain.profile import Profile
from orchestrator.engine.context import Context, Told
from orchestrator.engine.tick import tick
from orchestrator.provider.client import HttpProvider
from orchestrator.registry import workers
from orchestrator.spool import Spool
from simulation.faults import HOUR
from simulation.network import Wire
from simulation.scheduler import Crash, Process

if TYPE_CHECKING:
    from simulation.world import World

START = datetime(2026, 9, 1, 12, tzinfo=UTC)
SOON = 600.0
"""Seconds below which what is to come must not be missed: looks for an unanswered call."""

_BEATS_A_LEASE = 3


class Key:
    """An API key of the sandbox."""

    def reveal(self) -> str:
        return "sk-simulation"


class WorkerClock:
    """A machine's clocks: the wall clock may jump, the monotonic one goes on."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.offset = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self._now() + self.offset)

    def monotonic(self) -> float:
        return self._now()


class Providers:
    """The one provider, seen from one worker."""

    def __init__(self, provider: HttpProvider) -> None:
        self._provider = provider

    def get(self, _name: str) -> HttpProvider:
        return self._provider

    def profile(self, _name: str) -> Profile:
        return self._provider.profile

    def names(self) -> list[str]:
        return ["sandbox"]

    def max_in_flight(self, _name: str) -> int:
        return 40


class Machine:
    """Where a worker runs, and after a crash or a lost lease the next one."""

    def __init__(self, world: World, number: int, spool: Path) -> None:
        self.world = world
        self.number = number
        self.spool = spool
        self.clock = WorkerClock(lambda: world.scheduler.now)
        self.disk_is_full = False
        self.paused_until = 0.0
        self.worker = ""
        self._lease_until = 0.0
        self._busy = False
        self._beats = 0
        self.process = self._start()

    def _start(self) -> Process:
        process = Process(self.world.scheduler, f"machine-{self.number}", self._live)
        process.on_death = self._died
        return process

    def _died(self) -> None:
        """Leave the lease to run out, and come back as a stranger."""
        self._busy = False
        if self.worker:
            left = self.world.draw.uniform(0, self.world.pace.lease_seconds)
            self.world.set_lease(self.worker, self.clock.now() + timedelta(seconds=left))
        wait = self.world.draw.choice((1.0, 10.0, 120.0, 3_600.0))
        self.world.scheduler.after(wait, "boot", self._boot)

    def _boot(self) -> None:
        self.process = self._start()

    # Inside the process

    def _live(self) -> None:
        while True:
            try:
                context = self._begin()
                self._work(context)
                self._end()
            except RegistryError:
                self.process.wait(self.world.draw.uniform(1, 60))
            finally:
                self._busy = False

    def _work(self, context: Context) -> None:
        """Tick, and sleep until there is something to do, as long as the lease is held."""
        world = self.world
        while self.lease_left() > 0:
            self._awake()
            try:
                report = tick(context)
            except RegistryError:
                self.process.wait(world.draw.uniform(1, 60))
                continue
            # What is due, and still not to be done, waits for somebody else, or for the provider.
            self._sleep(max(self._until(report.next_at), SOON if report.idle else 0.0))
            # Most ticks would find nothing to do: that is seen from outside, and cheaper.
            while self.lease_left() > 0:
                next_at = world.invariants.next_due()
                if next_at is None or next_at <= self.clock.now():
                    break
                self._sleep(self._until(next_at))

    def _until(self, next_at: datetime | None) -> float:
        """Return how long to sleep. Not everybody is there at once: that would only cost time."""
        world = self.world
        seconds = world.interval
        if next_at is not None:
            seconds = min(seconds, max(0.05, (next_at - self.clock.now()).total_seconds()))
        late = world.draw.choice((5.0, 5.0, 600.0, 2 * HOUR, 4 * HOUR))
        if seconds < SOON:
            late = 5.0
        return seconds + world.draw.uniform(0, late)

    def _begin(self) -> Context:
        world = self.world
        self.worker = f"{world.next_number():032x}"
        began = self.clock.monotonic()

        def work(db: object) -> None:
            workers.begin(
                db,  # type: ignore[arg-type]
                worker=self.worker,
                kind="daemon",
                host="here",
                pid=1,
                version="0",
                now=self.clock.now(),
                lease=timedelta(seconds=world.pace.lease_seconds),
            )

        world.registry.write(work)
        self._lease_until = began + world.pace.lease_seconds
        self._busy = True
        self._beat_later()
        rng = random.Random(f"{world.seed}/{self.worker}")
        provider = HttpProvider(
            name="sandbox",
            profile=world.profile,
            key=Key(),
            now=self.clock.now,
            monotonic=self.clock.monotonic,
            sleep=self._doze,
            rng=rng,
            transport=Wire(world.sandbox, world.scheduler),
        )
        spool = Spool(self.spool, owner=self.worker)
        spool.prepare(clean=False)
        return Context(
            registry=world.registry,
            providers=Providers(provider),
            spool=spool,
            clock=self.clock,
            pace=world.pace,
            worker=self.worker,
            instance=world.instance,
            new_token=lambda: f"{world.next_number():032x}",
            rng=rng,
            actor=f"machine-{self.number}",
            requests_per_batch=world.requests_per_batch,
            transfers=1,
            tell=self._told,
            lease_left=self.lease_left,
        )

    def _end(self) -> None:
        now = self.clock.now()
        self.world.registry.write(lambda db: workers.end(db, self.worker, now))

    def _told(self, told: Told) -> None:
        cause = told.error.__cause__ if told.error is not None else None
        if told.error is not None and told.error.code == "ORC9001":
            self.world.broken(f"{told.kind}: {told.error.message}", cause)

    def _doze(self, seconds: float) -> None:
        self.process.wait(seconds)

    def _sleep(self, seconds: float) -> None:
        """Sleep between two ticks; the beats of that time are told by the lease they leave."""
        if self.lease_left() <= 0:
            return
        self._busy = False
        length = self.world.pace.lease_seconds
        self._lease_until = self.clock.monotonic() + seconds + length
        until = self.clock.now() + timedelta(seconds=seconds + length)
        self.world.set_lease(self.worker, until)
        self.process.wait(seconds)
        if self.world.faults.strikes("crash"):
            self.process.dying = True
            raise Crash

    def _awake(self) -> None:
        if not self._busy:
            self._busy = True
            self._beat_later()

    # The lease

    def lease_left(self) -> float:
        """Return for how many seconds the lease holds for sure, by the monotonic clock."""
        return self._lease_until - self.clock.monotonic()

    def _beat_later(self) -> None:
        self._beats += 1
        number, seconds = self._beats, self.world.pace.lease_seconds / _BEATS_A_LEASE
        name = f"beat of machine-{self.number}"
        self.world.scheduler.after(seconds, name, lambda: self._next_beat(number))

    def _next_beat(self, number: int) -> None:
        if number == self._beats and self._busy and not self.process.dying:
            self._beat()

    def _beat(self) -> None:
        """Renew the lease, as the small thread beside the ticks does; a pause stops it too."""
        world = self.world
        if world.scheduler.now < self.paused_until:
            name = f"beat of machine-{self.number}"
            wait = self.paused_until - world.scheduler.now
            world.scheduler.after(wait, name, lambda n=self._beats: self._next_beat(n))
            return
        began = self.clock.monotonic()
        length = timedelta(seconds=world.pace.lease_seconds)
        now = self.clock.now()
        try:
            with world.outside():
                renewed = world.registry.write(
                    lambda db: workers.beat(db, self.worker, now=now, lease=length)
                )
        except RegistryError:
            renewed = None
        if renewed:
            self._lease_until = began + world.pace.lease_seconds
        elif renewed is False:
            self._lease_until = 0.0
            return
        self._beat_later()

    def pause(self, seconds: float) -> None:
        """Stand still: no step, no beat, while the world goes on."""
        self.paused_until = self.world.scheduler.now + seconds
        self.process.wait(seconds)
