"""What a sink takes: one row a record, in source order, and how its columns are named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from orchestrator.domain.shape import Column

OUTCOME_COLUMNS = (
    Column("outcome", "string"),
    Column("text", "string"),
    Column("tokens_in", "int64"),
    Column("tokens_out", "int64"),
    Column("cost", "decimal128(38, 12)"),
    Column("error_code", "string"),
    Column("error_message", "string"),
    Column("attempts", "int64"),
    Column("batch", "string"),
)
"""The columns that follow those of the source."""

COLUMNS = tuple(column.name for column in OUTCOME_COLUMNS)


class OutcomeRow(NamedTuple):
    """A source record and its outcome.

    `record` is the source row as a JSON object's text, exactly as it was. `outcome` is the final
    word, or `open`. `cost` is a decimal number as text, in the currency of the provider's price.
    `answer` is the checked answer of a job with an answer schema, as JSON text: its members
    become columns. `key` identifies the record in its job. None stands where there is nothing to
    tell or it is not known.
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
    key: str | None = None


def object_of(answer: str | None) -> str:
    """Return a checked answer as a JSON object's text: empty where there is none, or another kind.

    A schema may name members and let other kinds of JSON pass.
    """
    return answer if answer is not None and answer.startswith("{") else "{}"


class Block(NamedTuple):
    """Rows side by side: each field holds that field of every `OutcomeRow`, in order."""

    record: Sequence[str]
    outcome: Sequence[str]
    text: Sequence[str | None]
    tokens_in: Sequence[int | None]
    tokens_out: Sequence[int | None]
    cost: Sequence[str | None]
    error_code: Sequence[str | None]
    error_message: Sequence[str | None]
    attempts: Sequence[int]
    batch: Sequence[str | None]
    answer: Sequence[str | None]
    key: Sequence[str | None]

    def rows(self) -> list[OutcomeRow]:
        """Return the rows."""
        return list(map(OutcomeRow._make, zip(*self, strict=True)))


def block_of(rows: Iterable[OutcomeRow]) -> Block:
    """Return rows side by side."""
    return Block._make(zip(*rows, strict=True))


class Sink(Protocol):
    """Where outcomes go. What was written counts once `close` has returned, and not before."""

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Take the next rows. Raises SinkError."""

    def close(self) -> None:
        """Make everything durable and visible under its own name, at once. Raises SinkError."""

    def abandon(self) -> None:
        """Leave nothing of what was written behind."""


@runtime_checkable
class BlockSink(Protocol):
    """A sink that is faster with rows side by side."""

    def write_block(self, block: Block) -> None:
        """Take the next rows. Raises SinkError."""


def put(sink: Sink, block: Block) -> None:
    """Hand rows to a sink, side by side if it takes them so. Raises SinkError."""
    if isinstance(sink, BlockSink):
        sink.write_block(block)
    else:
        sink.write(block.rows())


class Header(NamedTuple):
    """The columns of an export, each part under the names that are free beside those before it.

    `source` holds the names and types of the record's members, `outcome` those that follow,
    `answer` those of the checked answer, whose members are called `members` in its JSON.
    """

    source: tuple[Column, ...]
    outcome: tuple[Column, ...]
    answer: tuple[Column, ...] = ()
    members: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in order."""
        return self.source + self.outcome + self.answer

    @property
    def renamed(self) -> tuple[tuple[str, str], ...]:
        """The outcome's and answer's columns that had to give way, as `(wanted, got)`."""
        wanted = COLUMNS + self.members
        got = (column.name for column in self.outcome + self.answer)
        return tuple((old, new) for old, new in zip(wanted, got, strict=True) if old != new)


def header_of(source: Iterable[Column], answer: Iterable[Column] = ()) -> Header:
    """Return the header of an export: `source` columns, the outcome's, then those of `answer`."""
    source, answer = tuple(source), tuple(answer)
    taken = {column.name for column in source}
    outcome = _free(OUTCOME_COLUMNS, taken)
    members = tuple(column.name for column in answer)
    return Header(source, outcome, _free(answer, taken), members)


def column_names(taken: Collection[str]) -> tuple[str, ...]:
    """Return the names of the outcome columns beside source columns named `taken`.

    A name that the source has already gets `answer_` in front, as often as it takes.
    """
    return tuple(column.name for column in _free(OUTCOME_COLUMNS, set(taken)))


def _free(columns: Iterable[Column], taken: set[str]) -> tuple[Column, ...]:
    """Return `columns` under names that are not taken, and take these."""
    found = []
    for column in columns:
        free = column.name
        while free in taken:
            free = f"answer_{free}"
        taken.add(free)
        found.append(Column(free, column.type))
    return tuple(found)
