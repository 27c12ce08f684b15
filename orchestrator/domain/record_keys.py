"""Keys of several columns: `--key country,id`.

The key of a record is then the text of each column in order, joined by `|`: `de|1042`. A `|` or a
backslash within a value gets a backslash in front, so that no two records share a key whose
columns differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

SEPARATOR = "|"
_ESCAPED = re.compile(r"[\\|]")


def key_columns(key: str) -> tuple[str, ...]:
    """Return the columns that `key` names; a comma parts them."""
    return tuple(part.strip() for part in key.split(","))


def joined(parts: Iterable[str]) -> str:
    """Return the one key of a record whose columns have these texts."""
    return SEPARATOR.join(_ESCAPED.sub(r"\\\g<0>", part) for part in parts)
