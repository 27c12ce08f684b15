"""Which name was meant by one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(name: str, columns: Iterable[str]) -> str:
    """Return which column may have been meant by `name`, or which there are."""
    known = list(columns)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f'did you mean "{near[0][:80]}"?' if near else f"the columns are {listed(known)}"


def listed(columns: Sequence[str], most: int = 12) -> str:
    """Return the first of `columns`, and how many more there are."""
    shown = ", ".join(columns[:most])
    return f"{shown} and {len(columns) - most:,} more" if len(columns) > most else shown
