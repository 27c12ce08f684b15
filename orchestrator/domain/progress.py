"""How far a job is, how fast it goes, when it may end and what it costs: arithmetic over counts.

Everything comes from counts that are kept with the rows; nothing here asks for a scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from orchestrator.domain import cost
from orchestrator.domain.charging import WASTE, Charge, money
from orchestrator.domain.model import BatchState, Books, Job
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price
from orchestrator.domain.transitions import SETTLED

S = BatchState

ON_ITS_WAY = frozenset(
    {
        S.PLANNED,
        S.BUILT,
        S.UPLOADING,
        S.UPLOAD_UNKNOWN,
        S.UPLOADED,
        S.CREATING,
        S.CREATE_UNKNOWN,
    }
)
"""States before the provider is known to have made a batch."""

ENDED = frozenset({S.REMOTE_DONE, S.COLLECTED})

_ENOUGH = 3
"""Ended batches that it takes to say how long one takes."""

_FARTHEST = timedelta(days=366)
"""An end farther away is not foretold: few batches in flight say little about thousands."""

Prices = Callable[[str, str], Price | None]
"""Returns the price of a provider's model, None where it is not known."""


DayPrices = Callable[[str, str, date], Price | None]
"""Returns the price of a provider's model on a day, None where it is not known."""


def no_day_prices(_provider: str, _model: str, _day: date) -> None:
    """Know of no price."""


