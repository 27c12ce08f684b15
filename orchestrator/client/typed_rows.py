"""Rows as Python has them: dates, decimals and bytes again where a source had such columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.domain.shape import Column
from orchestrator.sources.optional import installed

_AS_IN_JSON = frozenset({None, "string", "large_string", "bool", "int64", "int32", "double"})


class Typed:
    """Brings the values of rows back to the types that the columns of their source had.

    Columns that the source says no type of, and a value that does not fit, stay as JSON has them.
    Without pyarrow every column does.
    """

    def __init__(self, columns: Sequence[Column]) -> None:
        self._types = _types(columns)

    def rows(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the same rows with typed values; many at once cost less than one by one."""
        for name, of in self._types.items():
            there = [row for row in rows if name in row]
            for row, value in zip(there, _values([row[name] for row in there], of), strict=True):
                row[name] = value
        return rows


def _types(columns: Sequence[Column]) -> dict[str, Any]:
    told = {column.name: column.type for column in columns if column.type not in _AS_IN_JSON}
    if not told or installed("pyarrow") is None:
        return {}
    from orchestrator.sources.arrow_types import type_of  # noqa: PLC0415 - needs pyarrow

    return {name: type_of(words) for name, words in told.items() if words is not None}


def _values(values: list[Any], of: Any) -> list[Any]:  # noqa: ANN401 - an Arrow type
    from orchestrator.sources.json_arrow import arrow_array  # noqa: PLC0415 - needs pyarrow

    try:
        typed: list[Any] = arrow_array(values, of).to_pylist()
    except (TypeError, ValueError):
        return values
    return typed
