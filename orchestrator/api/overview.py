"""What needs you, and what is under way: the whole registry in one look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.api.needs import NeedsYou, needs_you
from orchestrator.api.stage_views import StageView, unfed
from orchestrator.api.views import Fleet, fleet
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.registry.session import Registry


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One look at a registry."""

    environment: str | None
    registry: str
    needs_you: tuple[NeedsYou, ...]
    fleet: Fleet
    stages: tuple[StageView, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        found = self.fleet
        return {
            "environment": self.environment,
            "registry": self.registry,
            "daemons": found.daemons,
            "workers": found.workers,
            "needs_you": [need.to_dict() for need in self.needs_you],
            "jobs": [view.to_dict() for view in found.jobs],
            "more_jobs": found.more_jobs,
            "stages": [view.to_dict() for view in self.stages],
            "batches_in_flight": found.batches_in_flight,
        }


def nothing_yet(registry: Registry, *, now: datetime, environment: str | None = None) -> Overview:
    """Return what is seen where nothing was ever submitted."""
    empty = Fleet(as_of=now, daemons=0, workers=0, jobs=(), more_jobs=0, batches_in_flight=0)
    return Overview(
        environment=environment, registry=registry.describe(), needs_you=(), fleet=empty
    )


def overview(
    registry: Registry,
    *,
    now: datetime,
    environment: str | None = None,
    limit: int = 20,
    prices: Prices = no_prices,
) -> Overview:
    """Look at everything that is under way, at most `limit` jobs, and at what needs a person."""
    return Overview(
        environment=environment,
        registry=registry.describe(),
        needs_you=tuple(needs_you(registry, now=now)),
        fleet=fleet(registry, now=now, limit=limit, prices=prices),
        stages=tuple(unfed(registry)),
    )
