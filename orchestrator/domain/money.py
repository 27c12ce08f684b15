"""Money: an exact amount in one currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one currency. `currency` is the ISO 4217 code."""

    amount: Decimal
    currency: str

    def __add__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same_currency(other)
        return Money(self.amount - other.amount, self.currency)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def rounded(self) -> Money:
        """Return the amount with two decimals, or what it takes to show that it is not nothing."""
        places = 2 if self.amount >= 1 or not self.amount else 2 - self.amount.adjusted()
        return Money(round(self.amount, places), self.currency)

    def to_dict(self) -> Mapping[str, str]:
        """Return the JSON form, the amount as text with at least two decimals and no rounding."""
        places = max(2, -int(self.amount.normalize().as_tuple().exponent))
        return {"amount": f"{self.amount:.{places}f}", "currency": self.currency}

    def _same_currency(self, other: Money) -> None:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not add up")
