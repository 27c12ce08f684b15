"""Arrow values as JSON has them, a column at a time.

What JSON lacks is text: dates and times in ISO 8601, decimals in plain digits, binary values in
base64, NaN and infinities by name. A time with a zone is told in UTC, with a Z; a duration is a
count of its unit; a map is a list of pairs. `json_arrow` and the type's words bring each back.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.sources.arrow_types import (
    NoTextForm,
    any_of,
    is_binary,
    is_extension,
    is_list,
    is_uuid,
    members,
)

Json = Any
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def json_values(array: pa.Array) -> list[Json]:
    """Return the values of `array` as JSON has them; each null is None. Raises NoTextForm."""
    for test, values in _VALUES:
        if test(array.type):
            return values(array)
    raise NoTextForm(f"the type {array.type} has no form as text")


def _as_they_are(array: pa.Array) -> list[Json]:
    values: list[Json] = array.to_pylist()
    return values


def _texts(array: pa.Array) -> list[Json]:
    return [None if value is None else str(value) for value in array.to_pylist()]


def _floats(array: pa.Array) -> list[Json]:
    if pa.types.is_float16(array.type):
        array = array.cast(pa.float32())
    values: list[Json] = array.to_pylist()
    if pc.all(pc.is_finite(array)).as_py() is False:
        return [v if v is None or v - v == 0 else _NOT_FINITE[str(v)] for v in values]
    return values


def _timestamps(array: pa.Array) -> list[Json]:
    of = array.type
    if of.tz is not None:
        array = array.cast(pa.timestamp(of.unit, "UTC"))
    text = pc.replace_substring(array.cast(pa.string()), " ", "T", max_replacements=1)
    values: list[Json] = text.to_pylist()
    return values


def _decimals(array: pa.Array) -> list[Json]:
    text = array.cast(pa.string())
    if pc.any(pc.match_substring(text, "E")).as_py():
        return [None if value is None else format(value, "f") for value in array.to_pylist()]
    values: list[Json] = text.to_pylist()
    return values


def _lists(array: pa.Array) -> list[Json]:
    values = iter(json_values(array.flatten()))
    lengths = pc.list_value_length(array).to_pylist()
    return [None if length is None else [next(values) for _ in range(length)] for length in lengths]


def _structs(array: pa.StructArray) -> list[Json]:
    names = members(array.type)
    there = array.is_valid().to_pylist()
    if not names:
        return [{} if is_there else None for is_there in there]
    rows = zip(*map(json_values, array.flatten()), strict=True)
    return [
        dict(zip(names, row, strict=True)) if is_there else None
        for is_there, row in zip(there, rows, strict=True)
    ]


def _maps(array: pa.MapArray) -> list[Json]:
    if not len(array):
        return []
    start, stop = array.offsets[0].as_py(), array.offsets[-1].as_py()
    keys = json_values(array.keys.slice(start, stop - start))
    items = json_values(array.items.slice(start, stop - start))
    pairs = [[key, item] for key, item in zip(keys, items, strict=True)]
    ends = [offset - start for offset in array.offsets.to_pylist()]
    there = array.is_valid().to_pylist()
    return [
        pairs[first:last] if is_there else None
        for is_there, (first, last) in zip(there, pairwise(ends), strict=True)
    ]


def _base64(array: pa.Array) -> list[Json]:
    return [None if v is None else b64encode(v).decode("ascii") for v in array.to_pylist()]


_plain = any_of(
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_integer,
    pa.types.is_boolean,
    pa.types.is_null,
)
_VALUES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], list[Json]]], ...] = (
    (_plain, _as_they_are),
    (pa.types.is_floating, _floats),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_date, lambda array: _texts(array.cast(pa.date32()).cast(pa.string()))),
    (pa.types.is_time, lambda array: _texts(array.cast(pa.string()))),
    (pa.types.is_duration, lambda array: _as_they_are(array.cast(pa.int64()))),
    (pa.types.is_decimal, _decimals),
    (is_binary, _base64),
    (is_uuid, _texts),
    (is_extension, lambda array: json_values(array.storage)),
    (pa.types.is_dictionary, lambda array: json_values(array.dictionary_decode())),
    (pa.types.is_run_end_encoded, lambda array: json_values(pc.run_end_decode(array))),
    (is_list, _lists),
    (pa.types.is_struct, _structs),
    (pa.types.is_map, _maps),
)
