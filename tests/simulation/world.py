"""One seed's world: registry, provider, machines, users, and what strikes them."""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import DBAPIError, OperationalError
from support.databases import NOW

from orchestrator.domain.pacing import Pace
from orchestrator.failpoints import watched
from orchestrator.provider.profiles import load_profile
from orchestrator.registry import migrate
from orchestrator.registry.session import Registry
from orchestrator.sandbox.blobs import MemoryBlobs
from simulation.faults import DAY, HOUR, Faults
from simulation.invariants import Invariants
from simulation.network import Provider
from simulation.scheduler import Crash, Scheduler
from simulation.users import Users
from simulation.workers import START, Machine

PHASE_ONE = 7 * DAY
PHASE_TWO = 40 * DAY
SWEPT_AFTER = 10 * DAY
DECISIONS = 3
"""How often a person lets parked batches go on: one may be parked for another reason then."""

_TROUBLES = 1.5 * DAY
"""Faults with moments of their own strike where most of the work is, the sooner the likelier."""

_INSTANCE = "5eed" * 4
_DISK_STEPS = ("open", "write", "sync", "rename", "sync_directory")


class Broken(AssertionError):
    """The world has seen what must never happen."""


class Arena:
    """The folder, the template and the engines that all seeds of a process share, one by one."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self._folder = tempfile.TemporaryDirectory(
            prefix="simulation-", dir=memory if os.access(memory, os.W_OK) else None
        )
        self.folder = Path(self._folder.name)
        self._template = self.folder / "template.db"
        self.database = self.folder / "world" / "registry.db"
        template = Registry(f"sqlite:///{self._template}", sync=False)
        migrate.ensure(template, now=NOW)
        with template.connect() as db, db.begin():
            values = (_INSTANCE, "2026-09-01 00:00:00.000000")
            db.exec_driver_sql("DELETE FROM instance")
            db.exec_driver_sql("INSERT INTO instance (id, created_at) VALUES (?, ?)", values)
        with template.connect() as db:
            db.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        template.close()
        self.registry = Registry(f"sqlite:///{self.database}", sync=False)
        self.profile = load_profile("sandbox")

    def clear(self) -> Path:
        """Make room for the next world; return its folder."""
        self.registry.close()
        shutil.rmtree(self.database.parent, ignore_errors=True)
        self.database.parent.mkdir()
        shutil.copy(self._template, self.database)
        return self.database.parent

    def close(self) -> None:
        self.registry.close()
        self._folder.cleanup()


class World:
    """Everything of one seed; `rates` are its faults in the place of those that it would draw."""

    def __init__(self, arena: Arena, seed: int, rates: Mapping[str, float] | None = None) -> None:
        self.seed = seed
        self.folder = arena.clear()
        self.registry = arena.registry
        self.profile = arena.profile
        self.instance = _INSTANCE
        self.faults = Faults(seed, rates)
        self.scheduler = Scheduler(seed)
        self.draw = random.Random(f"{seed}/world")
        self.pace = Pace(
            poll_min=HOUR,
            poll_max=6 * HOUR,
            back_off_max=2 * HOUR,
            gate_probe=HOUR,
            gate_slow_max=2 * HOUR,
            stale_seconds=8 * HOUR,
            cap=6 * HOUR,
            audit_seconds=6 * HOUR,
        )
        self.interval = self.draw.choice((2 * HOUR, 6 * HOUR))
        self.requests_per_batch = self.draw.choice((5, 8, 13, 13))
        self.sandbox = Provider(lambda: START.timestamp() + self.scheduler.now, seed, self.faults)
        self.sandbox.blobs = self.sandbox.blobs or MemoryBlobs()
        self.failure: tuple[str, BaseException | None] | None = None
        self._numbers = itertools.count(1)
        self._quiet_hook = False
        self._committed = False
        self.monitor = sqlite3.connect(arena.database, isolation_level=None)
        self.invariants = Invariants(self)
        self.sandbox.allow_delete = self.invariants.check_deletion
        self.users = Users(self)
        self.spool_is_shared = self.draw.random() < 0.5
        self.machines: list[Machine] = []
        for number in range(self.draw.choice((2, 2, 3, 4))):
            spool = self.folder / ("spool" if self.spool_is_shared else f"spool-{number}")
            self.machines.append(Machine(self, number, spool))

    # What the parts ask of the world

    def next_number(self) -> int:
        """Return the next of the numbers that tokens and workers are named by."""
        return next(self._numbers)

    def broken(self, what: str, cause: BaseException | None = None) -> None:
        """Tell that something happened that must not; the first such ends the run."""
        if self.failure is None:
            self.failure = (what, cause)

    def set_lease(self, worker: str, until: datetime) -> None:
        """Write what a worker's lease is by the beats that are not simulated one by one."""
        text = until.replace(tzinfo=None).isoformat(" ", "microseconds")
        self.monitor.execute("UPDATE workers SET lease_until = ? WHERE id = ?", (text, worker))

    def spools(self) -> list[Path]:
        """Return where files of batches may lie: one folder for all, or one a machine."""
        return sorted({machine.spool for machine in self.machines if machine.spool.exists()})

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Do something beside the processes: nobody waits, nobody dies at a boundary."""
        before, self._quiet_hook = self._quiet_hook, True
        try:
            yield
        finally:
            self._quiet_hook = before

    # Boundaries

    def hook(self, name: str, about: object) -> None:
        """Pass a boundary: note it, let its faults strike, let others run."""
        process = None if self._quiet_hook else self.scheduler.current()
        if process is not None and process.dying:
            return
        self.scheduler.note(process.name if process else "-", name, _words(about))
        if name == "registry.commit":
            # The writer has its lock: nobody else may run now.
            if self.faults.strikes("commit failed"):
                raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))
            return
        if name == "registry.committed":
            self._committed = True
        if process is not None:
            self._pass(name)
        if name == "registry.committed" and self.faults.strikes("commit unacknowledged"):
            lost = sqlite3.OperationalError("the connection was lost at COMMIT")
            raise DBAPIError("COMMIT", {}, lost, connection_invalidated=True)
        if name.partition(".")[2] in _DISK_STEPS and self._disk_is_full():
            self.faults.fired["disk full"] += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _pass(self, name: str) -> None:
        process = self.scheduler.current()
        assert process is not None
        held = self.registry._writer.pool.checkedout() + self.registry._reader.pool.checkedout()  # type: ignore[attr-defined]
        if held:
            self.broken(f"a connection is held across {name}")
        if self.faults.strikes("crash"):
            process.dying = True
            raise Crash
        if self.faults.strikes("pause"):
            lease = self.pace.lease_seconds
            seconds = self.draw.choice((lease * 1.2, lease * 3, 10 * lease, 3 * HOUR))
            self._machine().pause(seconds)
            return
        low = 0.05 if name == "call.send" else 0.0
        high = self.draw.choice((0.01, 0.01, 1.0, 5.0))
        process.wait(low + self.draw.uniform(0, high))

    def _machine(self) -> Machine:
        current = self.scheduler.current()
        return next(machine for machine in self.machines if machine.process is current)

    def _disk_is_full(self) -> bool:
        current = self.scheduler.current()
        return any(machine.process is current and machine.disk_is_full for machine in self.machines)

    # Troubles with moments of their own

    def _foresee(self) -> None:
        for kind, strike in (
            ("clock jump", self._jump),
            ("key refused", self._refuse_key),
            ("outage", self._go_down),
            ("disk full", self._fill_disk),
            ("console cancel", self.users.cancel_in_console),
            ("console delete", self.users.delete_in_console),
        ):
            for _ in range(self.faults.times(kind)):
                when = _TROUBLES * self.draw.random() ** 3
                self.scheduler.after(when, kind, self._while_faults_are_on(strike))

    def _while_faults_are_on(self, strike: Callable[[], None]) -> Callable[[], None]:
        return lambda: strike() if self.faults.on else None

    def _jump(self) -> None:
        machine = self.draw.choice(self.machines)
        machine.clock.offset += self.draw.choice((-HOUR, HOUR))
        self.faults.fired["clock jump"] += 1

    def _refuse_key(self) -> None:
        self.faults.fired["key refused"] += 1
        self.sandbox.key_refused = True
        self.scheduler.after(self.draw.uniform(0.1, 12) * HOUR, "key taken", self._take_key)

    def _take_key(self) -> None:
        self.sandbox.key_refused = False

    def _go_down(self) -> None:
        self.faults.fired["outage"] += 1
        self.sandbox.down = True
        self.scheduler.after(self.draw.choice((0.1, 3, 26)) * HOUR, "up", self._come_up)

    def _come_up(self) -> None:
        self.sandbox.down = False

    def _fill_disk(self) -> None:
        machine = self.draw.choice(self.machines)
        machine.disk_is_full = True

        def free() -> None:
            machine.disk_is_full = False

        self.scheduler.after(self.draw.choice((0.1, 2, 12)) * HOUR, "disk freed", free)

    def _heal(self) -> None:
        """End phase one: no fault from now on, every clock is right, the user lets all go on."""
        self.faults.on = False
        self.sandbox.heal()
        for machine in self.machines:
            machine.clock.offset = 0.0
            machine.disk_is_full = False

    # The run

    def run(self) -> None:
        """Let both phases pass. Raises Broken."""
        with watched(self.hook):
            self._foresee()
            self.users.plan()
            self._pass_time(PHASE_ONE)
            self._heal()
            self.users.let_all_go_on()
            self._pass_time(PHASE_ONE + PHASE_TWO)
            self.invariants.check_end(ended=False)
            for _ in range(DECISIONS):
                self.users.release_parked()
                self._pass_time(self.scheduler.now + PHASE_TWO)
            # What arrived too late at the provider is swept up after a day, and what another
            # machine has closed by each machine's next audit.
            self._pass_time(self.scheduler.now + SWEPT_AFTER, resting=False)
            self.invariants.check_end(ended=True)

    def _pass_time(self, until: float, *, resting: bool = True) -> None:
        """Let time pass; `resting` ends it as soon as nothing is to be done any more."""
        while resting or self.invariants.is_littered():
            if not self.scheduler.step(until):
                return
            if self._committed:
                self._committed = False
                self.invariants.check()
                self.tell_failure()
                if resting and self.users.are_done() and self.invariants.at_rest():
                    return
            self.tell_failure()

    def tell_failure(self) -> None:
        if self.failure is not None:
            what, cause = self.failure
            raise Broken(what) from cause

    def succeeded(self) -> int:
        """Return how many records have their answer."""
        query = "SELECT count(*) FROM requests WHERE state = 'succeeded'"
        return int(self.monitor.execute(query).fetchone()[0])

    def close(self) -> None:
        """Kill what still runs."""
        self.invariants.count_ways()
        with watched(lambda _name, _about: None):
            self.scheduler.close()
        self.monitor.close()


def _words(about: object) -> str:
    if isinstance(about, Path):
        return about.name.partition(".jsonl")[0]
    return about if isinstance(about, str) else str(getattr(about, "__qualname__", ""))
