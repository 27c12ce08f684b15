"""JSON Lines: the source row as it was, outcome columns behind its own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from orchestrator.sinks.files import Output
from orchestrator.sinks.port import Header, OutcomeRow, object_of

_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class JsonlSink:
    """One JSON object a line. Values, number formats and order of the source row are kept."""

    def __init__(self, output: Output, header: Header) -> None:
        self._output = output
        self._keys = tuple(_key(column.name) for column in header.outcome)
        keys = (f",{_key(column.name)}" for column in header.answer)
        self._answer = tuple(zip(header.members, keys, strict=True))

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Write a line for each row."""
        lines = [self._line(row) for row in rows]
        self._output.write("".join(lines).encode("utf-8", "replace"))

    def close(self) -> None:
        """Complete the file."""
        self._output.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._output.abandon()

    def _line(self, row: OutcomeRow) -> str:
        outcome, text, tokens_in, tokens_out, cost, code, message, attempts, batch = self._keys
        head = row.record.strip()[:-1].rstrip()
        if "\r" in head:
            head = head.replace("\r", " ")  # only ever between values, where any space will do
        comma = "" if head == "{" else ","
        return (
            f'{head}{comma}{outcome}"{row.outcome}",{text}{_text(row.text)},'
            f"{tokens_in}{_number(row.tokens_in)},{tokens_out}{_number(row.tokens_out)},"
            f"{cost}{_number(row.cost)},{code}{_text(row.error_code)},"
            f"{message}{_text(row.error_message)},{attempts}{row.attempts},"
            f"{batch}{_text(row.batch)}{self._members(row.answer)}}}\n"
        )

    def _members(self, answer: str | None) -> str:
        if not self._answer:
            return ""
        members = _members(object_of(answer))
        return "".join(f"{key}{_raw(members.get(name))}" for name, key in self._answer)


def _key(name: str) -> str:
    return f"{_encode(name).decode()}:"


def _raw(value: msgspec.Raw | None) -> str:
    return "null" if value is None else bytes(value).decode()


def _text(value: str | None) -> str:
    return "null" if value is None else _encode(value).decode()


def _number(value: int | str | None) -> str:
    return "null" if value is None else str(value)
