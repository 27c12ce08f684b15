"""The outcomes of a job for programs: rows in source order, and how many there are."""

from __future__ import annotations

from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Job
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.engine.outcome_rows import Rows, outcomes_after
from orchestrator.registry import outcomes
from orchestrator.registry.session import Registry
from orchestrator.sinks.port import OutcomeRow


def rows(registry: Registry, job: Job, where: Filter = (), prices: Prices = no_prices) -> Rows:
    """Return the outcomes that match, a chunk at a time, in constant memory."""
    return Rows(registry, job, where, prices)


def count(registry: Registry, job: Job, where: Filter = ()) -> int:
    """Count the records that match; without a filter nothing is scanned."""
    if not where:
        return job.books.records
    with registry.read() as db:
        return outcomes.count(db, job.id, where)


def after(
    registry: Registry,
    job: Job,
    seen: tuple[int, int],
    limit: int,
    prices: Prices = no_prices,
) -> list[tuple[int, int, OutcomeRow]]:
    """Return outcomes as they were recorded, behind the stamp and id of the last one `seen`."""
    return outcomes_after(registry, job, *seen, limit, prices)
