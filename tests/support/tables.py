"""Awkward typed tables: values of every Arrow type, and how the registry keeps them as JSON."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import strategies as st

from orchestrator.domain.shape import Column, Shape

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "=1+1", "null", "NaN", "a\x00b", '"', "\r\n", "\ufeff", "_x0041_", "+49", "-", "\u2028"]
)
BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))  # noqa: DTZ001 - naive on purpose
SECONDS = MOMENTS.map(lambda moment: moment.replace(microsecond=0))
TIMES = st.times()
DAYS = st.dates()

LEAVES: Sequence[tuple[pa.DataType, st.SearchStrategy[Any]]] = (
    (pa.string(), TEXTS),
    (pa.large_string(), TEXTS),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
    (pa.decimal128(38, 4), st.decimals(-(10**33), 10**33, places=4)),
    (pa.decimal256(50, 0), st.integers(-(10**49), 10**49).map(Decimal)),
    (pa.date32(), DAYS),
    (pa.timestamp("us"), MOMENTS),
    (pa.timestamp("s"), SECONDS),
    (pa.timestamp("us", "UTC"), MOMENTS.map(lambda moment: moment.replace(tzinfo=UTC))),
    (pa.timestamp("ms", "Europe/Berlin"), SECONDS.map(lambda m: m.replace(tzinfo=UTC))),
    (pa.time64("us"), TIMES),
    (pa.time32("s"), TIMES.map(lambda moment: moment.replace(microsecond=0))),
    (pa.duration("us"), st.timedeltas(timedelta(-(10**6)), timedelta(10**6))),
    (pa.binary(), st.binary(max_size=12)),
    (pa.binary(3), st.binary(min_size=3, max_size=3)),
)


@dataclass(frozen=True)
class Typed:
    """A column's type and values; None is null."""

    kind: pa.DataType
    values: list[Any]


def nested(leaf: tuple[pa.DataType, st.SearchStrategy[Any]]) -> Any:
    """Return the types made of one leaf, each with values."""
    kind, values = leaf
    some = st.none() | values
    pair = pa.struct([("a", kind), ("b: c", pa.list_(kind))])
    members = st.fixed_dictionaries({"a": some, "b: c": st.none() | st.lists(some, max_size=2)})
    return st.sampled_from(
        [
            (kind, values),
            (pa.list_(kind), st.lists(some, max_size=3)),
            (
                pa.list_(pa.list_(kind)),
                st.lists(st.none() | st.lists(some, max_size=2), max_size=2),
            ),
            (pair, members),
            (pa.list_(pair), st.lists(st.none() | members, max_size=2)),
            (pa.map_(pa.string(), kind), st.lists(st.tuples(TEXTS, some), max_size=2)),
        ]
    )


@st.composite
def tables(draw: Any, *, leaves: Any = LEAVES, flat: bool = False) -> list[Typed]:
    """Draw a few columns of the same, small height."""
    height = draw(st.integers(1, 4))
    kinds = st.sampled_from(leaves)
    found = draw(st.lists(kinds if flat else kinds.flatmap(nested), min_size=1, max_size=4))
    return [
        Typed(kind, draw(st.lists(st.none() | values, min_size=height, max_size=height)))
        for kind, values in found
    ]


def shape_of(columns: Sequence[Typed]) -> Shape:
    """Return what a source says of these columns."""
    return Shape(columns=tuple(Column(f"c{n}", str(c.kind)) for n, c in enumerate(columns)))


def records_of(columns: Sequence[Typed]) -> list[str]:
    """Return the rows as the registry keeps them."""
    texts = [[as_json(value, column.kind) for value in column.values] for column in columns]
    rows = zip(*texts, strict=True)
    return [json.dumps({f"c{n}": value for n, value in enumerate(row)}) for row in rows]


def as_json(value: Any, kind: pa.DataType) -> Any:
    """Return what stands for a value in a record: text where JSON has nothing."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value // timedelta(microseconds=1)
        case dict():
            return {f.name: as_json(value[f.name], f.type) for f in kind}
        case tuple():
            return [value[0], as_json(value[1], kind.item_type)]
    inner = kind if pa.types.is_map(kind) else kind.value_type
    return [as_json(item, inner) for item in value]
