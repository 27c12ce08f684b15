"""A price in whole numbers: what `cost.actual` says, for millions of single answers."""

from __future__ import annotations

from orchestrator.domain.profile import Price

_MILLION_DIGITS = 6


class Tariff:
    """Exact sums of token prices as integers, in units small enough for every price."""

    def __init__(self, price: Price) -> None:
        prices = (price.input, price.cached_input, price.output)
        places = max(0, *(-int(p.normalize().as_tuple().exponent) for p in prices))
        self._input, self._cached, self._output = (int(p.scaleb(places)) for p in prices)
        self._places = places + _MILLION_DIGITS
        self.currency = price.currency

    def units(self, tokens_in: int | None, tokens_out: int | None, cached: int | None) -> int:
        """Return the price of one answer; `cached` of the tokens in come at the cached price."""
        whole = tokens_in or 0
        part = max(0, min(cached or 0, whole))
        fresh = (whole - part) * self._input
        return fresh + part * self._cached + (tokens_out or 0) * self._output

    def written(self, units: int) -> str:
        """Return an amount as a decimal number, exact, without an exponent."""
        digits = str(units).rjust(self._places + 1, "0")
        fraction = digits[-self._places :].rstrip("0")
        whole = digits[: -self._places]
        return f"{whole}.{fraction}" if fraction else whole
