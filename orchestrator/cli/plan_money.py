"""What a plan says of tokens and money: expected where that was measured, and at most."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from orchestrator import human

if TYPE_CHECKING:
    from orchestrator.api import Plan
    from orchestrator.domain.estimating import Estimate
    from orchestrator.domain.money import Money

_ENOUGH = "enough for all of it"
_LIKELY = "likely enough: where it is not sure, further batches wait for the cost of earlier ones"
_SHORT = "less than it is expected to cost: the job is held before the budget is passed"
_REFUSED = "can't be kept: submit refuses, orchestrator help ORC7014"
_UNBOUNDED = "can't be kept without a bound on answers: --set body.max_tokens=N"


def tokens_line(found: Estimate) -> str:
    """Return tokens in and out, with how sure that is."""
    low, high = human.short(found.tokens_in_low), human.short(found.tokens_in_high)
    line = f"about {human.short(found.tokens_in)} in ({low} to {high})"
    if found.tokens_out is not None:
        line += f", about {human.short(found.tokens_out)} out"
    if found.tokens_out_max is not None:
        line += f", up to {human.short(found.tokens_out_max)} out"
    elif found.tokens_out is None:
        line += ", out unknown (no max_tokens in the request)"
    if found.answers:
        line += f"; measured over {human.plural(found.answers, 'earlier answer')}"
    return line


def cost_words(found: Estimate, models: str) -> tuple[str, str]:
    """Return the cost, and beside it what the same costs outside a batch."""
    if found.expected is not None:
        most = f", at most {shown(found.at_most)}" if found.at_most is not None else ""
        beside = _saving(found.expected, found.online_expected)
        return f"about {shown(found.expected)}{most}", beside
    if found.at_most is not None:
        return f"up to {shown(found.at_most)}", _saving(found.at_most, found.online_at_most)
    if found.input_cost is None:
        return f"unknown: no price of {models} in the profile", ""
    return f"at least {shown(found.input_cost)}", "for the input alone; the answers have no bound"


def _saving(inside: Money, outside: Money | None) -> str:
    if outside is None or not outside.amount:
        return ""
    saved = outside - inside
    share = int(Decimal(100) * saved.amount / outside.amount)
    return f"online price {shown(outside)}, you save {shown(saved)} ({share} %)"


def budget_lines(made: Plan) -> Iterator[tuple[str, str, str]]:
    """Yield the job's budget, and whether it is enough."""
    limit = budget_of(made)
    if limit is not None:
        yield "budget", shown(limit), _enough(limit, made.estimate)


def budget_of(made: Plan) -> Money | None:
    """Return the budget of a planned job. Raises UsageError for one that is no money."""
    from orchestrator.engine.admission import read_budget  # noqa: PLC0415 - help needs none of it

    return read_budget(made.spec.budget)


def _enough(limit: Money, found: Estimate) -> str:
    most, expected = found.at_most, found.expected
    if most is None:
        known = found.input_cost is not None and found.tokens_out_max is None
        return _UNBOUNDED if known else _REFUSED
    if most.currency != limit.currency:
        return f"can't be kept: it is paid in {most.currency}"
    if most.amount <= limit.amount:
        return _ENOUGH
    return _LIKELY if expected is None or expected.amount <= limit.amount else _SHORT


def shown(amount: Money | None) -> str:
    """Return `$5.91`."""
    return human.money(amount.amount, amount.currency) if amount is not None else "unknown"
