"""The daemon: ticks for ever, drains on TERM, comes back from a lost lease or registry.

The scheduler is a ticker in memory and nothing more: what is due stands in the registry, so that a
tick may come late, twice or never.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from orchestrator.app import App
from orchestrator.domain.errors import AlreadyRunning, OrchestratorError, RegistryError
from orchestrator.domain.model import BatchState
from orchestrator.engine.context import Context
from orchestrator.engine.tick import Report, tick
from orchestrator.registry import batches, jobs
from orchestrator.registry.session import WAL_WARN
from orchestrator.service.signals import Signals
from orchestrator.service.work import at_work, holder
from orchestrator.settings import Configuration
from orchestrator.telemetry import Log

FIRST_RETRY = 1.0
LAST_RETRY = 60.0
"""Seconds between two tries to reach a lost registry, at first and at most."""

_NAMES_KEPT = 1_000
_SOONEST = timedelta(milliseconds=50)


class Ended(enum.Enum):
    """Why a stretch of work ended."""

    STOPPED = "stopped"
    RELOAD = "reload"
    LEASE_LOST = "lease lost"
    REGISTRY_LOST = "registry lost"


class Ticker:
    """Ticks in the background, again when the last report says so, at the latest after `interval`.

    `on_tick` is called in the ticking thread after each one. An error in a tick is logged and the
    next one comes; `failed` holds the last one until a tick succeeds.
    """

    def __init__(
        self,
        ctx: Context,
        interval: timedelta,
        log: Log,
        *,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._ctx = ctx
        self._interval = interval
        self._log = log
        self._on_tick = on_tick
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._stopped = False
        self._warned = False
        self.report: Report | None = None
        self.failed: BaseException | None = None
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            # Its one complaint, that a tick takes longer than the interval, is business as usual.
            logger=_silent_logger(),
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={
                # Ticks that were missed (a suspended machine) become one: it finds all that is due.
                "coalesce": True,
                # Two ticks of one process would fight over the same claims.
                "max_instances": 1,
                # However late a tick is, it is never too late to be useful.
                "misfire_grace_time": None,
            },
        )

    def start(self) -> None:
        """Tick now, then for ever."""
        self._scheduler.add_job(
            self._tick,
            _Again(self._interval),
            id="tick",
            next_run_time=self._ctx.now(),
        )
        # Told only when the run is over: asking for the next one earlier would meet max_instances.
        self._scheduler.add_listener(self._plan_next, EVENT_JOB_EXECUTED)
        self._scheduler.start()

    def stop(self, within: float) -> bool:
        """Start no further tick and wait for the running one; False if it takes longer."""
        with self._lock:
            self._stopped = True
        self._scheduler.pause()
        idle = self._idle.wait(within)
        # Not `wait=True`: it waits under the very lock that `_plan_next` may be asking for.
        self._scheduler.shutdown(wait=False)
        return idle

    @property
    def lost(self) -> bool:
        """Whether the lease is over: this ticker sends nothing any more."""
        return self._ctx.lease_left() <= 0

    def _tick(self) -> None:
        with self._lock:
            # The scheduler may have handed this run over before it was paused.
            if self._stopped:
                return
            self._idle.clear()
        try:
            self.report = tick(self._ctx)
            self.failed = None
            if self.report.idle:
                self._empty_the_log()
            else:
                self._log.event("ticked", steps=_words(self.report))
        except Exception as exc:  # a bug met in one tick must not end the service
            self.failed = exc
            self._log.failure("tick_failed", exc)
        finally:
            self._on_tick()
            self._idle.set()

    def _empty_the_log(self) -> None:
        """Bring SQLite's log into its file while nothing else is to be done; warn once if long."""
        left = self._ctx.registry.checkpoint()
        if left <= WAL_WARN:
            self._warned = False
        elif not self._warned:
            self._warned = True
            self._log.event("wal_long", megabytes=left // 1_000_000)

    def _plan_next(self, _event: object) -> None:
        now = self._ctx.now()
        at = now + self._interval
        next_at = self.report.next_at if self.report and self.failed is None else None
        if next_at is not None:
            at = max(now + _SOONEST, min(at, next_at))
        with contextlib.suppress(LookupError):
            self._scheduler.modify_job("tick", next_run_time=at)


class _Again(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """Fires an interval from now, whenever now is.

    The library's own interval lists every run that was missed before it makes one of them: after
    a week of sleep those are millions.
    """

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """Return when to fire next."""
        return now + self._interval


def _silent_logger() -> logging.Logger:
    logger = logging.getLogger("orchestrator.apscheduler")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def _words(report: Report) -> str:
    steps = [f"{number} {name}" for name, number in sorted(report.steps.items())]
    planned = [f"{report.planned} planned"] if report.planned else []
    seen = [f"{report.seen} looked at"] if report.seen else []
    put_off = [f"{report.put_off} put off"] if report.put_off else []
    return ", ".join([*planned, *steps, *seen, *put_off])


def run_daemon(
    configuration: Configuration,
    *,
    reload: Callable[[], Configuration],
    log: Log,
    signals: Signals,
    verbose: bool = False,
) -> None:
    """Work until TERM or INT, within `[daemon] drain` of it.

    Raises AlreadyRunning at the start when another daemon holds this SQLite registry, and
    RegistryError when it can't be used at all. A watch or tick that holds it is waited for, and so
    is a registry that is lost later.
    """
    pause = FIRST_RETRY
    began = False
    while True:
        try:
            with App(configuration, tell=log.told, on_call=log.on_call if verbose else None) as app:
                stretch = _Stretch(app, signals, log)
                ended = stretch.run()
            began, pause = True, FIRST_RETRY
        except (RegistryError, AlreadyRunning) as error:
            if not (began or _may_come_up(configuration, error)):
                raise
            kind = "registry_busy" if isinstance(error, AlreadyRunning) else "registry_lost"
            log.failure(kind, error, wait=int(pause))
            signals.wait(pause)
            pause = min(LAST_RETRY, pause * 2)
            ended = Ended.STOPPED if signals.stopping() else Ended.REGISTRY_LOST
        if ended is Ended.STOPPED:
            log.event("stopped")
            return
        if ended is Ended.LEASE_LOST:
            log.event("lease_lost")
        if signals.reload:
            signals.reload = False
            configuration = _reloaded(configuration, reload, log)


def _may_come_up(configuration: Configuration, error: OrchestratorError) -> bool:
    """Whether waiting at the start makes sense.

    It does for a database server that does not answer yet, and for an SQLite registry that a tick
    or a watch has: they end by themselves, and do the work until then. A daemon does not.
    """
    if isinstance(error, AlreadyRunning):
        with App(configuration) as app:
            path = app.registry.path
        return path is not None and holder(path) != "daemon"
    remote = not configuration.registry_label.startswith("sqlite")
    return remote and error.code == RegistryError.default_code


def _reloaded(old: Configuration, reload: Callable[[], Configuration], log: Log) -> Configuration:
    try:
        fresh = reload()
    except OrchestratorError as error:
        log.failure("reload_refused", error)
        return old
    log.event("reloaded")
    return fresh


class _Stretch:
    """Work under one lease: until a signal, or until the lease is lost."""

    def __init__(self, app: App, signals: Signals, log: Log) -> None:
        self._app = app
        self._signals = signals
        self._log = log
        self._names: dict[int, str] = {}

    def run(self) -> Ended:
        settings = self._app.configuration.settings.daemon
        leaving = threading.Event()
        with at_work(self._app, "daemon", stopping=leaving.is_set) as ctx:
            self._log.worker = ctx.worker
            self._log.names = self._name_of
            self._log.event(
                "started",
                registry=ctx.registry.describe(),
                worker_kind="daemon",
                pid=str(os.getpid()),
            )
            ticker = Ticker(ctx, settings.tick, self._log, on_tick=self._signals.ring)
            ticker.start()
            ended = self._wait(ctx)
            leaving.set()
            if ended is Ended.STOPPED:
                self._log.event("stopping")
            if not ticker.stop(settings.drain.total_seconds()):
                # A thread in the middle of a call can't be ended; its process can, at any moment.
                self._log.event("not_drained", drain=int(settings.drain.total_seconds()))
                _leave_now(self._signals.exit_status or 75)
        return ended

    def _wait(self, ctx: Context) -> Ended:
        while True:
            if self._signals.stopping():
                return Ended.STOPPED
            if self._signals.reload:
                return Ended.RELOAD
            if self._signals.status:
                self._signals.status = False
                self._status(ctx)
            if ctx.lease_left() <= 0:
                return Ended.LEASE_LOST
            self._signals.wait(max(0.05, min(ctx.lease_left(), 5.0)))

    def _status(self, ctx: Context) -> None:
        try:
            with ctx.registry.read() as db:
                open_jobs = jobs.active(db)
                found = [batch for job in open_jobs for batch in batches.unfinished(db, job.id)]
        except RegistryError as error:
            self._log.failure("tick_failed", error)
            return
        parked = sum(batch.state is BatchState.PARKED for batch in found)
        self._log.event("status", jobs=len(open_jobs), batches=len(found) - parked, parked=parked)

    def _name_of(self, job_id: int) -> str:
        if job_id not in self._names:
            if len(self._names) >= _NAMES_KEPT:
                self._names.clear()
            try:
                with self._app.registry.read() as db:
                    self._names.update(jobs.names(db, [job_id]))
            except RegistryError:
                return str(job_id)
        return self._names.get(job_id, str(job_id))


def _leave_now(status: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextlib.contextmanager
def working(app: App, kind: str, log: Log, *, on_tick: Callable[[], None]) -> Iterator[Ticker]:
    """Be the daemon for the length of the block: a lease, and a ticker in the background.

    Raises AlreadyRunning when another worker holds this SQLite registry.
    """
    leaving = threading.Event()
    with at_work(app, kind, stopping=leaving.is_set) as ctx:
        ticker = Ticker(ctx, app.configuration.settings.daemon.tick, log, on_tick=on_tick)
        ticker.start()
        try:
            yield ticker
        finally:
            leaving.set()
            ticker.stop(app.configuration.settings.daemon.drain.total_seconds())
