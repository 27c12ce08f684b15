"""Messages made by a function of the user's: called once a record, its answers kept in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from orchestrator.client.spec import Message, Row
from orchestrator.client.typed_rows import Typed
from orchestrator.domain.intake import BadRow, Record
from orchestrator.sources.port import Source
from orchestrator.sources.rendered import RenderedFile

NO_MESSAGES = "ORC1154"
_CHUNK = 500

Make = Callable[[Row], Sequence[Message]]


def render(source: Source, make: Make, path: Path, *, limit: int | None = None) -> None:
    """Call `make` with the rows of `source`, typed, and keep what it returns beside each record.

    A call that fails, or returns no list of messages, becomes a bad row: all of them are told
    together, each with its place, when the job is planned or submitted.
    """
    shape = source.shape()
    typed = Typed(shape.columns)
    with RenderedFile(path, shape) as file:
        for chunk in _chunks(islice(source.records(), limit)):
            good = [row for row in chunk if isinstance(row, Record)]
            rows = iter(typed.rows([dict(row.data) for row in good]))
            for row in chunk:
                if isinstance(row, BadRow):
                    file.write_bad(row)
                else:
                    _add(file, row, next(rows), make)


def _chunks(rows: Iterator[Record | BadRow]) -> Iterator[list[Record | BadRow]]:
    while chunk := list(islice(rows, _CHUNK)):
        yield chunk


def _add(file: RenderedFile, record: Record, row: Row, make: Make) -> None:
    try:
        messages = _checked(make(row))
        file.write(record, msgspec.json.encode(messages))
    except Exception as error:
        words = str(error).splitlines()[0][:200] if str(error) else ""
        reason = f"messages failed: {type(error).__name__}" + (f": {words}" if words else "")
        file.write_bad(BadRow(record.position, NO_MESSAGES, reason))


def _checked(messages: object) -> list[Message]:
    if isinstance(messages, str) or not isinstance(messages, Sequence) or not messages:
        raise TypeError(f"it returned {_kind(messages)}; it must return a list of messages")
    for message in messages:
        if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
            raise TypeError("a message is a dict with role and content")
    return list(messages)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
