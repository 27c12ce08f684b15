"""CSV (RFC 4180, UTF-8, a header): source columns, then the outcome's."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from orchestrator.sinks.files import Output
from orchestrator.sinks.port import OutcomeRow

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_FORMULA = frozenset("=+-@\t\r\n")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)*|\.\d+)(?:[eE][+-]?\d+)?%?")


class CsvSink:
    """A table of text. A value of the source that is no text is written as its JSON.

    `raw=False` puts an apostrophe before text that a spreadsheet would run as a formula; numbers
    are let alone. `names`: the outcome columns' names. The header is written at once.
    """

    def __init__(
        self, output: Output, columns: Sequence[str], names: Sequence[str], *, raw: bool = False
    ) -> None:
        self._output = output
        self._columns = tuple(columns)
        self._raw = raw
        self._output.write(self._line([*self._columns, *names]).encode("utf-8", "replace"))

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

    def cells(self, row: OutcomeRow) -> list[str]:
        """Return the row's fields as text, before formulas are defused."""
        members = _MEMBERS.decode(row.record)
        found = [_cell(bytes(members.get(column, b""))) for column in self._columns]
        found += ["" if value is None else str(value) for value in row[1:-1]]
        return found

    def _line(self, cells: Sequence[str]) -> str:
        if not self._raw:
            cells = [defused(cell) if cell[:1] in _FORMULA else cell for cell in cells]
        return ",".join([_quoted(cell) for cell in cells]) + "\r\n"


def _cell(value: bytes) -> str:
    if value[:1] == b'"':
        return _TEXT.decode(value)
    return "" if value == b"null" else value.decode()


def defused(cell: str) -> str:
    """Return `cell` so that no spreadsheet takes it for a formula; a number stays a number."""
    if cell[:1] in _FORMULA and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def _quoted(cell: str) -> str:
    if '"' in cell:
        return '"' + cell.replace('"', '""') + '"'
    if "," in cell or "\n" in cell or "\r" in cell:
        return f'"{cell}"'
    return cell
