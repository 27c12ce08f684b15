"""Python values as JSON has them, a column at a time, and the type that a column turns out to have.

The forms are those of `arrow_json`: a time with a zone is told in UTC, a duration in microseconds,
a decimal in plain digits, binary values in base64.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import uuid
from base64 import b64encode
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import NoneType
from typing import Any

Json = Any

_SAFE = 2**53
_LONG = 2**63
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class NoForm(Exception):
    """A value that JSON can't carry."""


def _float(value: float) -> Json:
    return value if value - value == 0 else _NOT_FINITE[str(value)]


def _decimal(value: Decimal) -> str:
    if value.is_finite():
        return format(value, "f")
    return "NaN" if value.is_nan() else _NOT_FINITE[str(float(value))]


def _moment(value: dt.datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat() + "Z"


def _microseconds(value: dt.timedelta) -> int:
    return value // dt.timedelta(microseconds=1)


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return b64encode(value).decode("ascii")


def _list(value: Sequence[Any]) -> list[Json]:
    return [json_value(item) for item in value]


def _mapping(value: dict[Any, Any]) -> dict[str, Json]:
    return {str(name): json_value(item) for name, item in value.items()}


_FORMS: dict[type, Callable[[Any], Json]] = {
    float: _float,
    Decimal: _decimal,
    dt.datetime: _moment,
    dt.date: dt.date.isoformat,
    dt.time: dt.time.isoformat,
    dt.timedelta: _microseconds,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    uuid.UUID: str,
    list: _list,
    tuple: _list,
    dict: _mapping,
    ipaddress.IPv4Address: str,
    ipaddress.IPv6Address: str,
    ipaddress.IPv4Network: str,
    ipaddress.IPv6Network: str,
    ipaddress.IPv4Interface: str,
    ipaddress.IPv6Interface: str,
}
_AS_THEY_ARE = frozenset({NoneType, str, int, bool})


def json_value(value: object) -> Json:
    """Return one value as JSON has it. Raises NoForm."""
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    form = _FORMS.get(kind)
    if form is None:
        raise NoForm(f"a value of type {kind.__name__} has no form as text")
    return form(value)


class Observed:
    """Columns of values of whatever types come; afterwards the type of each.

    Keeps for each column which kinds of value it holds and how large they get. A column of kinds
    that do not go together has no type: each value is then what JSON makes of it.
    """

    def __init__(self, columns: int) -> None:
        self._seen = [_Seen() for _ in range(columns)]

    def json_columns(self, columns: Sequence[Sequence[Any]]) -> list[Sequence[Json]]:
        """Return the columns as JSON has them, and take note of their kinds.

        Raises NoForm with the column's number in `args[1]`.
        """
        found: list[Sequence[Json]] = []
        for index, column in enumerate(columns):
            kinds = set(map(type, column))
            try:
                found.append(
                    column if kinds <= _AS_THEY_ARE else [json_value(value) for value in column]
                )
            except NoForm as error:
                raise NoForm(str(error), index) from None
            self._seen[index].add(kinds - {NoneType}, column)
        return found

    def words(self) -> list[str | None]:
        """Return the words of each column's Arrow type, None where it has none."""
        return [seen.words() for seen in self._seen]


_FIXED: dict[frozenset[type], str] = {
    frozenset({str}): "string",
    frozenset({uuid.UUID}): "string",
    frozenset({bool}): "bool",
    frozenset({float}): "double",
    frozenset({bytes}): "binary",
    frozenset({memoryview}): "binary",
    frozenset({dt.date}): "date32[day]",
    frozenset({dt.time}): "time64[us]",
    frozenset({dt.timedelta}): "duration[us]",
}


class _Seen:
    """What one column has held so far."""

    def __init__(self) -> None:
        self._kinds: set[type] = set()
        self._most = 0
        self._zones: set[bool] = set()
        self._whole = 0
        self._scale = 0
        self._finite = True

    def add(self, kinds: set[type], column: Sequence[Any]) -> None:
        self._kinds |= kinds
        if int in kinds:
            whole = [value for value in column if type(value) is int]
            self._most = max(self._most, abs(max(whole)), abs(min(whole)))
        if dt.datetime in kinds:
            self._zones |= {v.tzinfo is not None for v in column if type(v) is dt.datetime}
        if dt.time in kinds:
            self._zones |= {v.tzinfo is not None for v in column if type(v) is dt.time}
        if Decimal in kinds:
            for value in column:
                if type(value) is Decimal:
                    self._measure(value)

    def _measure(self, value: Decimal) -> None:
        _, digits, exponent = value.as_tuple()
        if not isinstance(exponent, int):
            self._finite = False
            return
        self._scale = max(self._scale, -exponent)
        self._whole = max(self._whole, len(digits) + exponent)

    def words(self) -> str | None:
        kinds = frozenset(self._kinds)
        if kinds == {dt.datetime} and len(self._zones) == 1:
            return "timestamp[us, tz=UTC]" if True in self._zones else "timestamp[us]"
        if kinds == {dt.time} and True in self._zones:
            return "string"
        if kinds == {int}:
            return "int64" if self._most < _LONG else None
        if kinds == {int, float}:
            return "double" if self._most <= _SAFE else None
        return self._decimal() if kinds == {Decimal} else _FIXED.get(kinds)

    def _decimal(self) -> str | None:
        precision = max(1, self._whole + self._scale)
        if not self._finite or precision > 76:
            return "string"
        bits, most = ("128", 38) if precision <= 38 else ("256", 76)
        return f"decimal{bits}({most}, {self._scale})"
