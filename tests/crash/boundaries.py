"""Boundaries as a run passes them: recorded in order, and struck by one fault of one mode.

A boundary is one commit, one call or one step of a file; its number counts from 0 in the order of
the run. The engine names what it passes (`orchestrator.failpoints`); nothing here is a list that
somebody would have to keep.
"""

from __future__ import annotations

import enum
import errno
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import sqlalchemy as sa
from support.world import World

from crash.sites import site_at
from orchestrator.registry.session import Registry
from orchestrator.sandbox.faults import Fault, Op


class Crash(BaseException):
    """The process dies here; no handler of ordinary errors may catch it."""


class Kind(enum.StrEnum):
    """What is about to happen."""

    COMMIT = "commit"
    CALL = "call"
    FILE = "file"


class Mode(enum.StrEnum):
    """What goes wrong at a boundary."""

    CRASH_BEFORE = "crash-before"
    CRASH_AFTER = "crash-after"
    REFUSED = "refused"
    """The database fails before the commit."""
    UNACKNOWLEDGED = "unacknowledged"
    """The commit is done, the connection breaks before its acknowledgement."""
    REQUEST_LOST = "request-lost"
    ANSWER_LOST = "answer-lost"
    LATE = "late"
    """No answer; the effect comes minutes later."""
    VERY_LATE = "very-late"
    """No answer; the effect comes when nobody waits for it any more, if it still may."""
    ERROR = "error"
    THROTTLED = "throttled"
    DISK_FULL = "disk-full"
    IO_ERROR = "io-error"


COMMIT_MODES = (Mode.CRASH_BEFORE, Mode.CRASH_AFTER, Mode.REFUSED, Mode.UNACKNOWLEDGED)
CALL_MODES = (
    Mode.CRASH_BEFORE,
    Mode.CRASH_AFTER,
    Mode.REQUEST_LOST,
    Mode.ANSWER_LOST,
    Mode.ERROR,
    Mode.THROTTLED,
)
_LATE_MODES = (Mode.LATE, Mode.VERY_LATE)
FILE_MODES = (Mode.CRASH_BEFORE, Mode.DISK_FULL, Mode.IO_ERROR)

_AFTER = {Mode.CRASH_AFTER, Mode.UNACKNOWLEDGED, Mode.ANSWER_LOST}
"""Modes that strike behind the boundary; the others strike in front of it."""

LATE_SECONDS = {Mode.LATE: 70.0, Mode.VERY_LATE: 900.0}
"""Within the time that an unanswered create is looked for, and long after it."""

_BEGINS = {"registry.commit": Kind.COMMIT, "call.send": Kind.CALL}
_ENDS = {"registry.committed": Kind.COMMIT, "call.answered": Kind.CALL}
_NOTHING_TO_FAIL = {"spool.done", "spool.dropped", "download.done"}
"""Steps that only say that the one before is over."""

_OPS: Mapping[str, Op] = {
    "batch": "retrieve",
    "delete_file": "delete",
    "download": "content",
    "list_batches": "list",
}
"""What the sandbox calls the operations that it does not call as we do."""

_WITH_EFFECT = {"upload", "create", "cancel", "delete_file"}


@dataclass(frozen=True, slots=True)
class Boundary:
    """One boundary of one run. `name`: the failpoint, the operation or the call site of a commit.

    `ended`: whether the run came out behind it; a refused call has an end, but no answer.
    """

    nth: int
    kind: Kind
    name: str
    about: str = ""
    ended: bool = True

    @property
    def label(self) -> str:
        """What the boundary is, in one word, for messages and the names of tests."""
        told = f"{self.name}-{self.about}" if self.about else self.name
        return f"{self.nth:03d}-{self.kind}-{told}"

    def modes(self) -> Sequence[Mode]:
        """Return everything that can go wrong here."""
        if self.kind is Kind.FILE:
            return FILE_MODES[:1] if self.name in _NOTHING_TO_FAIL else FILE_MODES
        modes = COMMIT_MODES if self.kind is Kind.COMMIT else CALL_MODES
        if self.kind is Kind.CALL and self.name in _WITH_EFFECT:
            modes += _LATE_MODES
        return [mode for mode in modes if self.ended or mode not in _AFTER]


