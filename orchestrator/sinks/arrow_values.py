"""Arrow arrays from what JSON makes of typed values: dates as text, decimals as text, base64.

Each Arrow type has a `Codec`: how its values are decoded from JSON, and how an array is made of
them. Nested types are built of their children's arrays, so that no value takes a way of its own.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from types import GenericAlias, NoneType
from typing import Any, Optional, TypedDict

import pyarrow as pa
from msgspec import Raw

T = pa.types
_EPOCH = "1970-01-01T"


@dataclass(frozen=True, slots=True)
class Codec:
    """`json`: the type that msgspec decodes a value as, null apart. `array` makes an Arrow array.

    `array` raises ValueError, TypeError, OverflowError or ArrowInvalid for values that do not fit.
    """

    json: Any
    array: Callable[[Sequence[Any]], pa.Array]

    @property
    def nullable(self) -> Any:  # noqa: ANN401 - a type, or a union of some
        """The type of a value that may be null; raw JSON is that anyhow."""
        return self.json if self.json is Raw else Optional[self.json]  # noqa: UP045 - any type


MISFITS = (ValueError, TypeError, OverflowError, ArithmeticError, pa.ArrowException)
"""What an array that can't be made raises."""


def codec_of(kind: pa.DataType) -> Codec:
    """Return how values of an Arrow type are read."""
    for fits, make in _NESTED:
        if fits(kind):
            return make(kind)
    return Codec(_json_type(kind), _array_maker(kind))


def _list_of(*kinds: Any) -> Any:  # noqa: ANN401 - types
    kind = kinds[0] if len(kinds) == 1 else GenericAlias(tuple, kinds)
    return GenericAlias(list, (kind,))


def _json_type(kind: pa.DataType) -> Any:  # noqa: ANN401 - a type, or a union of some
    if T.is_boolean(kind):
        return bool
    if T.is_integer(kind):
        return int
    if T.is_floating(kind):
        return float | str
    if T.is_duration(kind):
        return int
    return NoneType if T.is_null(kind) else str


def _array_maker(kind: pa.DataType) -> Callable[[Sequence[Any]], pa.Array]:
    if T.is_floating(kind):
        return lambda values: _floats(values, kind)
    if T.is_time(kind):
        return lambda values: _times(values, kind)
    if T.is_temporal(kind) and not T.is_duration(kind):
        return lambda values: pa.array(values, pa.string()).cast(kind)
    if T.is_decimal(kind):
        return lambda values: pa.array(values, pa.string()).cast(kind)
    if T.is_binary(kind) or T.is_large_binary(kind) or T.is_fixed_size_binary(kind):
        return lambda values: pa.array([_bytes(value) for value in values], kind)
    return lambda values: pa.array(values, kind)


def _floats(values: Sequence[float | str | None], kind: pa.DataType) -> pa.Array:
    """Return numbers; text stands for those that JSON has no digits for: NaN and the infinities."""
    if any(type(value) is str for value in values):
        values = [None if value is None else float(value) for value in values]
    return pa.array(values, kind)


def _times(values: Sequence[str | None], kind: pa.DataType) -> pa.Array:
    moments = [None if value is None else _EPOCH + value for value in values]
    return pa.array(moments, pa.string()).cast(pa.timestamp(kind.unit)).cast(kind)


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else binascii.a2b_base64(value, strict_mode=True)


def _list(kind: pa.DataType) -> Codec:
    item = codec_of(kind.value_type)
    make = pa.LargeListArray if T.is_large_list(kind) else pa.ListArray

    def array(values: Sequence[list[Any] | None]) -> pa.Array:
        return make.from_arrays(_offsets(values, kind), item.array(_flat(values)), type=kind)

    return Codec(_list_of(item.nullable), array)


def _struct(kind: pa.StructType) -> Codec:
    fields = [kind.field(number) for number in range(kind.num_fields)]
    codecs = [codec_of(field.type) for field in fields]
    members = {f.name: codec.nullable for f, codec in zip(fields, codecs, strict=True)}

    def array(values: Sequence[dict[str, Any] | None]) -> pa.Array:
        given = [value or {} for value in values]
        parts = [
            codec.array([value.get(field.name) for value in given])
            for field, codec in zip(fields, codecs, strict=True)
        ]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=_mask(values))

    return Codec(TypedDict("Members", members, total=False), array)  # type: ignore[operator]


def _map(kind: pa.MapType) -> Codec:
    """Read maps from pairs, as Arrow has them; a JSON object serves where keys are text."""
    key, item = codec_of(kind.key_type), codec_of(kind.item_type)
    pairs = _list_of(key.json, item.nullable)

    def array(values: Sequence[Any]) -> pa.Array:
        given = [v.items() if isinstance(v, dict) else v for v in values]
        flat = _flat(given)
        keys, items = key.array([k for k, _ in flat]), item.array([v for _, v in flat])
        offsets = _offsets(given, kind)
        return pa.MapArray.from_arrays(offsets, keys, items, type=kind)

    texts = T.is_string(kind.key_type) or T.is_large_string(kind.key_type)
    named = GenericAlias(dict, (str, item.nullable))
    return Codec(pairs | named if texts else pairs, array)


def _flat(values: Sequence[Any]) -> list[Any]:
    return list(chain.from_iterable(value for value in values if value is not None))


def _offsets(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Return where each list begins among all items; null where there is no list."""
    ends = [0, *accumulate(0 if value is None else len(value) for value in values)]
    begins = [None if v is None else end for v, end in zip(values, ends, strict=False)]
    return pa.array([*begins, ends[-1]], pa.int64() if T.is_large_list(kind) else pa.int32())


def _mask(values: Sequence[Any]) -> pa.Array:
    return pa.array([value is None for value in values], pa.bool_())


_NESTED: tuple[tuple[Callable[[pa.DataType], bool], Callable[[Any], Codec]], ...] = (
    (lambda kind: T.is_list(kind) or T.is_large_list(kind), _list),
    (T.is_struct, _struct),
    (T.is_map, _map),
)
