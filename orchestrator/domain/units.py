"""Quantities as people write them: durations, sizes, money."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

from orchestrator.domain.money import Money

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?")
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_MONEY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Z]{3})")
_LONGEST = timedelta(days=3_660)


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `15m`, `6h`, `3d`, `1h 30m`; at most ten years. Raises ValueError."""
    compact = text.replace(" ", "")
    parts = _DURATION_PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is not a duration; write one like 90s, 15m, 6h or 3d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than ten years")
    return timedelta(seconds=seconds)


def format_duration(span: timedelta) -> str:
    """Write `span` so that `parse_duration` reads it back, in the largest whole unit."""
    milliseconds = round(span / timedelta(milliseconds=1))
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def parse_size(text: str) -> int:
    """Read `100MB` (SI) or `64MiB` into bytes. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write one like 100MB or 64MiB")
    number, unit = match.groups()
    return int(Decimal(number) * _BYTES[unit or "B"])


def parse_money(text: str) -> Money:
    """Read `40 USD` or `12.50 EUR`. Raises ValueError."""
    match = _MONEY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is not an amount of money; write one like "40 USD"')
    amount, currency = match.groups()
    return Money(Decimal(amount), currency)
