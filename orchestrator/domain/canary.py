"""Canary: conditions on what the first records of a job bring, read and judged.

A condition reads NAME OPERATOR VALUE: `failed < 2%`, `valid_json > 99%`, `cost_per_record <= 0.001
USD`. Shares are of all records of the canary; arithmetic is exact.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

SHARES = {
    "succeeded": "records with an answer",
    "failed": "records that failed, for whatever reason",
    "expired": "records whose batch expired",
    "cancelled": "records that were cancelled",
    "refused": "records that the provider refused",
    "invalid": "records whose answer did not fit the schema",
    "valid_json": "records whose answer is JSON, and fits the schema where there is one",
}
MEANS = {
    "tokens_in": "tokens of a prompt, on average",
    "tokens_out": "tokens of an answer, on average",
}
COST = "cost_per_record"
NAMES = (*SHARES, *MEANS, COST)

_FORM = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*(?P<sign><=|>=|<|>)\s*"
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<unit>%|[A-Z]{3})?\s*"
)
_SIGNS: Mapping[str, Callable[[Fraction, Fraction], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold. `value` is a share of one, a mean or an amount of money."""

    text: str
    name: str
    sign: str
    value: Fraction
    currency: str = ""

    def holds(self, measured: Fraction | None) -> bool:
        """Whether it does; nothing is known to hold of what could not be measured."""
        return measured is not None and _SIGNS[self.sign](measured, self.value)


def read_condition(text: str) -> Condition:
    """Read a condition. Raises ValueError that says what was meant, where that can be guessed."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text[:60]}" is not of the form NAME < VALUE, such as "failed < 2%"')
    name, sign, unit = found["name"], found["sign"], found["unit"] or ""
    if name not in NAMES:
        near = difflib.get_close_matches(name.lower(), NAMES, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(NAMES)}"
        raise ValueError(f'nothing called "{name[:40]}" is measured; {hint}')
    number = Fraction(Decimal(found["number"]))
    return Condition(text.strip(), name, sign, _value(name, sign, number, unit), _currency(unit))


def _value(name: str, sign: str, number: Fraction, unit: str) -> Fraction:
    if name not in SHARES:
        if unit == "%" or (unit and name != COST):
            raise ValueError(f'{name} is no share: it takes a number, not "{unit}"')
        return number
    if unit not in {"", "%"}:
        raise ValueError(f'{name} is a share: it takes a percentage, not "{unit}"')
    share = number / 100 if unit == "%" else number
    if share > 1:
        told = f"{float(number):g}"
        meant = "" if unit else f'; did you mean "{name} {sign} {told}%"?'
        raise ValueError(f"{name} is a share, and {told}{unit} is more than all{meant}")
    return share


def _currency(unit: str) -> str:
    return "" if unit == "%" else unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What the canary's records have brought, counted.

    `cost` is in 10**-12 of `currency`, None where it is not known. Tokens are of the answers that
    tell them, `told` counts these.
    """

    records: int
    succeeded: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    refused: int = 0
    invalid: int = 0
    valid_json: int = 0
    told: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: int | None = None
    currency: str = ""


def measured(found: Slice, name: str) -> Fraction | None:
    """Return what a condition of this name is held against; None where it is not known."""
    if name == COST:
        known = found.cost is not None and found.records
        return Fraction(found.cost or 0, found.records * 10**12) if known else None
    if name in MEANS:
        return Fraction(getattr(found, name), found.told) if found.told else None
    return Fraction(getattr(found, name), found.records) if found.records else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A condition, what was measured for it in words, and whether it holds."""

    condition: str
    measured: str
    holds: bool


def judge(found: Slice, conditions: Sequence[Condition]) -> list[Verdict]:
    """Hold each condition against what the canary has brought."""
    verdicts = []
    for each in conditions:
        value = measured(found, each.name)
        if each.currency and each.currency != found.currency:
            value = None
        verdicts.append(Verdict(each.text, _words(each, value, found), each.holds(value)))
    return verdicts


def _words(condition: Condition, value: Fraction | None, found: Slice) -> str:
    if value is None:
        return f"{condition.name} unknown"
    if condition.name in SHARES:
        count = getattr(found, condition.name)
        return f"{condition.name} {float(value * 100):.4g}% ({count:,} of {found.records:,})"
    unit = f" {found.currency}" if condition.name == COST else ""
    return f"{condition.name} {float(value):.6g}{unit}"
