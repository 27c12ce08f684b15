"""Which faults a seed has, how often each strikes, and how often it did."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping

HOUR = 3_600.0
DAY = 24 * HOUR

RATES: Mapping[str, tuple[float, float]] = {
    # Per call
    "request lost": (0.01, 0.15),
    "answer lost": (0.01, 0.15),
    "applied late": (0.01, 0.12),
    "post repeated": (0.02, 0.15),
    "reordered": (0.02, 0.3),
    "throttled": (0.01, 0.1),
    "server error": (0.01, 0.1),
    "odd answer": (0.01, 0.1),
    # Per boundary
    "crash": (0.002, 0.02),
    "pause": (0.001, 0.015),
    "commit failed": (0.002, 0.02),
    "commit unacknowledged": (0.002, 0.02),
    # Of the provider
    "list lag": (5, 120),
    "lines spoilt": (0.01, 0.06),
    "batch rejected": (0.02, 0.15),
    "batch expired": (0.05, 0.3),
    "cancel ignored": (0.2, 1),
    # How many times
    "clock jump": (1, 4),
    "console cancel": (1, 3),
    "console delete": (1, 3),
    "key refused": (1, 2),
    "outage": (1, 2),
    "disk full": (1, 3),
}
"""Lowest and highest rate of each kind of fault: a share, a number, or seconds for the lag."""

SHARE = 0.25
"""Of the seeds that have a kind of fault."""


class Faults:
    """The faults of one seed, or those of `rates`. Off, none strikes any more."""

    def __init__(self, seed: int, rates: Mapping[str, float] | None = None) -> None:
        draw = random.Random(f"{seed}/plan")
        self.rates: dict[str, float] = {}
        for kind, (low, high) in RATES.items():
            chosen, place = draw.random() < SHARE, draw.random()
            if chosen:
                self.rates[kind] = math.exp(math.log(low) + place * math.log(high / low))
        if rates is not None:
            self.rates = dict(rates)
        self.rng = random.Random(f"{seed}/faults")
        self.fired: Counter[str] = Counter()
        self.on = True

    def has(self, kind: str) -> bool:
        """Whether this seed has such faults at all."""
        return kind in self.rates

    def share(self, kind: str) -> float:
        """Return the rate of a kind; 0 where the seed has none of it."""
        return self.rates.get(kind, 0.0)

    def times(self, kind: str) -> int:
        """Return how many times a fault that comes at moments of its own strikes."""
        return round(self.rates.get(kind, 0.0))

    def strikes(self, kind: str) -> bool:
        """Whether a fault of this kind strikes here and now."""
        rate = self.rates.get(kind) if self.on else None
        if rate is None or self.rng.random() >= rate:
            return False
        self.fired[kind] += 1
        return True
