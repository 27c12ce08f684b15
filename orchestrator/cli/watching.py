"""How a follow is shown: redrawn in place, a line for each change, JSON lines, or the end only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from orchestrator import human
from orchestrator.cli import job_lines
from orchestrator.cli.output import Console
from orchestrator.cli.session import Session
from orchestrator.cli.tables import bare

if TYPE_CHECKING:
    from orchestrator.api.views import JobView

WHOLE_BLOCKS = 3
"""Jobs that are shown with every line; more get one line each."""

LINES_SHOWN = 20
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"
_TO_LINE_END, _TO_SCREEN_END = "\x1b[K", "\x1b[J"


class Display(Protocol):
    """Shows the views of the watched jobs as they change."""

    def show(self, views: Sequence[JobView]) -> None:
        """Show the jobs as they are now."""

    def leave(self) -> None:
        """Leave the terminal as others expect it; `show` begins anew below."""

    def finish(self, views: Sequence[JobView], status: int) -> None:
        """Show the end and the exit status."""


def display_of(session: Session, progress: str) -> Display:
    """Return the display that `progress` asks for, or the one that fits the streams."""
    console = session.console
    chosen = progress
    if progress == "auto":
        if console.options.format == "json" or console.options.quiet:
            chosen = "off"
        elif console.options.format == "jsonl":
            chosen = "json"
        else:
            in_place = console.tty and session.world.environ.get("TERM") != "dumb"
            chosen = "bar" if in_place else "line"
    if chosen == "json":
        console.options.format = "jsonl"
    kinds: dict[str, type[_InPlace | _Lines | _JsonLines | _EndOnly]] = {
        "bar": _InPlace,
        "line": _Lines,
        "json": _JsonLines,
        "off": _EndOnly,
    }
    return kinds[chosen](session)


class _Base:
    def __init__(self, session: Session) -> None:
        self._stream = session.world.stdout
        self._console = session.console

    def leave(self) -> None:
        """Nothing is drawn in place."""

    def finish(self, views: Sequence[JobView], status: int) -> None:
        """Give the last word as a document."""
        data = {"jobs": [view.to_dict() for view in views], "exit_code": status}
        self._console.document("watch", data, lambda console: self._say_end(console, views))

    def _say_end(self, console: Console, views: Sequence[JobView]) -> None:
        """Say the end as `show` says a change."""


class _EndOnly(_Base):
    def show(self, views: Sequence[JobView]) -> None:
        """Say nothing before the end."""

    def _say_end(self, console: Console, views: Sequence[JobView]) -> None:
        for view in views:
            console.say(change_line(view, console))


class _JsonLines(_Base):
    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._before: dict[str, object] = {}

    def show(self, views: Sequence[JobView]) -> None:
        """Write an object for each job that has changed."""
        for view in views:
            if self._before.get(view.job.name) != _state_of(view):
                self._before[view.job.name] = _state_of(view)
                self._console.event("watch.job", view.to_dict(), "")

    def finish(self, views: Sequence[JobView], status: int) -> None:
        """Every change has been told, the last one too."""


class _Lines(_Base):
    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._before: dict[str, object] = {}

    def show(self, views: Sequence[JobView]) -> None:
        """Write a line for each job that has changed."""
        for view in views:
            if self._before.get(view.job.name) != _state_of(view):
                self._before[view.job.name] = _state_of(view)
                self._console.say(change_line(view, self._console))
        self._stream.flush()


class _InPlace(_Base):
    """Draws over what it has drawn before. Lines are cut by the terminal, never wrapped."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._drawn = 0

    def show(self, views: Sequence[JobView]) -> None:
        """Redraw the block."""
        lines = _block(views, self._console)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"{line}{_TO_LINE_END}\n" for line in lines)
        self._stream.write(f"{up}\r{_WRAP_OFF}{text}{_TO_SCREEN_END}{_WRAP_ON}")
        self._stream.flush()
        self._drawn = len(lines)

    def leave(self) -> None:
        """Let what follows stand below the block."""
        self._drawn = 0


def _block(views: Sequence[JobView], console: Console) -> list[str]:
    if len(views) <= WHOLE_BLOCKS:
        return [line for view in views for line in job_lines.job_lines(view, console)]
    lines = [
        f"{job_lines.headline(view, console)}  {job_lines.bar(view, console, 20)}"
        for view in views[:LINES_SHOWN]
    ]
    left = len(views) - LINES_SHOWN
    return [*lines, f"and {left:,} more"] if left > 0 else lines


def _state_of(view: JobView) -> tuple[object, ...]:
    return (view.state, view.books, view.open)


def change_line(view: JobView, console: Console) -> str:
    """Return one line: for people name, state and books, in a pipe tab-separated plain fields.

    Time, job, state, records, succeeded, failed, expired, cancelled, reported, in flight, waiting.
    """
    books, parts = view.books, view.open
    if console.tty:
        state = job_lines.state_of(view, console)
        share = human.percent(books.recorded, books.records)
        return f"{human.plain(view.job.name)}  {state}  {share}  {human.books_line(view.books)}"
    fields = (
        view.as_of.replace(microsecond=0),
        view.job.name,
        view.state,
        books.records,
        books.succeeded,
        books.failed,
        books.expired,
        books.cancelled,
        parts.reported,
        parts.in_flight,
        parts.waiting,
    )
    return "\t".join(bare(field) for field in fields)
