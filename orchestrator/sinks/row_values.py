"""An outcome as values: what its columns hold, typed as the source's own types say."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from orchestrator.sinks.chunks import SinkRefused
from orchestrator.sinks.port import COLUMNS, Header, OutcomeRow

_members = msgspec.json.Decoder(dict[str, Any]).decode


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


_READERS: Mapping[str, Callable[[str], object]] = {
    "date": date.fromisoformat,
    "timestamp": datetime.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
    "binary": _bytes,
    "large_binary": _bytes,
    "fixed_size_binary": _bytes,
}
"""How the types that JSON lacks are read, by how their words begin: ISO 8601, digits, base64."""


def reader_of(words: str | None) -> Callable[[str], object] | None:
    """Return what reads the text of a value of an Arrow type; None where JSON says it all."""
    if words is None:
        return None
    return next((read for head, read in _READERS.items() if words.startswith(head)), None)


class RowValues:
    """Reads rows under one header."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._readers = {
            column.name: reader
            for column in header.columns
            if (reader := reader_of(column.type)) is not None
        }
        self._outcome = [column.name for column in header.outcome]
        self._answer = list(zip(header.members, (c.name for c in header.answer), strict=True))

    def read(self, row: OutcomeRow) -> dict[str, Any]:
        """Return the values of a row by column name. Raises SinkRefused (ORC6024)."""
        record = _members(row.record)
        values = {column.name: record.get(column.name) for column in self.header.source}
        values |= dict(zip(self._outcome, row[1 : 1 + len(COLUMNS)], strict=True))
        answer = _members(row.answer) if row.answer and row.answer.startswith("{") else {}
        values |= {name: answer.get(member) for member, name in self._answer}
        for name, reader in self._readers.items():
            value = values[name]
            if isinstance(value, str):
                values[name] = _typed(reader, value, name)
        return values


def _typed(reader: Callable[[str], object], text: str, column: str) -> object:
    try:
        return reader(text)
    except (ValueError, InvalidOperation, binascii.Error):
        raise SinkRefused(
            f"the column {column} holds a value that is not of its type",
            code="ORC6024",
            next="orchestrator records show KEY",
        ) from None
