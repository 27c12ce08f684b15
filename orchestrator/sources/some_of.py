"""What a source is that hands out some of another one's records."""

from __future__ import annotations

import msgspec

from orchestrator.domain.shape import Shape
from orchestrator.sources.port import Source


class SomeOf:
    """Another source, as far as it stays what it was: its name, its columns, its blank rows."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        """What the user called the source."""
        return self._source.name

    @property
    def blank_rows(self) -> int:
        """Blank rows skipped so far by the latest pass."""
        return self._source.blank_rows

    def shape(self) -> Shape:
        """Return the source's shape; how many records are left is not known yet."""
        return msgspec.structs.replace(self._source.shape(), rows=None)
