"""A source with a condition: records for which it does not hold are passed over."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain.conditions import FAILS, Condition, ConditionFails
from orchestrator.domain.intake import BadRow, Record
from orchestrator.sources.port import Source
from orchestrator.sources.some_of import SomeOf


class Filtered(SomeOf):
    """Another source's records for which a condition holds, at their own positions.

    Rows that can't be read, and records for which the condition has no answer, are handed out as
    BadRows: nothing is passed over by mistake. Raises SourceError for a condition that is none.
    """

    def __init__(self, source: Source, condition: str) -> None:
        super().__init__(source)
        self._condition = Condition(condition, source.shape().names)
        self.passed_over = 0
        """Records for which the condition did not hold, in the latest pass."""

    def digest(self) -> str:
        """Return the digest of the source, whatever the condition."""
        return self._source.digest()

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass from the first row."""
        self.passed_over = 0
        holds = self._condition.holds
        for row in self._source.records():
            if isinstance(row, Record):
                try:
                    wanted = holds(row.data)
                except ConditionFails as error:
                    yield BadRow(row.position, FAILS, str(error))
                    continue
                if not wanted:
                    self.passed_over += 1
                    continue
            yield row
