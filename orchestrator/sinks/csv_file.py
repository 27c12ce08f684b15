"""CSV (RFC 4180, UTF-8, a header): source columns, then the outcome's."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from orchestrator.sinks.files import Output
from orchestrator.sinks.port import COLUMNS, Header, OutcomeRow, object_of

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_FORMULA = frozenset("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)*|\.\d+)(?:[eE][+-]?\d+)?%?")


class CsvSink:
    """A table of text. A value that is no text is written as its JSON, null as nothing at all.

    Text of no characters is written as `""`, so that it can be told from null. `raw=False` puts
    an apostrophe before text that a spreadsheet would run as a formula; numbers are let alone.
    The header is written at once.
    """

    def __init__(
        self, output: Output, header: Header, *, delimiter: str = ",", raw: bool = False
    ) -> None:
        self._output = output
        self._columns = tuple(column.name for column in header.source)
        self._answer = header.members
        self._raw = raw
        self._delimiter = delimiter
        self._special = re.compile(f'[{delimiter}"\r\n]').search
        names = [column.name for column in header.columns]
        self._output.write(self._line(names).encode("utf-8", "replace"))

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Write a row for each."""
        lines = [self._line(self.cells(row)) for row in rows]
        self._output.write("".join(lines).encode("utf-8", "replace"))

    def close(self) -> None:
        """Complete the file."""
        self._output.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._output.abandon()

    def cells(self, row: OutcomeRow) -> list[str | None]:
        """Return the row's fields as text, before formulas are defused."""
        found = _cells(row.record, self._columns)
        found += [None if value is None else str(value) for value in row[1 : 1 + len(COLUMNS)]]
        return found + _cells(object_of(row.answer), self._answer) if self._answer else found

    def _line(self, cells: Sequence[str | None]) -> str:
        return self._delimiter.join([self._field(cell) for cell in cells]) + "\r\n"

    def _field(self, cell: str | None) -> str:
        if cell is None:
            return ""
        if not self._raw and cell[:1] in _FORMULA:
            cell = defused(cell)
        if not cell or self._special(cell):
            return '"' + cell.replace('"', '""') + '"'
        return cell


def _cells(text: str, columns: Sequence[str]) -> list[str | None]:
    members = _MEMBERS.decode(text)
    return [_cell(bytes(members.get(column, b"null"))) for column in columns]


def _cell(value: bytes) -> str | None:
    if value[:1] == b'"':
        return _TEXT.decode(value)
    return None if value == b"null" else value.decode()


def defused(cell: str) -> str:
    """Return `cell` so that no spreadsheet takes it for a formula; a number stays a number."""
    return f"'{cell}" if is_formula(cell) else cell


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet would take `cell` for a formula, and not for a number."""
    return cell[:1] in _FORMULA and not _NUMBER.fullmatch(cell)
