"""What a job may use and cost, with bounds: assumed before there are results, then measured.

Before any result of the model here, a prompt's tokens are those of `domain.cost`, 20 % less or
more, and an answer's are unknown up to their bound. Once there are results, the ratio of used to
estimated tokens and the mean answer are taken from them, and the ratio's spread over jobs and days
is the error, never less than 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from orchestrator.domain.charging import money
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price
from orchestrator.domain.tally import ModelStats
from orchestrator.domain.tariff import Rates

ASSUMED_ERROR = Fraction(20, 100)
LEAST_ERROR = Fraction(5, 100)


class Seen(NamedTuple):
    """What answers of a model have used, of one job on one day, beside their estimate."""

    answers: int
    est_in: int
    tokens_in: int
    tokens_out: int


History = Callable[[str, str], Sequence[Seen]]
"""Returns what a provider's model has used here so far."""


def no_history(_provider: str, _model: str) -> Sequence[Seen]:
    """Know of no earlier results."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How results compare with estimates. Ratios are used to estimated tokens of prompts."""

    answers: int
    ratio: Fraction
    lowest: Fraction
    highest: Fraction
    mean_out: Fraction


def measured(seen: Sequence[Seen]) -> Measured | None:
    """Compare; None where there is nothing to compare with."""
    told = [each for each in seen if each.est_in and each.tokens_in]
    answers = sum(each.answers for each in told)
    if not answers:
        return None
    ratio = Fraction(sum(each.tokens_in for each in told), sum(each.est_in for each in told))
    ratios = [Fraction(each.tokens_in, each.est_in) for each in told]
    return Measured(
        answers=answers,
        ratio=ratio,
        lowest=min(*ratios, ratio * (1 - LEAST_ERROR)),
        highest=max(*ratios, ratio * (1 + LEAST_ERROR)),
        mean_out=Fraction(sum(each.tokens_out for each in told), answers),
    )


_ASSUMED = Measured(
    answers=0,
    ratio=Fraction(1),
    lowest=1 - ASSUMED_ERROR,
    highest=1 + ASSUMED_ERROR,
    mean_out=Fraction(0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Tokens and money of a job. `answers`: results that it rests on, 0 where it is assumed.

    None is unknown: `tokens_out` without results, `tokens_out_max` without a bound, money without
    a price, or in two currencies.
    """

    answers: int
    tokens_in: int
    tokens_in_low: int
    tokens_in_high: int
    tokens_out: int | None
    tokens_out_max: int | None
    input_cost: Money | None = None
    expected: Money | None = None
    at_most: Money | None = None
    online_expected: Money | None = None
    online_at_most: Money | None = None


def estimate(stats: ModelStats, price: Price | None, seen: Sequence[Seen]) -> Estimate:
    """Estimate what the requests of one model use and cost."""
    found = measured(seen)
    base = found or _ASSUMED
    tokens = round(stats.tokens_in * base.ratio)
    high = -(-stats.tokens_in * base.highest // 1)
    most = stats.tokens_out_max
    out = None if found is None else round(stats.requests * found.mean_out)
    if out is not None and most is not None:
        out = min(out, most)
    expected, online_expected = _costs(tokens, out, price)
    at_most, online_at_most = _costs(int(high), most, price)
    return Estimate(
        answers=base.answers,
        tokens_in=tokens,
        tokens_in_low=int(stats.tokens_in * base.lowest),
        tokens_in_high=int(high),
        tokens_out=out,
        tokens_out_max=most,
        input_cost=_costs(tokens, 0, price)[0],
        expected=expected,
        at_most=at_most,
        online_expected=online_expected,
        online_at_most=online_at_most,
    )


def _costs(
    tokens_in: int, tokens_out: int | None, price: Price | None
) -> tuple[Money | None, Money | None]:
    if price is None or tokens_out is None:
        return None, None
    rates = Rates.of(price)
    inside = money(rates.amount(tokens_in, 0, tokens_out), price.currency)
    if price.online_input is None or price.online_output is None:
        return inside, None
    return inside, money(rates.online(tokens_in, 0, tokens_out), price.currency)


NOTHING = Estimate(
    answers=0,
    tokens_in=0,
    tokens_in_low=0,
    tokens_in_high=0,
    tokens_out=0,
    tokens_out_max=0,
)


def together(parts: Sequence[Estimate]) -> Estimate:
    """Add estimates of several models up; what is unknown of one is unknown of all."""
    return Estimate(
        answers=sum(part.answers for part in parts),
        tokens_in=sum(part.tokens_in for part in parts),
        tokens_in_low=sum(part.tokens_in_low for part in parts),
        tokens_in_high=sum(part.tokens_in_high for part in parts),
        tokens_out=_sum([part.tokens_out for part in parts]),
        tokens_out_max=_sum([part.tokens_out_max for part in parts]),
        input_cost=_total([part.input_cost for part in parts]),
        expected=_total([part.expected for part in parts]),
        at_most=_total([part.at_most for part in parts]),
        online_expected=_total([part.online_expected for part in parts]),
        online_at_most=_total([part.online_at_most for part in parts]),
    )


def _sum(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)


def _total(amounts: Sequence[Money | None]) -> Money | None:
    known = [amount for amount in amounts if amount is not None]
    if not known or len(known) < len(amounts) or len({each.currency for each in known}) > 1:
        return None
    whole = known[0]
    for amount in known[1:]:
        whole += amount
    return whole
