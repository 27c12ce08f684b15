"""Follow a job from Python: look only, or do the work where nobody else does."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

from orchestrator.app import App
from orchestrator.domain.errors import UsageError
from orchestrator.domain.money import Money
from orchestrator.domain.units import parse_duration, parse_money
from orchestrator.service.following import follow
from orchestrator.service.signals import EXIT_OF, Signals
from orchestrator.telemetry import Log

Duration = str | float | timedelta | None
"""`"6h"`, seconds, or a timedelta; None is for ever."""

Open = Callable[[], App]
"""Opens an App of one's own: who works must not share the lease of who only looks."""


def span_of(duration: Duration) -> timedelta | None:
    """Return a duration as a timedelta. Raises UsageError for text that is none."""
    if duration is None or isinstance(duration, timedelta):
        return duration
    if isinstance(duration, int | float):
        return timedelta(seconds=duration)
    try:
        return parse_duration(duration)
    except ValueError as error:
        raise UsageError(str(error), next='timeout="6h", or a number of seconds') from None


def money_of(text: str) -> Money:
    """Read `40 USD`. Raises UsageError for text that is none."""
    try:
        return parse_money(text)
    except ValueError as error:
        raise UsageError(str(error), next='budget="40 USD"') from None


@contextmanager
def interrupts() -> Iterator[Signals]:
    """Take INT and TERM for the length of the block, then let them do what they would have done.

    Short calls end and claims are given back first; a second one is not waited for, and leaves the
    process alive too. In a thread nothing is taken.
    """
    with Signals(leave=_at_once) as signals:
        yield signals
    if signals.stopped_by is not None:
        signal.raise_signal(signals.stopped_by)


def _at_once(status: int) -> NoReturn:
    """Do as a second INT or TERM does where nobody takes it, but never end a notebook's kernel."""
    if status == EXIT_OF[signal.SIGINT]:
        raise KeyboardInterrupt
    raise SystemExit(status)


def follow_until(
    open_app: Open, look: Callable[[bool], bool], timeout: timedelta | None, signals: Signals
) -> bool:
    """Call `look` until it says that the end is reached; True then, False where it was cut off."""
    with open_app() as app:
        log = quiet_log(app)
        return follow(app, signals, log, look=look, timeout=timeout)


def quiet_log(app: App) -> Log:
    """Return a log that says nothing: what happens can be asked of the registry."""
    return Log(None, "console", now=app.clock.now)
