"""The Arrow type of a column of an export."""

from __future__ import annotations

import pyarrow as pa

from orchestrator.sources.arrow_types import type_of


def arrow_type(words: str | None) -> pa.DataType:
    """Return the type that `words` name; string for words that are none, and for `json`."""
    try:
        return type_of(words or "")
    except (ValueError, RecursionError):
        return pa.string()
