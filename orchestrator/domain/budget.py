"""Budgets: what may be sent so that no limit is ever passed. Decided before a batch is made.

What was spent, what all that is in flight may cost at most, and what the next batch may cost at
most together stay within each limit. All amounts are in 10**-12 of the limit's currency.

At most means: every answer at the longest that its body allows, and for the prompt one token a byte
of its line, as no tokenizer makes more of it. Once the job has results of its own, the prompt is
taken at the worst ratio of used to estimated tokens that one of its batches had, and a quarter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.domain.model import Job
from orchestrator.domain.money import Money
from orchestrator.domain.packing import Load
from orchestrator.domain.profile import Price
from orchestrator.domain.spec import read_guards
from orchestrator.domain.tariff import Rates
from orchestrator.domain.units import parse_money

ENOUGH = 20
"""Answers that tell their usage before a job's own ratio counts."""

_FRAME = 8
"""Tokens that a short prompt may have beyond any ratio: what a provider lays around it."""

_WORTHWHILE = 4
"""While others are in flight, a batch is cut to no less than a quarter: their end makes room."""

_REST = 20
"""The last twentieth of a limit is not cut into ever smaller batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLimits:
    """What all jobs of one provider may spend there."""

    per_day: Money | None = None
    total: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """The limits of the configuration. `per_day` is for all jobs together."""

    per_day: Money | None = None
    providers: Mapping[str, ProviderLimits] = field(default_factory=dict)

    def of(self, provider: str) -> ProviderLimits:
        """Return the limits of a provider."""
        return self.providers.get(provider, _NO_LIMITS)


_NO_LIMITS = ProviderLimits()


def budget_of(job: Job) -> Money | None:
    """Return the budget in force of a job: what was set later, else what it was declared with."""
    text = job.budget or read_guards(job.spec).budget
    return parse_money(text) if text else None


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What a token may cost at most: the dearest of the prices that may come to be in force."""

    fresh: int
    out: int

    @staticmethod
    def of(prices: Sequence[Price]) -> Ceiling:
        """Return the ceiling of some prices of one currency."""
        rates = [Rates.of(price) for price in prices]
        return Ceiling(
            max(max(rate.fresh, rate.cached) for rate in rates), max(rate.out for rate in rates)
        )


def at_most(load: Load, ceiling: Ceiling, ratio: int | None) -> int | None:
    """Return what requests may cost at most; None where an answer has no bound.

    `ratio`: the job's worst one of used to estimated tokens of a prompt in thousandths, None
    before it has results.
    """
    if load.est_out is None:
        return None
    if ratio is not None:
        tokens = -(-load.est_in * ratio * 5 // 4_000) + _FRAME * load.requests
    else:
        # The input of a batch that was taken in is not ours, so that nobody has measured it.
        tokens = load.bytes or 4 * load.est_in + _FRAME * load.requests
    return tokens * ceiling.fresh + load.est_out * ceiling.out


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit and how far it is used. `code` tells which kind it is; `whose` names it."""

    code: str
    whose: str
    money: Money
    amount: int
    spent: int
    in_flight: int

    @property
    def room(self) -> int:
        """What may still be planned."""
        return self.amount - self.spent - self.in_flight


@dataclass(frozen=True, slots=True)
class Go:
    """Send this many of the next requests."""

    count: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing until what is in flight has ended: it may cost less than it might."""

    limit: Limit


@dataclass(frozen=True, slots=True)
class Stop:
    """Send nothing: the limit is reached, and nothing in flight will change that."""

    limit: Limit


def decide(limits: Sequence[Limit], costs: Sequence[int]) -> Go | Wait | Stop:
    """Say how many of the next requests may be sent; `costs` is what each may cost at most."""
    tightest = min(limits, key=lambda limit: limit.room, default=None)
    if tightest is None:
        return Go(len(costs))
    count, room = 0, tightest.room
    for cost in costs:
        room -= cost
        if room < 0:
            break
        count += 1
    if tightest.in_flight and count * _WORTHWHILE < len(costs):
        return Wait(tightest)
    crumbs = count < len(costs) and tightest.room * _REST < tightest.amount
    return Stop(tightest) if crumbs or not count else Go(count)
