"""Types of SQL columns: made from Arrow's words, and what fits into those that are there.

Nothing is bent to fit: a value is taken when nothing of it is lost, else it is a misfit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
from sqlalchemy import types as sa

_KEY_LENGTH = 255
_BIG_DIGITS = 20


class Misfit(ValueError):
    """The value does not fit; the message says why, without the value."""


def type_for(words: str | None, *, dialect: str, is_key: bool = False) -> sa.TypeEngine[Any]:
    """Return the SQL type for a column of an Arrow type; text for what SQL has no type for."""
    head = (words or "").split("[")[0].split("(")[0]
    if head in _NUMBERS:
        return _NUMBERS[head]()
    if head == "uint64":
        return _numeric(dialect, _BIG_DIGITS, 0)
    if head.startswith("decimal"):
        return _numeric(dialect, *_inside(words or ""))
    if head == "timestamp":
        return sa.DateTime(timezone="tz=" in (words or ""))
    return _other(head, dialect, is_key=is_key)


def _other(head: str, dialect: str, *, is_key: bool) -> sa.TypeEngine[Any]:
    for start, kind in _PLAIN:
        if head.startswith(start):
            return kind()
    return _text(dialect, is_key=is_key)


_NUMBERS: Mapping[str, type[sa.TypeEngine[Any]]] = {
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16"), sa.BigInteger),
    "uint32": sa.BigInteger,
    **dict.fromkeys(("halffloat", "float", "double", "float16", "float32", "float64"), sa.Double),
    "bool": sa.Boolean,
}
_PLAIN: tuple[tuple[str, type[sa.TypeEngine[Any]]], ...] = (
    ("date", sa.Date),
    ("time", sa.Time),
    ("binary", sa.LargeBinary),
    ("large_binary", sa.LargeBinary),
    ("fixed_size_binary", sa.LargeBinary),
)


def _text(dialect: str, *, is_key: bool) -> sa.TypeEngine[Any]:
    # Elsewhere a key can't be a text without a length.
    return sa.String(_KEY_LENGTH) if is_key and dialect not in _UNBOUND else sa.Text()


_UNBOUND = frozenset({"sqlite", "postgresql"})


def _inside(words: str) -> tuple[int, int]:
    digits, _, scale = words.partition("(")[2].rstrip(")").partition(",")
    return int(digits or 38), int(scale or 0)


def _numeric(dialect: str, digits: int, scale: int) -> sa.TypeEngine[Any]:
    """Return an exact number; text on SQLite, which would make a binary fraction of it."""
    return sa.Text() if dialect == "sqlite" else sa.Numeric(max(digits, scale), max(0, scale))


def fitter(kind: sa.TypeEngine[Any], dialect: str, *, nul: str = "") -> Callable[[Any], Any]:
    """Return what makes a value fit a column of this type, or raises Misfit.

    `nul` stands in for the character NUL, where the database does not take it.
    """
    if isinstance(kind, sa.Integer):
        return _integer(_bits(kind, dialect))
    if isinstance(kind, sa.String) and not isinstance(kind, sa.Enum):
        return _texts(kind.length, None if dialect == "sqlite" else nul)
    for wanted, fit in _FITS:
        if isinstance(kind, wanted):
            return fit(kind)
    return lambda value: value


def _bits(kind: sa.TypeEngine[Any], dialect: str) -> int:
    if dialect == "sqlite" or isinstance(kind, sa.BigInteger):
        return 63
    return 15 if isinstance(kind, sa.SmallInteger) else 31


def _integer(bits: int) -> Callable[[Any], Any]:
    def fit(value: Any) -> int:  # noqa: ANN401 - any value of a record
        number = _whole(value)
        if not -(1 << bits) <= number < 1 << bits:
            raise Misfit(f"it is a number of more than {bits} bits")
        return number

    return fit


def _whole(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            raise Misfit("it is a text, and the column takes whole numbers") from None
        if str(number) == value:
            return number
    elif isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return int(value)
    raise Misfit(f"it is {_called(value)}, and the column takes whole numbers")


def _exact(kind: sa.TypeEngine[Any]) -> Callable[[Any], Any]:
    scale = getattr(kind, "scale", None)

    def fit(value: Any) -> Decimal:  # noqa: ANN401 - any value of a record
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise Misfit(f"it is {_called(value)}, and the column takes numbers")
        try:
            number = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            raise Misfit("it is a text, and the column takes numbers") from None
        exponent = number.normalize().as_tuple().exponent
        if scale is not None and isinstance(exponent, int) and -exponent > scale:
            raise Misfit(f"it has more than {scale} decimal places")
        return number

    return fit


def _floating(value: Any) -> float:  # noqa: ANN401 - any value of a record
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise Misfit(f"it is {_called(value)}, and the column takes numbers")
    try:
        return float(value)
    except (ValueError, OverflowError):
        raise Misfit(f"it is {_called(value)} that is no number of the column's") from None


def _boolean(_kind: sa.TypeEngine[Any]) -> Callable[[Any], Any]:
    words = {"true": True, "false": False}

    def fit(value: Any) -> bool:  # noqa: ANN401 - any value of a record
        found = words.get(value.lower()) if isinstance(value, str) else value
        if isinstance(found, bool):
            return found
        raise Misfit(f"it is {_called(value)}, and the column takes true and false")

    return fit


def _texts(most: int | None, nul: str | None) -> Callable[[Any], Any]:
    def fit(value: Any) -> str:  # noqa: ANN401 - any value of a record
        text = value if isinstance(value, str) else as_text(value)
        if nul is not None and "\0" in text:
            if not nul:
                raise Misfit("it holds the character NUL; see the option replace_nul")
            text = text.replace("\0", nul)
        if most is not None and len(text) > most:
            raise Misfit(f"it is {len(text):,} characters long, and the column takes {most:,}")
        return text

    return fit


def as_text(value: object) -> str:
    """Return a value that is no text as text: JSON, exact numbers and times in their own form."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return msgspec.json.encode(value).decode()


