"""What a JSON document holds: the same forms for `--json` and for `to_dict` in Python."""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from orchestrator import human


class Share(NamedTuple):
    """A part of a whole; shown as a percentage that never lies, in JSON as a fraction."""

    part: int
    whole: int


def jsonable(value: object) -> object:
    """Return `value` in JSON's types: seconds, RFC 3339, money as amount and currency."""
    for kind, form in _FORMS:
        if isinstance(value, kind):
            return form(value)
    if dataclasses.is_dataclass(value):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: jsonable(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Iterable):
        return [jsonable(inner) for inner in value]
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _seconds(span: timedelta) -> int | float:
    seconds = span.total_seconds()
    return int(seconds) if seconds == int(seconds) else seconds


_FORMS: Sequence[tuple[type | tuple[type, ...], Callable[[Any], object]]] = (
    (Share, lambda value: round(value.part / value.whole, 6) if value.whole else None),
    (enum.Enum, lambda value: jsonable(value.value)),
    ((type(None), bool, int, float, str), lambda value: value),
    (datetime, human.rfc3339),
    (date, date.isoformat),
    (timedelta, _seconds),
    ((Decimal, PurePath), str),
    (Mapping, lambda value: {str(key): jsonable(inner) for key, inner in value.items()}),
    (bytes, lambda value: value.decode("utf-8", "replace")),
)


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return JSON text; non-ASCII stays readable."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, indent=indent, separators=separators
    )
