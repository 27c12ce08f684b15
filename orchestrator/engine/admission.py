"""What a job must bring so that its guards can be kept: asked before anything is registered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.domain.budget import Budgets
from orchestrator.domain.canary import COST, read_condition
from orchestrator.domain.cost import output_bound
from orchestrator.domain.errors import BudgetExceeded, GuardError, UsageError
from orchestrator.domain.holds import NO_BOUND, NO_PRICE, OTHER_CURRENCY
from orchestrator.domain.model import Job
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price, Profile
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.tally import ModelStats
from orchestrator.domain.units import parse_money
from orchestrator.engine.context import Context

BAD_CONDITION, BAD_BUDGET = "ORC1120", "ORC1121"
_SAFE = "nothing was registered, nothing was sent"


def admit(ctx: Context, spec: JobSpec, models: Sequence[ModelStats]) -> None:
    """Refuse a job whose budgets or canary can't be kept.

    Raises UsageError for what can't be read, BudgetExceeded and GuardError for what can't be kept.
    """
    profile = ctx.providers.profile(spec.provider)
    check_canary(spec)
    limits = tuple(limits_of(spec, ctx.budgets))
    for stats in models:
        prices = ctx.prices_from(spec.provider, stats.model, ctx.now().date())
        for whose, limit in limits:
            _keepable(whose, limit, prices, stats, profile)
        if not prices and _judges_cost(spec):
            raise _no_price("the canary's cost_per_record", stats.model, profile, GuardError)


def admit_unread(ctx: Context, spec: JobSpec) -> None:
    """Refuse what can be refused of a job before a record of it is there. Raises as `admit`."""
    if spec.model is None:
        return
    bound = output_bound(spec.body)
    one = ModelStats(
        spec.model,
        first_position=0,
        requests=1,
        tokens_out_known=bound or 0,
        unbounded=int(bound is None),
    )
    admit(ctx, spec, [one])


def limits_of(spec: JobSpec, budgets: Budgets) -> Iterator[tuple[str, Money]]:
    """Yield the budgets that a job would be under, each with whose it is."""
    theirs = budgets.of(spec.provider)
    for whose, limit in (
        ("the budget", read_budget(spec.budget)),
        (f"the budget of provider {spec.provider}", theirs.total),
        (f"the budget a day of provider {spec.provider}", theirs.per_day),
        ("the budget a day of all jobs", budgets.per_day),
    ):
        if limit is not None:
            yield whose, limit


def read_budget(text: str | None) -> Money | None:
    """Read an amount of money. Raises UsageError (ORC1121)."""
    if text is None:
        return None
    try:
        return parse_money(text)
    except ValueError as exc:
        raise UsageError(
            "the budget is no amount of money",
            code=BAD_BUDGET,
            why=str(exc),
            safe=_SAFE,
            next='--budget "25 USD"',
        ) from None


def check_canary(spec: JobSpec) -> None:
    """Read the canary's conditions. Raises UsageError (ORC1120)."""
    if spec.canary is None:
        return
    if spec.canary.records < 1:
        raise UsageError(
            f"a canary of {spec.canary.records} records shows nothing",
            code=BAD_CONDITION,
            safe=_SAFE,
            next="--canary 200",
        )
    for text in spec.canary.require:
        try:
            read_condition(text)
        except ValueError as exc:
            raise UsageError(
                "a condition of the canary can't be read",
                code=BAD_CONDITION,
                why=str(exc),
                safe=_SAFE,
                next='--require "failed < 2%"',
            ) from None


def check_raise(ctx: Context, job: Job, limit: Money) -> None:
    """Refuse another budget for a job whose prices are in another currency."""
    spec = ctx.spec_of(job)
    prices = ctx.prices_from(job.provider, spec.model or "", ctx.now().date())
    for price in prices:
        if price.currency != limit.currency:
            raise _other_currency("the budget", limit, price, spec.model or "")


def _judges_cost(spec: JobSpec) -> bool:
    required = spec.canary.require if spec.canary else ()
    return any(read_condition(text).name == COST for text in required)


def _keepable(
    whose: str, limit: Money, prices: Sequence[Price], stats: ModelStats, profile: Profile
) -> None:
    if not prices:
        raise _no_price(whose, stats.model, profile, BudgetExceeded)
    for price in prices:
        if price.currency != limit.currency:
            raise _other_currency(whose, limit, price, stats.model)
    if stats.tokens_out_max is None:
        raise BudgetExceeded(
            f"{whose} of {limit} can't be kept: nothing bounds the answers of {stats.model}",
            code=NO_BOUND,
            why=f"{stats.unbounded:,} of {stats.requests:,} requests set no max_tokens, "
            "so that nobody can say what they may cost",
            safe=_SAFE,
            next="--set body.max_tokens=256",
        )


def _no_price(what: str, model: str, profile: Profile, kind: type[GuardError]) -> GuardError:
    table = '{ currency = "USD", input = 0.57, cached_input = 0.10, output = 2.40 }'
    return kind(
        f"{what} can't be kept: the price of {model} is not known",
        code=NO_PRICE,
        why=f"the profile of {profile.title} has no price for it",
        safe=_SAFE,
        next=f'set providers.{profile.name}.prices: "{model}" = {table}',
    )


def _other_currency(whose: str, limit: Money, price: Price, model: str) -> BudgetExceeded:
    return BudgetExceeded(
        f"{whose} is in {limit.currency}, and {model} is paid in {price.currency}",
        code=OTHER_CURRENCY,
        why="two currencies can't be compared",
        safe="nothing was changed, nothing was sent",
        next=f"give it in {price.currency}",
    )