def _moment(kind: sa.TypeEngine[Any]) -> Callable[[Any], Any]:
    aware = bool(getattr(kind, "timezone", False))

    def fit(value: Any) -> datetime:  # noqa: ANN401 - any value of a record
        moment: datetime = _parsed(value, datetime)
        if aware or moment.tzinfo is None:
            return moment
        return moment.astimezone(UTC).replace(tzinfo=None)

    return fit


def _day(_kind: sa.TypeEngine[Any]) -> Callable[[Any], Any]:
    def fit(value: Any) -> date:  # noqa: ANN401 - any value of a record
        if isinstance(value, datetime):
            raise Misfit("it is a time, and the column takes dates")
        day: date = _parsed(value, date)
        return day

    return fit


def _clock(_kind: sa.TypeEngine[Any]) -> Callable[[Any], Any]:
    return lambda value: _parsed(value, time)


def _parsed(value: object, wanted: type[Any]) -> Any:  # noqa: ANN401 - a `wanted`
    if isinstance(value, wanted):
        return value
    try:
        if isinstance(value, str):
            return wanted.fromisoformat(value)
    except ValueError:
        pass
    raise Misfit(f"it is {_called(value)}, and the column takes a {wanted.__name__}")


def _bytes(_kind: sa.TypeEngine[Any]) -> Callable[[Any], Any]:
    def fit(value: Any) -> bytes:  # noqa: ANN401 - any value of a record
        if isinstance(value, bytes):
            return value
        raise Misfit(f"it is {_called(value)}, and the column takes bytes")

    return fit


def _called(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float() | Decimal():
            return "a number"
        case dict() | list():
            return "a nested value"
    return f"a {type(value).__name__}"


_FITS: tuple[tuple[type[Any], Callable[[sa.TypeEngine[Any]], Callable[[Any], Any]]], ...] = (
    (sa.Boolean, _boolean),
    (sa.Float, lambda _kind: _floating),
    (sa.Numeric, _exact),
    (sa.DateTime, _moment),
    (sa.Date, _day),
    (sa.Time, _clock),
    (sa.LargeBinary, _bytes),
)
