"""A fleet of daemons on one PostgreSQL, and everything that can be done to it, drawn from a seed.

The daemons reach their database through a wire that can be cut and held up; the server runs with
`fsync=on` and is restarted `immediate` (a crash: it comes up by its log alone) and `fast`.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from fleet.postgres import Postgres
from fleet.wire import Wire

JOB = "everything"
_DATABASE = "fleet"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How large the job is, and how hard it is for whom.

    `seconds`: how long blows may fall; the provider is as slow as that takes. `pause`: the mean
    time between two blows. `lease` in seconds: 10 is the shortest that may be configured.
    """

    seed: int
    records: int = 20_000
    a_batch: int = 100
    daemons: int = 8
    in_flight: int = 40
    seconds: float = 60.0
    pause: float = 1.0
    lease: float = 10.0


@dataclass
class Daemon:
    """One place in the fleet; whoever dies in it is followed by the next."""

    log: Path
    process: subprocess.Popen[bytes] | None = None
    stopped_until: float = 0.0
    back_at: float = 0.0
    doomed: bool = False

    @property
    def alive(self) -> bool:
        """Whether it runs, if only asleep."""
        return self.process is not None and self.process.poll() is None


@dataclass
class Toll:
    """What was done, and what came of it."""

    blows: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    left: list[str] = field(default_factory=list)
    """Daemons that ended although nobody had killed them."""
    orphans: dict[int, set[int]] = field(default_factory=dict)
    """Batches whose owner's lease was over, by id: the epochs under which that was so."""
    seconds: float = 0.0


