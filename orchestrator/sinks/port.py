"""What a sink takes: one row a record, in source order, and how its columns are named."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

COLUMNS = (
    "outcome",
    "text",
    "tokens_in",
    "tokens_out",
    "cost",
    "error_code",
    "error_message",
    "attempts",
    "batch",
)
"""The columns that follow those of the source."""


class OutcomeRow(NamedTuple):
    """A source record and its outcome.

    `record` is the source row as a JSON object's text, exactly as it was. `outcome` is the final
    word, or `open`. `cost` is a decimal number as text, in the currency of the provider's price.
    `answer` is the checked answer of a job with an answer schema, as JSON text: its members
    become columns. None stands where there is nothing to tell or it is not known.
    """

    record: str
    outcome: str
    text: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    attempts: int = 0
    batch: str | None = None
    answer: str | None = None


class Sink(Protocol):
    """Where outcomes go. What was written counts once `close` has returned, and not before."""

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Take the next rows. Raises SinkError."""

    def close(self) -> None:
        """Make everything durable and visible under its own name, at once. Raises SinkError."""

    def abandon(self) -> None:
        """Leave nothing of what was written behind."""


def column_names(taken: Collection[str]) -> tuple[str, ...]:
    """Return the names of the outcome columns beside source columns named `taken`.

    A name that the source has already gets `answer_` in front, as often as it takes.
    """
    names = []
    for name in COLUMNS:
        free = name
        while free in taken:
            free = f"answer_{free}"
        names.append(free)
    return tuple(names)
