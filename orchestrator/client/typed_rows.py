"""Rows as Python has them: dates, decimals and bytes again where a source had such columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.domain.shape import Column
from orchestrator.sinks.row_values import reader_of
from orchestrator.sources.optional import installed

_AS_IN_JSON = frozenset({"string", "large_string", "bool", "int64", "int32", "double"})

Read = Callable[[list[Any]], list[Any]]
"""Reads the values of a column, many at once: that costs less than one by one."""


class Typed:
    """Brings the values of rows back to the types that the columns of their source had.

    Columns that the source says no type of, and values that do not fit, stay as JSON has them.
    Without pyarrow so do lists and structs of what JSON lacks.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        told = {column.name: _reader(column.type) for column in columns if column.type}
        self._readers = {name: read for name, read in told.items() if read is not None}

    def rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the same rows with typed values."""
        for name, read in self._readers.items():
            there = [row for row in rows if name in row]
            for row, value in zip(there, _read([row[name] for row in there], read), strict=True):
                row[name] = value
        return rows


def _read(values: list[Any], read: Read) -> list[Any]:
    try:
        return read(values)
    except (TypeError, ValueError, ArithmeticError):
        return values


def _reader(words: str) -> Read | None:
    if words in _AS_IN_JSON:
        return None
    if installed("pyarrow") is not None:
        return _arrow_reader(words)
    one = reader_of(words)
    if one is None:
        return None
    return lambda values: [value if value is None else one(value) for value in values]


def _arrow_reader(words: str) -> Read:
    from orchestrator.sinks.arrow_values import codec_of  # noqa: PLC0415 - needs pyarrow
    from orchestrator.sources.arrow_types import type_of  # noqa: PLC0415

    array = codec_of(type_of(words)).array

    def read(values: list[Any]) -> list[Any]:
        typed: list[Any] = array(values).to_pylist()
        return typed

    return read
