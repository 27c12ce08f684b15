"""The one-shot: everything that is due, once. For cron, timers and the impatient."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.api.lookup import find_job
from orchestrator.app import App
from orchestrator.domain.errors import AlreadyRunning
from orchestrator.engine.tick import Report, tick
from orchestrator.service.signals import Signals
from orchestrator.service.work import at_work


@dataclass(frozen=True, slots=True)
class OneShot:
    """What one tick did; `busy` when another worker held the SQLite registry and none was made."""

    report: Report
    busy: bool = False


def one_shot(app: App, signals: Signals, *, job: str | None = None) -> OneShot:
    """Do everything that is due, once; for one job only, if `job` names one.

    Overlapping is no error: the one that comes second does nothing. TERM and INT end it after the
    running chunk. Raises NotFound for a job that is not there, RegistryError.
    """
    registry = app.writing()
    job_id = find_job(registry, job).id if job else None
    try:
        with at_work(app, "tick", stopping=signals.stopping) as ctx:
            return OneShot(tick(ctx, job_id=job_id))
    except AlreadyRunning:
        return OneShot(Report(), busy=True)