class Watcher:
    """Records the boundaries that a run passes. A subclass lets one of them fail."""

    def __init__(self) -> None:
        self.passed: list[Boundary] = []
        self.names: set[str] = set()
        self._open: dict[Kind, int] = {}

    def __call__(self, name: str, about: object) -> None:
        """Hear of a failpoint: for `orchestrator.failpoints.watched`."""
        self.names.add(name)
        if name in _ENDS:
            nth = self._open.pop(_ENDS[name])
            before = self.passed[nth]
            self.passed[nth] = Boundary(nth, before.kind, before.name, before.about)
            self.at_end(self.passed[nth])
            return
        kind = _BEGINS.get(name, Kind.FILE)
        boundary = Boundary(len(self.passed), kind, *_told(name, about), ended=kind is Kind.FILE)
        self.passed.append(boundary)
        if kind is not Kind.FILE:
            self._open[kind] = boundary.nth
        self.at_begin(boundary)

    def at_begin(self, boundary: Boundary) -> None:
        """Stand in front of a boundary."""

    def at_end(self, boundary: Boundary) -> None:
        """Stand behind a boundary."""


@dataclass
class Strike:
    """One fault: at which boundary, counted over all lives of a run, and what goes wrong there.

    Without a mode, `pick` chooses one of those that the boundary met has.
    """

    nth: int
    mode: Mode | None = None
    pick: int = 0
    struck: Boundary | None = field(default=None, compare=False)

    def choose(self, boundary: Boundary) -> Mode:
        """Return the mode, now that it is known which boundary this is."""
        modes = replace(boundary, ended=True).modes()
        self.mode = self.mode or modes[self.pick % len(modes)]
        return self.mode


class Saboteur(Watcher):
    """Lets faults happen, each once, in the world that it watches."""

    def __init__(self, world: World, *strikes: Strike) -> None:
        super().__init__()
        self._world = world
        self._strikes = {strike.nth: strike for strike in strikes}

    def at_begin(self, boundary: Boundary) -> None:
        strike = self._strikes.get(boundary.nth)
        if strike is not None and strike.choose(boundary) not in _AFTER:
            self._hit(strike, boundary)

    def at_end(self, boundary: Boundary) -> None:
        strike = self._strikes.get(boundary.nth)
        if strike is not None and strike.mode in _AFTER:
            self._hit(strike, boundary)

    def _hit(self, strike: Strike, boundary: Boundary) -> None:
        strike.struck = boundary
        _do(self._world, boundary, strike.choose(boundary))


def _do(world: World, boundary: Boundary, mode: Mode) -> None:
    match mode:
        case Mode.CRASH_BEFORE | Mode.CRASH_AFTER:
            raise Crash
        case Mode.REFUSED:
            raise _database_error("the database refuses", invalidated=False)
        case Mode.UNACKNOWLEDGED:
            raise _database_error("the connection is gone", invalidated=True)
        case Mode.REQUEST_LOST | Mode.ANSWER_LOST:
            raise httpx.ReadTimeout("nothing came back")
        case Mode.DISK_FULL:
            raise OSError(errno.ENOSPC, "No space left on device")
        case Mode.IO_ERROR:
            raise OSError(errno.EIO, "Input/output error")
        case _:
            _order(world, boundary, mode)


def _order(world: World, boundary: Boundary, mode: Mode) -> None:
    """Have the sandbox let this very call go wrong, before what the scenario has ordered."""
    faults = {Mode.ERROR: Fault.SERVER_ERROR, Mode.THROTTLED: Fault.THROTTLED}
    op = _OPS.get(boundary.name) or boundary.name
    world.sandbox.inject(op, faults.get(mode, Fault.LATE), seconds=LATE_SECONDS.get(mode))  # type: ignore[arg-type]
    ordered = world.sandbox._misfortunes.ordered
    ordered.insert(0, ordered.pop())


def _database_error(words: str, *, invalidated: bool) -> sa.exc.OperationalError:
    error = sa.exc.OperationalError("COMMIT", {}, Exception(words))
    error.connection_invalidated = invalidated
    return error


def _told(name: str, about: object) -> tuple[str, str]:
    """Return the name of a boundary and what it is about."""
    if name == "registry.commit":
        return site_of_the_commit(), steps_on_the_way()
    if name == "call.send":
        return str(about), ""
    if isinstance(about, Path):
        return name, about.name.split(".")[1 if about.name.startswith(".") else 0]
    return name, ""


def _frames() -> Any:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def site_of_the_commit() -> str:
    """Return the name that the scan gives to whoever called `Registry.write`."""
    frames = _frames()
    for frame in frames:
        if frame.f_code is Registry.write.__code__:
            caller = next(frames)
            module = str(caller.f_globals["__name__"])
            return site_at(module, caller.f_code.co_qualname, caller.f_lineno)
    raise LookupError("a commit outside of Registry.write")


def steps_on_the_way() -> str:
    """Return the function of a step that led to this commit, where the site is shared by many."""
    for frame in _frames():
        module = str(frame.f_globals["__name__"])
        if module.startswith("orchestrator.engine.steps."):
            return str(frame.f_code.co_qualname).split(".")[0]
    return ""