def no_prices(_provider: str, _model: str) -> None:
    """Know of no price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchGroup:
    """Batches of one job in one state, with one model at one provider, counted together.

    `reported` sums what the provider counts as done and we have not recorded. `since` is the
    earliest moment that one of them came into the state, `due_at` the next that one is looked at.
    """

    job_id: int
    state: BatchState
    provider: str
    model: str
    batches: int
    requests: int
    reported: int = 0
    odd: int = 0
    since: datetime
    due_at: datetime
    looked_at: datetime | None = None
    last_created_at: datetime | None = None
    first_window_ends: datetime | None = None
    last_window_ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """The parts of the open records; they add up to `total`.

    `reported`: the provider says done, we have no outcome yet. `again`: how many of the waiting
    ones were asked before; None where that is not kept.
    """

    reported: int
    in_flight: int
    waiting: int
    again: int | None

    @property
    def total(self) -> int:
        """All open records."""
        return self.reported + self.in_flight + self.waiting


def split_open(books: Books, groups: Iterable[BatchGroup]) -> Open:
    """Split the open records of a job; reported ones are never more than are in flight."""
    settled, reported = 0, 0
    for group in groups:
        settled += group.batches if group.state in SETTLED else 0
        reported += group.reported
    known = max(0, min(reported, books.in_flight))
    never_again = not settled or not books.waiting
    return Open(
        reported=known,
        in_flight=books.in_flight - known,
        waiting=books.waiting,
        again=0 if never_again else None,
    )


def pace(books: Books, began: datetime, until: datetime) -> float | None:
    """Return records recorded an hour from `began` to `until`; None before the first."""
    seconds = (until - began).total_seconds()
    return books.recorded * 3600 / seconds if books.recorded and seconds > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """When a job may end, and how that is known. Without a range, `how` says why there is none."""

    earliest: datetime | None = None
    latest: datetime | None = None
    how: str
    first_window_ends: datetime | None = None


def usual(turnarounds: Sequence[float]) -> tuple[timedelta, timedelta] | None:
    """Return between what most batches took: without the fastest and the slowest tenth.

    `turnarounds` are seconds from creation to end. None for fewer than three.
    """
    if len(turnarounds) < _ENOUGH:
        return None
    ordered = sorted(turnarounds)
    cut = len(ordered) // 10
    return timedelta(seconds=ordered[cut]), timedelta(seconds=ordered[-1 - cut])


def finish(
    books: Books, groups: Sequence[BatchGroup], turnarounds: Sequence[float], now: datetime
) -> Finish:
    """Estimate when a job with open records ends, from how long earlier batches took.

    Waiting records are taken to travel in further batches, one after another, as many at a time
    as are in flight now. Never earlier than `now`.
    """
    ends = [g.first_window_ends for g in groups if g.first_window_ends and g.state is S.LIVE]
    window = min(ends, default=None)
    if any(group.state is S.PARKED for group in groups):
        return Finish(how="a parked batch waits for you", first_window_ends=window)
    known = usual(turnarounds)
    if known is None:
        return Finish(how="no history with this model yet", first_window_ends=window)
    low, high = known
    earliest = latest = now
    for group in groups:
        if group.state in ON_ITS_WAY:
            began = now
        elif group.state is S.LIVE:
            began = group.last_created_at or now
        else:
            continue
        earliest, latest = max(earliest, began + low), max(latest, began + high)
    rounds = -(-books.waiting // max(1, books.in_flight or books.waiting))
    if rounds * high.total_seconds() > _FARTHEST.total_seconds():
        return Finish(how="too far away to tell", first_window_ends=window)
    return Finish(
        earliest=earliest + rounds * low,
        latest=latest + rounds * high,
        how=f"from the latest {len(turnarounds)} batches of this model that ended",
        first_window_ends=window,
    )


@dataclass(frozen=True, slots=True)
class Costs:
    """Money of a job; None is unknown: no price, no usage yet, or several currencies.

    `wasted` is the part of `so_far` that brought no answer that counts; `unpriced` how many answers
    it leaves out, as they have no price or tell no usage.
    """

    so_far: Money | None = None
    estimated: Money | None = None
    saved: Money | None = None
    wasted: Money | None = None
    unpriced: int = 0


def ledger_costs(job: Job, charges: Sequence[Charge]) -> Costs:
    """Return what a job cost by its ledger; open records are taken to cost what others did."""
    unpriced = sum(each.unpriced for each in charges)
    currencies = {each.currency for each in charges if each.currency}
    if len(currencies) != 1:
        return Costs(unpriced=unpriced)
    currency = currencies.pop()
    amount = sum(each.amount for each in charges)
    so_far = money(amount, currency)
    return Costs(
        so_far=so_far,
        estimated=_extrapolated(job.books, so_far, job.books.succeeded + job.books.failed),
        saved=money(sum(each.online for each in charges) - amount, currency),
        wasted=money(sum(each.amount for each in charges if each.kind in WASTE), currency),
        unpriced=unpriced,
    )


def costs(job: Job, used: Iterable[tuple[str, str]], prices: Prices) -> Costs:
    """Return the same of a job with nothing in the ledger: of an earlier release, or new.

    `used`: the providers and models of its batches. The total assumes that open records cost what
    those with an answer did.
    """
    found = [prices(provider, model) for provider, model in set(used)]
    if not found or any(price != found[0] for price in found) or found[0] is None:
        return Costs()
    tokens = (job.tokens_in, job.tokens_out, job.tokens_cached)
    answered = job.books.succeeded + job.books.failed
    if answered and not any(tokens):
        return Costs()  # this server tells no usage
    so_far = cost.actual(*tokens, found[0])
    return Costs(
        so_far=so_far,
        estimated=_extrapolated(job.books, so_far, answered),
        saved=cost.saved(*tokens, found[0]),
    )


def _extrapolated(books: Books, so_far: Money | None, answered: int) -> Money | None:
    if so_far is None or books.open == 0:
        return so_far
    if not answered:
        return None
    return Money(so_far.amount * (answered + books.open) / answered, so_far.currency)


def share_of(money: Money | None, part: int, whole: int) -> Money | None:
    """Return `part` of `whole` of an amount; None of what is unknown, or of nothing."""
    if money is None or not whole:
        return None
    return Money(money.amount * part / whole, money.currency)
