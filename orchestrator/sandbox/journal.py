"""A sandbox that outlives its process: events in a journal, bytes in blobs, both in one folder."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from orchestrator.domain.errors import ConfigError
from orchestrator.sandbox.blobs import DiskBlobs
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.events import AnyEvent, Event, Jumped, Started
from orchestrator.sandbox.temper import Temper


class Journal:
    """An append-only file of events, one JSON object a line, flushed at each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._decode = msgspec.json.Decoder(AnyEvent).decode
        self._whole = 0
        self.events = list(self._read())
        self._file = path.open("ab")
        # A line cut off by a crash was never answered for: what it tells did not happen.
        self._file.truncate(self._whole)

    def append(self, event: Event) -> None:
        """Write `event` down."""
        with self._lock:
            self._file.write(msgspec.json.encode(event) + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> Iterator[AnyEvent]:
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    event = self._decode(line)
                except msgspec.DecodeError as exc:
                    raise _damaged(self._path, number, exc) from exc
                self._whole += len(line)
                yield event


def open_sandbox(
    state_dir: Path,
    *,
    wall: Callable[[], float],
    temper: Temper,
    seed: int | str = 0,
    speed: float = 1.0,
    key: str | None = None,
) -> tuple[Sandbox, SandboxClock, Journal]:
    """Open the sandbox kept in `state_dir`, or begin one there.

    An old one goes on with its own seed, and with the time that would have passed had it never
    stopped; `temper` holds for new batches. `wall` returns Unix seconds. Raises ConfigError for a
    folder that can't be used or a damaged journal.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        blobs = DiskBlobs(state_dir / "blobs")
        journal = Journal(state_dir / "journal.jsonl")
    except OSError as exc:
        raise ConfigError(
            f"the sandbox can't keep its state in {state_dir}: {exc.strerror or exc}",
            code="ORC3802",
            next="choose a folder that this user may write to",
        ) from exc
    old = journal.events
    seeds = [event.seed for event in old if isinstance(event, Started)]
    clock = _resumed_clock(old, wall, speed)
    sandbox = Sandbox(
        clock,
        seed=seeds[0] if seeds else seed,
        temper=temper,
        blobs=blobs,
        key=key,
        record=journal.append,
    )
    now = clock()
    sandbox.replay(old)
    begun = Started(
        at=now,
        seed=sandbox.draws.seed,
        wall=wall(),
        speed=speed,
        temper=msgspec.to_builtins(temper),
    )
    journal.append(begun)
    sandbox.replay([begun])
    clock.jumped = lambda at: journal.append(Jumped(at=at, wall=wall()))
    journal.events = []
    return sandbox, clock, journal


def _resumed_clock(events: list[AnyEvent], wall: Callable[[], float], speed: float) -> SandboxClock:
    origin, old_speed, began = None, speed, 0.0
    for event in events:
        if isinstance(event, Started):
            origin, old_speed, began = event.at, event.speed, event.wall
        elif isinstance(event, Jumped):
            origin, began = event.at, event.wall
    if origin is None:
        return SandboxClock(wall, speed=speed)
    passed = max(0.0, wall() - began) * old_speed
    return SandboxClock(wall, speed=speed, origin=origin + passed)


def _damaged(path: Path, number: int, exc: Exception) -> ConfigError:
    return ConfigError(
        f"the sandbox's journal is damaged at line {number}: {exc}",
        code="ORC3802",
        where=str(path),
        safe="nothing was changed; a sandbox holds no real batches and costs nothing",
        next="choose an empty folder, or remove this one",
    )
