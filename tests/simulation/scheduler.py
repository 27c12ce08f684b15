"""One thread, one virtual clock, one list of things to come: who runs next is drawn from a seed.

A process is a greenlet that gives control back wherever it waits. Nothing here knows what the
processes do.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from hashlib import sha256

from greenlet import getcurrent, greenlet


class Crash(BaseException):
    """The process dies here; no handler of ordinary errors may catch it."""


class Process:
    """Something that runs, waits and may be killed while it waits."""

    def __init__(self, scheduler: Scheduler, name: str, life: Callable[[], None]) -> None:
        self.name = name
        self.dying = False
        self.on_death: Callable[[], None] = lambda: None
        self._scheduler = scheduler
        self._life = life
        self._greenlet = greenlet(self._run, scheduler.hub)
        scheduler.processes[self._greenlet] = self
        self._resume_in(0.0)

    def wait(self, seconds: float) -> None:
        """Let others run for some virtual seconds. Called from inside the process."""
        if self.dying:
            return
        self._resume_in(seconds)
        self._scheduler.hub.switch()

    def kill(self) -> None:
        """End the process where it waits; its handlers of ordinary errors see nothing of it."""
        if not self.dying:
            self.dying = True
            if self._greenlet:  # one that has not begun has nothing to die of
                self._greenlet.throw(Crash)

    def _resume_in(self, seconds: float) -> None:
        self._scheduler.after(seconds, self.name, self._resume)

    def _resume(self) -> None:
        if not self.dying:
            self._greenlet.switch()

    def _run(self) -> None:
        try:
            self._life()
        except Crash:
            self.dying = True
        finally:
            self._scheduler.processes.pop(self._greenlet)
        self.on_death()


class Scheduler:
    """The virtual clock and what is to come. `trace` is a hash over everything that was chosen."""

    def __init__(self, seed: int) -> None:
        self.hub = getcurrent()
        self.now = 0.0
        self.rng = random.Random(f"{seed}/scheduler")
        self.processes: dict[greenlet, Process] = {}
        self.steps = 0
        self.journal: list[str] | None = None
        self._hash = sha256()
        self._heap: list[tuple[float, int, str, Callable[[], None]]] = []
        self._serial = 0

    def after(self, seconds: float, name: str, action: Callable[[], None]) -> None:
        """Do `action` in some seconds; of two things due at once the one ordered first is first."""
        self._serial += 1
        heapq.heappush(self._heap, (self.now + max(0.0, seconds), self._serial, name, action))

    def current(self) -> Process | None:
        """Return the process that runs now; None outside of all of them."""
        return self.processes.get(getcurrent())

    def note(self, *words: str) -> None:
        """Take `words` into the trace."""
        line = " ".join(words)
        self._hash.update(line.encode() + b"\n")
        if self.journal is not None:
            self.journal.append(f"{self.now:14.3f} {line}")

    def step(self, until: float) -> bool:
        """Do the next thing that is due before `until`; False if there is none."""
        if not self._heap or self._heap[0][0] > until:
            return False
        when, _, name, action = heapq.heappop(self._heap)
        self.now = when
        self.steps += 1
        self.note(repr(when), name)
        action()
        return True

    @property
    def trace(self) -> str:
        """The hash over every choice and boundary so far, in hex."""
        return self._hash.hexdigest()

    def close(self) -> None:
        """Kill whatever still waits."""
        for process in list(self.processes.values()):
            process.on_death = lambda: None
            process.kill()
