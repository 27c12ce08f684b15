"""Signals: what was asked of this process. Handlers set flags and ring a bell, nothing else.

All state is in the registry, so the second TERM or INT may end the process on the spot.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

STOPS = (signal.SIGTERM, signal.SIGINT)
EXIT_OF = {signal.SIGTERM: 143, signal.SIGINT: 130}


class Signals:
    """Takes TERM and INT (with `daemon`, HUP and USR1 too) while its `with` block runs.

    Outside the main thread no handler can be set: it then only waits. `leave` ends the process at
    once; it is called on the second TERM or INT.
    """

    def __init__(self, *, daemon: bool = False, leave: Callable[[int], object] = os._exit) -> None:
        self._taken = (*STOPS, signal.SIGHUP, signal.SIGUSR1) if daemon else STOPS
        self._leave = leave
        self._before: dict[int, object] = {}
        self._ear, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(self._ear, False)
        self.stopped_by: int | None = None
        self.reload = False
        self.status = False

    def stopping(self) -> bool:
        """Whether TERM or INT has come."""
        return self.stopped_by is not None

    @property
    def exit_status(self) -> int:
        """The status of a command that was stopped by a signal; 0 if none has come."""
        return 0 if self.stopped_by is None else EXIT_OF.get(signal.Signals(self.stopped_by), 143)

    def wait(self, seconds: float | None) -> None:
        """Wait until a signal comes or `ring` is called, at most so many seconds."""
        ready, _, _ = select.select([self._ear], [], [], seconds)
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._ear, 4096)

    def ring(self) -> None:
        """Wake whoever waits; may be called from any thread and from a handler."""
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._bell, b"!")

    def stop(self) -> None:
        """Do as INT does; may be called from any thread."""
        self.stopped_by = signal.SIGINT
        self.ring()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        elif number == signal.SIGUSR1:
            self.status = True
        elif self.stopped_by is not None:
            self._leave(128 + number)
        else:
            self.stopped_by = number
        self.ring()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in self._taken:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal gave back
        os.close(self._ear)
        os.close(self._bell)
        self._ear = self._bell = -1  # whoever rings too late must not meet another file's number
