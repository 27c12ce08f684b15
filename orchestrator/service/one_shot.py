"""The one-shot: everything that is due, once. For cron, timers and the impatient."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.api.lookup import find_job
from orchestrator.app import App
from orchestrator.domain.errors import AlreadyRunning, RegistryAway, RegistryError
from orchestrator.engine.tick import Report, tick
from orchestrator.registry.session import Registry
from orchestrator.service.signals import Signals
from orchestrator.service.work import at_work

PATIENCE = 30.0
"""Seconds for which a one-shot waits for its database: a restart, not an outage."""

_BETWEEN_TRIES = 1.0


@dataclass(frozen=True, slots=True)
class OneShot:
    """What one tick did; `busy` when another worker held the SQLite registry and none was made."""

    report: Report
    busy: bool = False


def one_shot(
    app: App, signals: Signals, *, job: str | None = None, patience: float = PATIENCE
) -> OneShot:
    """Do everything that is due, once; for one job only, if `job` names one.

    Overlapping is no error: the one that comes second does nothing. TERM and INT end it after the
    running chunk. A database server that does not answer is waited for, `patience` seconds long.
    Raises NotFound for a job that is not there, RegistryAway, RegistryError.
    """
    registry = _reached(app, signals, patience)
    job_id = find_job(registry, job).id if job else None
    try:
        with at_work(app, "tick", stopping=signals.stopping) as ctx:
            return OneShot(tick(ctx, job_id=job_id))
    except AlreadyRunning:
        return OneShot(Report(), busy=True)


def _reached(app: App, signals: Signals, patience: float) -> Registry:
    until = app.clock.monotonic() + patience
    while True:
        try:
            return app.writing()
        except RegistryError as error:
            if app.registry.dialect == "sqlite" or error.code != RegistryError.default_code:
                raise
            if signals.stopping() or app.clock.monotonic() >= until:
                raise _away(error) from error
        signals.wait(min(_BETWEEN_TRIES, max(0.0, until - app.clock.monotonic())))


def _away(error: RegistryError) -> RegistryAway:
    return RegistryAway(
        error.message,
        code=error.code,
        where=error.where,
        why=error.why,
        safe=error.safe,
        next=error.next,
    )
