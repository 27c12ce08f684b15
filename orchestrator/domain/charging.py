"""Charges: what answers of one kind have used, and what that costs, in whole numbers.

Amounts are in 10**-12 of a currency, so that a token's price is whole wherever a price per million
tokens has at most six decimals: sums are exact, in whatever order and in however many parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from orchestrator.domain.model import ChargeKind
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price
from orchestrator.domain.tariff import PLACES, Rates


@dataclass(slots=True)
class Used:
    """Tokens of answers, added up one by one.

    `unknown` counts answers that tell no usage; `excess` the cached tokens beyond a prompt's own,
    which are nobody's. The estimates are those of the answers that tell their usage, so that both
    may be compared.
    """

    requests: int = 0
    unknown: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    excess: int = 0
    est_in: int = 0
    est_out: int = 0

    def add(
        self,
        tokens_in: int | None,
        tokens_out: int | None,
        tokens_cached: int | None,
        est_in: int,
        est_out: int | None,
    ) -> None:
        """Count one more answer in."""
        self.requests += 1
        if tokens_in is None and tokens_out is None:
            self.unknown += 1
            return
        whole, cached = tokens_in or 0, tokens_cached or 0
        self.tokens_in += whole
        self.tokens_out += tokens_out or 0
        self.tokens_cached += cached
        if cached > whole:
            self.excess += cached - whole
        self.est_in += est_in
        self.est_out += est_out or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What some answers of one kind used and cost. `unpriced` counts those whose cost is unknown.

    `amount`, and `online` for the same outside a batch, are in 10**-12 of `currency`, which is
    empty where nothing has a price. Where no online price is known, `online` is the batch's own.
    """

    kind: ChargeKind
    requests: int = 0
    unpriced: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    est_in: int = 0
    est_out: int = 0
    amount: int = 0
    online: int = 0
    currency: str = ""


def charge(kind: ChargeKind, used: Used, price: Price | None) -> Charge:
    """Return what `used` costs at `price`; all of it is unpriced where there is none."""
    cached = used.tokens_cached - used.excess
    fresh = used.tokens_in - cached
    rates = Rates.of(price) if price else None
    return Charge(
        kind=kind,
        requests=used.requests,
        unpriced=used.unknown if rates else used.requests,
        tokens_in=used.tokens_in,
        tokens_out=used.tokens_out,
        tokens_cached=used.tokens_cached,
        est_in=used.est_in,
        est_out=used.est_out,
        amount=rates.amount(fresh, cached, used.tokens_out) if rates else 0,
        online=rates.online(fresh, cached, used.tokens_out) if rates else 0,
        currency=price.currency if price else "",
    )


def priced_anew(known: Charge, price: Price | None) -> Charge:
    """Return a charge that had no price at all at the one that is known by now."""
    told = known.tokens_in or known.tokens_out
    if price is None or not told or known.unpriced < known.requests:
        return known
    used = Used(
        requests=known.requests,
        tokens_in=known.tokens_in,
        tokens_out=known.tokens_out,
        tokens_cached=min(known.tokens_cached, known.tokens_in),
        est_in=known.est_in,
        est_out=known.est_out,
    )
    return charge(known.kind, used, price)


def money(amount: int, currency: str) -> Money:
    """Return an amount of the ledger as money, exact, without zeros that say nothing."""
    exact = Decimal(amount).scaleb(-PLACES).normalize()
    whole = int(exact.as_tuple().exponent) > 0
    return Money(exact.quantize(Decimal(1)) if whole else exact, currency)


def in_units(amount: Decimal) -> int:
    """Return an amount of money in the ledger's unit; what is finer is cut off."""
    return int(amount.scaleb(PLACES))


WASTE = frozenset(set(ChargeKind) - {ChargeKind.ANSWERED})
"""Kinds of charges that brought no answer that counts."""


def totals(charges: Iterable[Charge]) -> dict[str, int]:
    """Add amounts up by currency; currencies are never added to each other."""
    found: dict[str, int] = {}
    for each in charges:
        if each.currency:
            found[each.currency] = found.get(each.currency, 0) + each.amount
    return found