class Fleet:
    """The daemons of one folder, their wire and their database, at the mercy of one seed."""

    def __init__(self, folder: Path, plan: Plan, server: Postgres, wire: Wire, base_url: str):
        self.folder = folder
        self.plan = plan
        self.server = server
        self.wire = wire
        self.toll = Toll()
        self._rng = random.Random(plan.seed)
        self._daemons = [Daemon(folder / f"daemon-{n}.log") for n in range(plan.daemons)]
        self._mend_at = 0.0
        self._admin = sa.create_engine(
            server.url(), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
        )
        with self._admin.connect() as db:
            db.exec_driver_sql(f"CREATE DATABASE {_DATABASE}")
        self.url = server.url(_DATABASE)
        self._look = sa.create_engine(self.url, poolclass=sa.NullPool)
        self._write_project(base_url)

    def _write_project(self, base_url: str) -> None:
        plan = self.plan
        url = self.server.url(_DATABASE, port=self.wire.port)
        (self.folder / "orchestrator.toml").write_text(
            "schema = 1\n"
            f"[registry]\nurl = {json.dumps(url)}\n"
            f"[spool]\ndir = {json.dumps(str(self.folder / 'spool'))}\n"
            f"[defaults]\nrequests_per_batch = {plan.a_batch}\n"
            'retry.attempts = 9\nretry.rounds = 20\nretry.back_off = "2s"\n'
            f"[providers.sandbox]\nbase_url = {json.dumps(base_url)}\n"
            f"max_batches_in_flight = {plan.in_flight}\n"
            '[daemon]\npoll_min = "1s"\npoll_max = "2s"\ntick = "500ms"\nsettle = "3s"\n'
            f'lease = "{plan.lease:.0f}s"\ndrain = "20s"\n'
        )
        with (self.folder / "source.jsonl").open("w", encoding="utf-8") as file:
            for number in range(plan.records):
                file.write(f'{{"id":"r-{number:06d}","text":"record {number}"}}\n')

    def run(self, *command: str) -> int:
        """Run one command to its end, unharmed; return its status."""
        ran = self._spawn(command, subprocess.PIPE)
        _, errors = ran.communicate()
        sys.stderr.write(errors.decode())
        return ran.returncode

    def _spawn(self, command: tuple[str, ...], stderr: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", *command],
            cwd=self.folder,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,  # type: ignore[arg-type]  # a file or PIPE
        )

    def fight(self, *, calm_seconds: float, tell: Callable[[str], None] = lambda _: None) -> bool:
        """Strike until the job has ended or the time is over; then let it end in peace.

        Return whether it has ended: with every batch closed, `calm_seconds` after the last blow.
        """
        began = time.monotonic()
        peace_at = began + self.plan.seconds
        next_blow = began + self._rng.expovariate(1 / self.plan.pause)
        told_at = began
        ended = False
        while not ended and time.monotonic() < peace_at + calm_seconds:
            now = time.monotonic()
            self._recover(now, at_once=now >= peace_at)
            if next_blow <= now < peace_at:
                self._strike(now)
                next_blow = time.monotonic() + self._rng.expovariate(1 / self.plan.pause)
            ended = self._has_ended()
            if now - told_at >= 30:
                told_at = now
                tell(f"{now - began:6.0f} s  {self._where()}  {dict(self.toll.blows)}")
            threading.Event().wait(0.1)
        self.toll.seconds = time.monotonic() - began
        return ended

    def _recover(self, now: float, *, at_once: bool) -> None:
        """Bring back whoever is due: the dead, the sleeping, the wire."""
        if self._mend_at and (at_once or now >= self._mend_at):
            self.wire.mend()
            self._mend_at = 0.0
        for daemon in self._daemons:
            if daemon.stopped_until and (at_once or now >= daemon.stopped_until):
                self._signal(daemon, signal.SIGCONT)
                daemon.stopped_until = 0.0
            if not daemon.alive and (at_once or now >= daemon.back_at):
                self._note_end(daemon)
                with daemon.log.open("ab") as log:
                    daemon.process = self._spawn(("daemon",), log)
                self.toll.starts += 1

    def _note_end(self, daemon: Daemon) -> None:
        if daemon.process is not None and not daemon.doomed:
            self.toll.left.append(f"{daemon.log.name}: status {daemon.process.returncode}")
        daemon.doomed = False

    def _strike(self, now: float) -> None:
        blows: dict[str, tuple[int, Callable[[float], None]]] = {
            "kill -9": (8, self._kill),
            "stopped": (5, self._stop),
            "backends terminated": (3, self._terminate),
            "wire cut": (2, lambda _: self.wire.cut()),
            "wire held up": (1, self._hold),
            "wire down": (1, self._refuse),
            "restarted immediate": (1, lambda _: self.server.restart("immediate")),
            "restarted fast": (1, lambda _: self.server.restart("fast")),
        }
        names = list(blows)
        name = self._rng.choices(names, [blows[n][0] for n in names])[0]
        blows[name][1](now)
        self.toll.blows[name] += 1

    def _victim(self) -> Daemon | None:
        awake = [d for d in self._daemons if d.alive and not d.stopped_until]
        return self._rng.choice(awake) if awake else None

    def _kill(self, now: float) -> None:
        if victim := self._victim():
            victim.doomed = True
            victim.back_at = now + self._rng.uniform(0, self.plan.lease / 2)
            self._signal(victim, signal.SIGKILL)
            assert victim.process is not None
            victim.process.wait()

    def _stop(self, now: float) -> None:
        if victim := self._victim():
            victim.stopped_until = now + self.plan.lease * self._rng.uniform(1.1, 2.0)
            self._signal(victim, signal.SIGSTOP)

    def _signal(self, daemon: Daemon, number: int) -> None:
        if daemon.alive and daemon.process is not None:
            daemon.process.send_signal(number)

    def _terminate(self, _now: float) -> None:
        """End some sessions from the server's side, whatever they are doing."""
        query = f"SELECT pid FROM pg_stat_activity WHERE datname = '{_DATABASE}'"
        with self._admin.connect() as db:
            pids = sorted(db.exec_driver_sql(query).scalars())
            for pid in self._rng.sample(pids, min(len(pids), self._rng.randint(1, 10))):
                db.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

    def _hold(self, now: float) -> None:
        self.wire.hold()
        self._mend_at = now + self.plan.lease * self._rng.uniform(0.1, 1.3)

    def _refuse(self, now: float) -> None:
        self.wire.refuse()
        self._mend_at = now + self.plan.lease * self._rng.uniform(0.1, 0.6)

    def _has_ended(self) -> bool:
        orphaned = (
            "SELECT b.id, b.epoch FROM batches b JOIN workers w ON w.id = b.owner"
            " WHERE w.lease_until < now() AND b.state <> 'closed'"
        )
        left = (
            "SELECT (SELECT count(*) FROM jobs WHERE state = 'running')"
            " + (SELECT count(*) FROM batches WHERE state <> 'closed')"
        )
        with self._look.connect() as db:
            for batch, epoch in db.exec_driver_sql(orphaned):
                self.toll.orphans.setdefault(batch, set()).add(epoch)
            return db.exec_driver_sql(left).scalar_one() == 0

    def _where(self) -> str:
        with self._look.connect() as db:
            states = db.exec_driver_sql("SELECT state, count(*) FROM batches GROUP BY 1 ORDER BY 1")
            return ", ".join(f"{count} {state}" for state, count in states)

    def takeovers(self) -> int:
        """Count the claims that were taken over from a worker whose lease was over."""
        with self._look.connect() as db:
            epochs = dict(db.exec_driver_sql("SELECT id, epoch FROM batches").all())
        return sum(
            epochs[batch] > epoch for batch, seen in self.toll.orphans.items() for epoch in seen
        )

    def drain(self) -> list[int]:
        """Send TERM to all, and return the statuses with which they end."""
        self.wire.mend()
        for daemon in self._daemons:
            self._signal(daemon, signal.SIGCONT)
            self._signal(daemon, signal.SIGTERM)
        return [d.process.wait(60) for d in self._daemons if d.process is not None]

    def logged(self) -> Counter[str]:
        """Count the events in all logs."""
        found: Counter[str] = Counter()
        for daemon in self._daemons:
            found.update(re.findall(rb'"event":"(\w+)"', daemon.log.read_bytes()))
        return Counter({name.decode(): count for name, count in found.items()})

    def bugs(self) -> list[str]:
        """Return what the logs tell of errors that nobody expected."""
        lines = [line for d in self._daemons for line in d.log.read_text().splitlines()]
        signs = ("a bug of ours", " in a step of batch", "Traceback", "Fatal Python error")
        return [line for line in lines if any(sign in line for sign in signs)]

    def close(self) -> None:
        """End whoever is left, and let go of the database."""
        for daemon in self._daemons:
            self._signal(daemon, signal.SIGKILL)
            if daemon.process is not None:
                daemon.process.wait()
        self._admin.dispose()
        self._look.dispose()
