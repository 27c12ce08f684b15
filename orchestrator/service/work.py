"""Being at work: one worker with a lease that is renewed, alone on an SQLite registry."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Connection

from orchestrator import __version__
from orchestrator.app import App
from orchestrator.domain.errors import AlreadyRunning, RegistryError
from orchestrator.engine.context import Context
from orchestrator.registry import fitness, workers

_BEATS_A_LEASE = 3

_PATIENCE = 0.5
"""Seconds for which the lock is tried: a look whether it is held takes it for an instant, and a
process that was killed a moment ago may not be gone yet."""

_BETWEEN_TRIES = 0.05
_KIND_BYTES = 16

_TICK_CHECK_SECONDS = 1.0
"""A one-shot may come every minute: it looks for damage no longer than this."""


@contextmanager
def at_work(
    app: App, kind: str, *, stopping: Callable[[], bool] = lambda: False
) -> Iterator[Context]:
    """Hold a worker's lease, and on SQLite the whole registry, for as long as the block runs.

    Raises AlreadyRunning when another worker holds this SQLite registry. A lease that was lost
    (database away for too long, process paused) makes every further send stop with ClaimLost.
    """
    with ExitStack() as stack:
        registry = app.writing()
        if registry.path is not None:
            stack.enter_context(_alone(registry.path, kind))
            registry.take_charge()
        fitness.check(
            registry,
            monotonic=app.clock.monotonic,
            seconds=_TICK_CHECK_SECONDS if kind == "tick" else fitness.CHECK_SECONDS,
        )
        lease = _Lease(app, kind)
        lease.begin(alone=registry.path is not None)
        stack.callback(lease.end)
        ctx = app.context(
            worker=lease.worker,
            actor=f"{kind}@{socket.gethostname()}",
            stopping=stopping,
            lease_left=lease.left,
        )
        if registry.path is not None:
            ctx.spool.prepare(clean=True)
        else:
            _clean_after_the_dead(ctx)
        yield ctx


def _clean_after_the_dead(ctx: Context) -> None:
    """Remove what dead workers have left in the spool of this machine; others may be alive."""
    now = ctx.now()
    with ctx.registry.read() as db:
        ctx.spool.clean_after(
            lambda owner: not workers.is_alive(db, owner, now), unix=now.timestamp()
        )


def holder(path: Path) -> str:
    """Return the kind of the worker that holds, or last held, the SQLite registry at `path`."""
    try:
        return _lock_of(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def is_held(path: Path) -> bool:
    """Whether a worker holds the SQLite registry at `path` now."""
    try:
        with _alone(path, None, patience=0.0):
            return False
    except AlreadyRunning:
        return True


@contextmanager
def _alone(path: Path, kind: str | None, *, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold the lock beside an SQLite registry; the system lets go of it when the process ends.

    The file says what `kind` of worker holds it; None leaves what it says.
    """
    handle = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + patience
        while not _locked(handle):
            if time.monotonic() >= until:
                raise AlreadyRunning(
                    "another daemon, tick or watch works on this registry",
                    where=str(path),
                    safe="it goes on; nothing was changed here",
                    next="orchestrator status",
                )
            time.sleep(_BETWEEN_TRIES)
        if kind is not None:
            os.pwrite(handle, kind.encode().ljust(_KIND_BYTES), 0)
        yield
    finally:
        os.close(handle)


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Lease:
    """A worker's row, renewed by a small thread of its own at a third of its length."""

    def __init__(self, app: App, kind: str) -> None:
        self.worker = secrets.token_hex(16)
        self._app = app
        self._kind = kind
        self._length = timedelta(seconds=app.pace.lease_seconds)
        self._until = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def begin(self, *, alone: bool) -> None:
        """Enter the worker; the only one on its registry ends the leases of dead ones."""
        now = self._app.clock.now()
        began = self._app.clock.monotonic()

        def work(db: Connection) -> None:
            if alone:
                workers.end_all(db, now)
            workers.begin(
                db,
                worker=self.worker,
                kind=self._kind,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                now=now,
                lease=self._length,
            )

        self._app.registry.write(work)
        self._until = began + self._length.total_seconds()
        self._thread.start()

    def left(self) -> float:
        """Return for how many seconds the lease holds for sure, by the monotonic clock."""
        return self._until - self._app.clock.monotonic()

    def end(self) -> None:
        """Stop renewing and give the lease back, if the database answers."""
        self._ended.set()
        self._thread.join()
        try:
            now = self._app.clock.now()
            self._app.registry.write(lambda db: workers.end(db, self.worker, now))
        except RegistryError:
            return  # the lease ends by itself

    def _keep(self) -> None:
        while not self._ended.wait(self._length.total_seconds() / _BEATS_A_LEASE):
            began = self._app.clock.monotonic()
            try:
                renewed = self._app.registry.write(self._beat)
            except RegistryError:
                continue  # doubt: `left` runs down, and sends stop before it is over
            if renewed:
                self._until = began + self._length.total_seconds()
            else:
                self._until = 0.0
                return

    def _beat(self, db: Connection) -> bool:
        now = self._app.clock.now()
        return workers.beat(db, self.worker, now=now, lease=self._length)
