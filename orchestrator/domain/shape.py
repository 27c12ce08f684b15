"""What a source says of itself: its columns and their types, and how its places are called."""

from __future__ import annotations

from typing import Literal

import msgspec

JSON = "json"
"""The word, not Arrow's, for a column that holds each value as its JSON text."""

_ROW_BITS = 40


class Column(msgspec.Struct, frozen=True, array_like=True):
    """A column of a source.

    `type` is an Arrow type in Arrow's own words (`int64`, `decimal128(10, 2)`, `date32[day]`,
    `timestamp[us, tz=UTC]`, `list<item: string>`); None where each value is what JSON makes it.
    """

    name: str
    type: str | None = None


class Shape(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The columns of a source, in order, and what its positions count.

    `unit`: a position is the number of a line or of a row, from 1. `parts`: the files of a source
    of several; `rows`: how many records there are, None where it has to be counted.
    """

    columns: tuple[Column, ...] = ()
    unit: Literal["line", "row"] = "line"
    parts: tuple[str, ...] = ()
    rows: int | None = None

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def place(self, position: int) -> str:
        """Return how a position is told: `line 17`, or `row 17 of b.parquet`."""
        part, row = position >> _ROW_BITS, position & ((1 << _ROW_BITS) - 1)
        told = f"{self.unit} {row:,}"
        return f"{told} of {self.parts[part]}" if part < len(self.parts) else told


def position_in(part: int, row: int) -> int:
    """Return the position of a row in the `part`-th file of a source of several."""
    return part << _ROW_BITS | row


_SHAPE = msgspec.json.Decoder(Shape)


def read_shape(text: str) -> Shape:
    """Return the shape kept as JSON text; of an empty one nothing is known."""
    return _SHAPE.decode(text) if text else Shape()
