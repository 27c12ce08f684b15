"""Virtual time: as fast as you like, moved by hand where a test wants it."""

from __future__ import annotations

import threading
from collections.abc import Callable


class SandboxClock:
    """A clock in Unix seconds that runs `speed` times as fast as `wall` and never goes back.

    `speed` 0 stands still until `advance` is called. `jumped` is told of each advance, so that a
    journal can keep it.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        *,
        speed: float = 1.0,
        origin: float | None = None,
        jumped: Callable[[float], None] | None = None,
    ) -> None:
        self._wall = wall
        self._began = wall()
        self._origin = self._began if origin is None else origin
        self._last = self._origin
        self._lock = threading.Lock()
        self.speed = speed
        self.jumped = jumped

    def __call__(self) -> float:
        """Return the virtual time in Unix seconds."""
        with self._lock:
            self._last = max(self._last, self._read())
            return self._last

    def advance(self, seconds: float) -> float:
        """Move the virtual time on by `seconds`, which must not be negative; return it."""
        if seconds < 0:
            raise ValueError(f"a sandbox clock can't go back: asked to advance by {seconds} s")
        with self._lock:
            self._last = max(self._last, self._read()) + seconds
            self._origin, self._began = self._last, self._wall()
            now = self._last
        if self.jumped is not None:
            self.jumped(now)
        return now

    def _read(self) -> float:
        return self._origin + (self._wall() - self._began) * self.speed
