"""What was spent, as Python has it: money by job, model, day, provider or kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from orchestrator.api.costing import By, CostLine, cost_lines
from orchestrator.client.looking import Look
from orchestrator.domain.errors import UsageError
from orchestrator.domain.money import Money
from orchestrator.domain.units import parse_duration

Since = str | date | None
"""A day (UTC), or an age: `2026-09-01`, `30d`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one job, model, day, provider or kind has used and cost, in one currency.

    `estimated` takes every answer at its longest. `wasted` is the part of `cost` that brought no
    answer that counts. `saved` is what the same would have cost more online. None is unknown;
    `unpriced` counts the requests that no price is known for.
    """

    name: str
    requests: int
    unpriced: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    estimated: Money | None
    cost: Money | None
    wasted: Money | None
    saved: Money | None


def costs(look: Look, by: By, since: Since, job: str | None) -> list[Cost]:
    """Return what was spent since a day, of one job or of all. Raises NotFound, UsageError."""
    day = _day(since, look.now())
    if look.is_empty:
        return []
    lines = cost_lines(look.registry, by=by, since=day, job=job, prices=look.day_prices)
    return [_cost(line) for line in lines]


def _cost(line: CostLine) -> Cost:
    return Cost(
        name=line.name,
        requests=line.requests,
        unpriced=line.unpriced,
        tokens_in=line.tokens_in,
        tokens_out=line.tokens_out,
        tokens_cached=line.tokens_cached,
        estimated=line.money(line.estimated),
        cost=line.money(line.amount),
        wasted=line.money(line.wasted),
        saved=line.money(line.online - line.amount),
    )


def _day(since: Since, now: datetime) -> date | None:
    if since is None or isinstance(since, date):
        return since
    try:
        return date.fromisoformat(since)
    except ValueError:
        pass
    try:
        return (now - parse_duration(since)).date()
    except ValueError as error:
        raise UsageError(
            "since is neither a day nor an age", why=str(error), next='since="2026-09-01", or "30d"'
        ) from None
