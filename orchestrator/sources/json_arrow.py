"""JSON values as Arrow has them: the way back from `arrow_json`, a column at a time."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from orchestrator.sources.arrow_types import Test, any_of, is_binary, is_large, is_list

Json = Any
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def arrow_array(values: Sequence[Json], of: pa.DataType) -> pa.Array:
    """Return JSON values as an array of type `of`.

    Raises ValueError or TypeError for a value that does not fit; pyarrow's own errors are such.
    """
    for test, make in _ARRAYS:
        if test(of):
            return make(values, of)
    return pa.array(values, of)


def _parsed(values: Sequence[Json], of: pa.DataType) -> pa.Array:
    return pa.array([None if v is None else str(v) for v in values], pa.string()).cast(of)


def _floats(values: Sequence[Json], of: pa.DataType) -> pa.Array:
    return pa.array([None if v is None else float(v) for v in values], of)


def _times(values: Sequence[Json], of: pa.DataType) -> pa.Array:
    ticks = pa.int32() if pa.types.is_time32(of) else pa.int64()
    return pa.array([_ticks(value, of.unit) for value in values], ticks).cast(of)


def _ticks(text: str | None, unit: str) -> int | None:
    """Return a time of day as a count of its unit since midnight."""
    if text is None:
        return None
    hours, minutes, seconds = text.split(":")
    whole = Decimal(int(hours) * 3600 + int(minutes) * 60) + Decimal(seconds)
    return int(whole.scaleb(_DIGITS[unit]))


def _bytes(values: Sequence[Json], of: pa.DataType) -> pa.Array:
    return pa.array([None if v is None else b64decode(v, validate=True) for v in values], of)


def _lists(values: Sequence[Json], of: pa.DataType) -> pa.Array:
    items = [item for value in values if value is not None for item in value]
    make = pa.LargeListArray if is_large(of) else pa.ListArray
    ends = pa.array(_ends(values), pa.int64() if is_large(of) else pa.int32())
    return make.from_arrays(ends, arrow_array(items, of.value_type), type=of, mask=_mask(values))


def _structs(values: Sequence[Json], of: pa.StructType) -> pa.Array:
    if not of.num_fields:
        return pa.array(values, of)
    parts = [
        arrow_array([None if v is None else v.get(member.name) for v in values], member.type)
        for member in of
    ]
    return pa.StructArray.from_arrays(parts, fields=list(of), mask=_mask(values))


def _maps(values: Sequence[Json], of: pa.MapType) -> pa.Array:
    pairs = [pair for value in values if value is not None for pair in value]
    keys = arrow_array([key for key, _ in pairs], of.key_type)
    items = arrow_array([item for _, item in pairs], of.item_type)
    # A null is told by its offset: maps take no mask.
    ends: list[int | None] = [*_ends(values)]
    for index, value in enumerate(values):
        if value is None:
            ends[index] = None
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), keys, items, type=of)


def _mask(values: Sequence[Json]) -> pa.Array:
    return pa.array([value is None for value in values], pa.bool_())


def _ends(values: Sequence[Json]) -> list[int]:
    ends = [0]
    for value in values:
        ends.append(ends[-1] + (len(value) if value is not None else 0))
    return ends


_ARRAYS: tuple[tuple[Test, Callable[[Sequence[Json], pa.DataType], pa.Array]], ...] = (
    (pa.types.is_floating, _floats),
    (any_of(pa.types.is_timestamp, pa.types.is_date, pa.types.is_decimal), _parsed),
    (pa.types.is_time, _times),
    (is_binary, _bytes),
    (is_list, _lists),
    (pa.types.is_struct, _structs),
    (pa.types.is_map, _maps),
)
