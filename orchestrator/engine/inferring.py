"""The types of columns whose source says none: as narrow as all their values allow.

JSON knows null, booleans, numbers, text, lists and objects. Whole numbers are `int64`, numbers
with a fraction `double`; a column with both is `double` as long as no whole number loses a digit
by it. Lists of one kind are lists. A column of anything else, or of several kinds, holds each value
as its JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import GenericAlias, NoneType
from typing import Annotated, Any, Optional

import msgspec

from orchestrator.domain.shape import JSON

_NULL, _SMALL = "null", "small"
_EXACT = 2**53
_INT64 = (-(2**63), 2**63 - 1)
_members = msgspec.json.Decoder(dict[str, Any]).decode

Kind = str | tuple["Kind"]
"""`null`, `bool`, `small` (an int that a double can hold), `int64`, `double`, `string`, `json`, or
one kind in a tuple: a list of it."""

_SMALL_INT = Annotated[int, msgspec.Meta(ge=-_EXACT, le=_EXACT)]
_DECODED: Mapping[str, Any] = {
    _NULL: None,
    "bool": bool,
    _SMALL: _SMALL_INT,
    "int64": Annotated[int, msgspec.Meta(ge=_INT64[0], le=_INT64[1])],
    "double": _SMALL_INT | float,
    "string": str,
}

_KINDS = {NoneType: _NULL, bool: "bool", float: "double", str: "string"}


class Inference:
    """Learns the columns of records and their kinds. What fits what is known costs one decoding."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._kinds: dict[str, Kind] = dict.fromkeys(known, JSON)
        self._declared = frozenset(self._kinds)
        self._proves = self._proof()

    @property
    def types(self) -> dict[str, str]:
        """Each column that was found, in first-seen order, with Arrow's words for its type."""
        return {
            name: _words(kind) for name, kind in self._kinds.items() if name not in self._declared
        }

    def learn(self, records: Sequence[str]) -> None:
        """Take in the next records."""
        try:
            self._proves(f"[{','.join(records)}]")
        except (msgspec.DecodeError, UnicodeError):
            for record in records:
                for name, value in _members(record).items():
                    self._kinds[name] = joined(self._kinds.get(name, _NULL), kind_of(value))
            self._proves = self._proof()

    def _proof(self) -> Any:  # noqa: ANN401 - a decoder of a type that is made here
        """Return a decoder that refuses whatever would change what is known."""
        fields = [(f"f{at}", _decoded(kind), None) for at, kind in enumerate(self._kinds.values())]
        record = msgspec.defstruct(
            "Record",
            fields,
            rename=dict(zip((name for name, *_ in fields), self._kinds, strict=True)),
            forbid_unknown_fields=True,
            gc=False,
        )
        return msgspec.json.Decoder(GenericAlias(list, (record,))).decode


def kind_of(value: Any) -> Kind:  # noqa: ANN401 - any JSON
    """Return the kind of one value."""
    if isinstance(value, list):
        return _list_of([kind_of(item) for item in value])
    if type(value) is int:
        if -_EXACT <= value <= _EXACT:
            return _SMALL
        return "int64" if _INT64[0] <= value <= _INT64[1] else JSON
    return _KINDS.get(type(value), JSON)


def _list_of(items: Sequence[Kind]) -> Kind:
    kind: Kind = _NULL
    for item in items:
        kind = joined(kind, item)
    return JSON if kind == JSON else (kind,)


def joined(one: Kind, other: Kind) -> Kind:
    """Return the narrowest kind that holds the values of both."""
    if other in (one, _NULL):
        return one
    if one == _NULL:
        return other
    if isinstance(one, tuple) and isinstance(other, tuple):
        return _list_of((one[0], other[0]))
    numbers = {one, other}
    if numbers == {_SMALL, "int64"}:
        return "int64"
    return "double" if numbers == {_SMALL, "double"} else JSON


def _decoded(kind: Kind) -> Any:  # noqa: ANN401 - a type
    """Return the type that decodes nothing but values of this kind, and null."""
    if kind == JSON:
        return msgspec.Raw
    if isinstance(kind, tuple):
        return Optional[GenericAlias(list, (_decoded(kind[0]),))]  # noqa: UP045 - any type
    return Optional[_DECODED[kind]]  # noqa: UP045 - any type


def _words(kind: Kind) -> str:
    """Return Arrow's words for a kind; a column of nulls alone may be text."""
    if isinstance(kind, tuple):
        return f"list<item: {_words(kind[0])}>"
    return {_NULL: "string", _SMALL: "int64"}.get(kind, kind)
