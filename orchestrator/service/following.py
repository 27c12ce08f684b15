"""Follow jobs to their end: look only, or be the daemon where none is alive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from orchestrator.app import App
from orchestrator.domain.errors import AlreadyRunning
from orchestrator.registry import workers
from orchestrator.service.daemon import Ticker, working
from orchestrator.service.signals import Signals
from orchestrator.service.work import is_held
from orchestrator.telemetry import Log

LOOK_SECONDS = 1.0
"""How often a follower reads the registry when nothing rings."""


def alive(app: App) -> bool:
    """Whether somebody is at work on this registry now."""
    path = app.registry.path
    if path is not None:
        return is_held(path)
    now = app.clock.now()
    with app.registry.read() as db:
        return bool(workers.alive(db, now))


class Follower:
    """Lets the work go on while somebody watches. `working` says whether this process does it."""

    def __init__(self, app: App, signals: Signals, log: Log) -> None:
        self._app = app
        self._signals = signals
        self._log = log
        self._stack = ExitStack()
        self._ticker: Ticker | None = None

    @property
    def working(self) -> bool:
        """Whether this process is the daemon meanwhile."""
        return self._ticker is not None

    @property
    def failed(self) -> BaseException | None:
        """The error of the last tick, if it failed and is ours."""
        return self._ticker.failed if self._ticker else None

    def take_part(self) -> None:
        """Become the daemon if none is alive; on SQLite the lock decides, elsewhere the leases.

        A lease that was lost (the machine slept) is given up for a new one.
        """
        if self._ticker is not None and self._ticker.lost:
            self.close()
        if self._ticker is not None or alive(self._app):
            return
        try:
            self._ticker = self._stack.enter_context(
                working(self._app, "watch", self._log, on_tick=self._signals.ring)
            )
        except AlreadyRunning:
            return

    def close(self) -> None:
        """End the part of the work that was taken over; what is in flight goes on remotely."""
        self._ticker = None
        self._stack.close()


@contextmanager
def following(app: App, signals: Signals, log: Log) -> Iterator[Follower]:
    """Yield a follower, and end its part of the work with the block."""
    follower = Follower(app, signals, log)
    try:
        yield follower
    finally:
        follower.close()


def follow(
    app: App,
    signals: Signals,
    log: Log,
    *,
    look: Callable[[bool], bool],
    timeout: timedelta | None = None,
) -> bool:
    """Call `look` until it says that the end is reached; True then, False on a signal or time-out.

    `look` is told whether this process does the work. A worker that dies meanwhile is replaced by
    this one. Raises whatever `look` raises.
    """
    until = None if timeout is None else app.clock.monotonic() + timeout.total_seconds()
    with following(app, signals, log) as follower:
        while not signals.stopping():
            follower.take_part()
            if look(follower.working):
                return True
            left = LOOK_SECONDS if until is None else until - app.clock.monotonic()
            if left <= 0:
                return False
            signals.wait(min(LOOK_SECONDS, left))
    return False
