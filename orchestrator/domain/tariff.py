"""A price in whole numbers: what `cost.actual` says, for millions of single answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, overload

from orchestrator.domain.profile import Price

PLACES = 12
"""Decimals of every amount: a price per million tokens has at most six."""

_UNITS = 1_000_000
"""A price of one per million tokens is a million of 10**-12 a token."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a single token costs in 10**-12 of the currency, in a batch and outside one."""

    fresh: int
    cached: int
    out: int
    online_fresh: int
    online_cached: int
    online_out: int

    @staticmethod
    def of(price: Price) -> Rates:
        """Return the rates of a price. Without an online price these are the batch's own.

        The online price of cached input keeps the batch's ratio, rounded down: no page states it.
        """
        fresh, cached, out = (_whole(p) for p in (price.input, price.cached_input, price.output))
        if price.online_input is None or price.online_output is None:
            return Rates(fresh, cached, out, fresh, cached, out)
        online = _whole(price.online_input)
        online_cached = cached * online // fresh if fresh else online
        return Rates(fresh, cached, out, online, online_cached, _whole(price.online_output))

    def amount(self, fresh: int, cached: int, out: int) -> int:
        """Return what so many tokens cost in a batch."""
        return fresh * self.fresh + cached * self.cached + out * self.out

    def online(self, fresh: int, cached: int, out: int) -> int:
        """Return what they would cost outside one."""
        return fresh * self.online_fresh + cached * self.online_cached + out * self.online_out


def _whole(price: Decimal) -> int:
    return int((price * _UNITS).to_integral_value(ROUND_CEILING))


class Tariff:
    """Exact sums of token prices as integers, and amounts as they are written."""

    def __init__(self, price: Price) -> None:
        self._rates = Rates.of(price)
        self.currency = price.currency

    def units(self, tokens_in: int | None, tokens_out: int | None, cached: int | None) -> int:
        """Return the price of one answer; `cached` of the tokens in come at the cached price."""
        whole = tokens_in or 0
        part = max(0, min(cached or 0, whole))
        return self._rates.amount(whole - part, part, tokens_out or 0)

    def usual(self, usage: Iterable[tuple[int, int, int]]) -> list[int]:
        """Return the prices of answers by tokens in, out and, of those in, cached ones."""
        fresh, cached, out = self._rates.fresh, self._rates.cached, self._rates.out
        return [
            (whole - part) * fresh + part * cached + given * out for whole, given, part in usage
        ]

    def written(self, units: int) -> str:
        """Return an amount as a decimal number, exact, without an exponent."""
        digits = str(units).rjust(PLACES + 1, "0")
        fraction = digits[-PLACES:].rstrip("0")
        whole = digits[:-PLACES]
        return f"{whole}.{fraction}" if fraction else whole

    def read(self, amount: str) -> int:
        """Return the units of an amount that was written."""
        return int(Decimal(amount).scaleb(PLACES))


class Costs(Sequence[str | None]):
    """Amounts under one tariff, written only where they are looked at. None is not known."""

    def __init__(self, tariff: Tariff, units: list[int | None]) -> None:
        self.tariff = tariff
        self.units = units

    def __len__(self) -> int:
        return len(self.units)

    @overload
    def __getitem__(self, index: int) -> str | None: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str | None]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Costs(self.tariff, self.units[index])
        units = self.units[index]
        return None if units is None else self.tariff.written(units)

    def __setitem__(self, index: int, amount: str | None) -> None:
        self.units[index] = None if amount is None else self.tariff.read(amount)
