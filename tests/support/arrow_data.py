"""Arrow types and awkward values of them, for Hypothesis."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "\0", "a\0b", "null", "é\u2028\U0001f600", '"\\\n']
)
_DATES = st.dates(datetime.date(1, 1, 2), datetime.date(9999, 12, 30))
_TIMES = st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30))  # noqa: DTZ001
_ZONED = st.datetimes(
    datetime.datetime(1, 1, 3),  # noqa: DTZ001
    datetime.datetime(9999, 12, 29),  # noqa: DTZ001
    timezones=st.just(datetime.UTC),
)


def _integers(bits: int, *, signed: bool) -> st.SearchStrategy[int]:
    if signed:
        return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return st.integers(0, 2**bits - 1)


def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda n: Decimal(n).scaleb(-scale))


FLAT: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int8(): _integers(8, signed=True),
    pa.int64(): _integers(64, signed=True) | st.sampled_from([2**53 + 1, -(2**63)]),
    pa.uint64(): _integers(64, signed=False) | st.just(2**64 - 1),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.binary(): st.binary(max_size=8),
    pa.large_binary(): st.binary(max_size=8),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.date32(): _DATES,
    pa.timestamp("us"): _TIMES,
    pa.timestamp("us", "UTC"): _ZONED,
    pa.timestamp("us", "Europe/Berlin"): _ZONED,
    pa.timestamp("s", "+05:30"): _ZONED.map(lambda t: t.replace(microsecond=0)),
    pa.time64("us"): st.times(),
    pa.time32("s"): st.times().map(lambda t: t.replace(microsecond=0)),
    pa.duration("us"): st.timedeltas(
        datetime.timedelta(days=-(10**6)), datetime.timedelta(days=10**6)
    ),
    pa.decimal128(10, 2): _decimals(10, 2),
    pa.decimal128(38, 20): _decimals(28, 20),
    pa.decimal256(60, 3): _decimals(28, 3),
    pa.null(): st.none(),
}

Typed = tuple[pa.DataType, st.SearchStrategy[Any]]


def _list(make: Callable[[pa.DataType], pa.DataType], of: Typed) -> Typed:
    return make(of[0]), st.lists(st.none() | of[1], max_size=3)


def _struct(members: dict[str, Typed]) -> Typed:
    return (
        pa.struct([(name, kind) for name, (kind, _) in members.items()]),
        st.fixed_dictionaries({name: st.none() | of for name, (_, of) in members.items()}),
    )


def _map(of: Typed) -> Typed:
    return pa.map_(pa.string(), of[0]), st.lists(st.tuples(TEXT, st.none() | of[1]), max_size=3)


_NAMES = st.sampled_from(["a", "b", "a b", "a: int8", "c, d", "x>", "é", ""])
TYPED: st.SearchStrategy[Typed] = st.recursive(
    st.sampled_from(list(FLAT.items())),
    lambda inner: st.one_of(
        inner.map(lambda of: _list(pa.list_, of)),
        inner.map(lambda of: _list(pa.large_list, of)),
        st.dictionaries(_NAMES, inner, min_size=1, max_size=3).map(_struct),
        inner.map(_map),
    ),
    max_leaves=4,
)


@st.composite
def arrays(draw: st.DrawFn, rows: int | None = None) -> pa.Array:
    """Return an array of some type, nulls among its values; a slice now and then."""
    kind, values = draw(TYPED)
    least, most = (0, 6) if rows is None else (rows, rows)
    made = pa.array(draw(st.lists(st.none() | values, min_size=least, max_size=most)), kind)
    return made.slice(draw(st.integers(0, len(made)))) if rows is None else made


def same(one: object, other: object) -> bool:
    """Whether two values are equal, NaN with NaN."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    return one == other
