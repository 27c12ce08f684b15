"""Real processes that cost next to nothing: one imports everything once and forks for each run.

The tests' own process serves the sandbox from threads, so it must never fork itself.

    with nursery() as nursery:
        child = nursery.start(Order(folder=..., die_at="call.send create"))
        assert nursery.wait(child) == -signal.SIGKILL
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from orchestrator.domain.pacing import Pace

TESTS = Path(__file__).resolve().parent.parent

FAST = Pace(
    poll_min=0.02,
    poll_max=0.05,
    back_off_min=0.05,
    back_off_max=0.2,
    settle_seconds=0.15,
    revoke_seconds=0.02,
    file_grace=2.0,
    stale_seconds=1.0,
    lease_seconds=1.0,
    gate_probe=0.1,
)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a child does: goes on with the job of `folder`, and dies or stops at a boundary.

    `die_at`: the boundary at which it kills itself with SIGKILL, the `nth` time it comes there.
    `stop_at`: the one at which it stops itself with SIGSTOP, the first time. `traces`: where it
    writes the name of each boundary that it passes. `kind`: as what it enters itself.
    """

    folder: str
    traces: str = "trace"
    die_at: str = ""
    nth: int = 1
    stop_at: str = ""
    pace: Pace = FAST
    transfers: int = 1
    kind: str = "daemon"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the nursery is told: to start a child, or to wait until one stops or ends."""

    start: Order | None = None
    wait: int = 0


class Nursery:
    """The near end: orders go down a pipe, answers come back."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def start(self, order: Order) -> int:
        """Fork a child and return its process id."""
        return self._ask(Told(start=order))

    def wait(self, child: int) -> int:
        """Wait until a child ends or stops: its exit status, or a signal's number below zero."""
        return self._ask(Told(wait=child))

    def run(self, order: Order) -> int:
        """Start a child and wait for its end."""
        return self.wait(self.start(order))

    def _ask(self, told: Told) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(told) + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextlib.contextmanager
def nursery() -> Iterator[Nursery]:
    """Have a nursery; its children end with it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fleet.nursery"],
        cwd=TESTS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        yield Nursery(process)


def rear(orders: IO[bytes], answers: IO[bytes]) -> None:
    """Be the far end until the orders end."""
    from fleet import child  # noqa: PLC0415 - the near end needs none of it

    decode = msgspec.json.Decoder(Told).decode
    alive: set[int] = set()
    for line in orders:
        told = decode(line)
        if told.start is not None:
            answer = _fork(told.start, child.live)
            alive.add(answer)
        else:
            answer = _wait(told.wait)
            if answer != -signal.SIGSTOP:
                alive.discard(told.wait)
        answers.write(b"%d\n" % answer)
        answers.flush()
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


def _fork(order: Order, live: object) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = live(order)  # type: ignore[operator]
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _wait(pid: int) -> int:
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return -os.WSTOPSIG(status)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    rear(sys.stdin.buffer, sys.stdout.buffer)
