"""Records together with the messages that a program has made of each: written once, read often.

The first line holds the shape of the source that the records came from; each further line a
record with its messages, or a row that is wrong, told with the others when the file is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Shape
from orchestrator.sources import files
from orchestrator.sources.options import NO_OPTIONS, refuse_unknown
from orchestrator.sources.port import BAD_ROW, MAX_ROW_BYTES, NOTHING_OPEN, Opening

_encode = msgspec.json.encode
_shape = msgspec.json.Decoder(Shape).decode


class _Line(msgspec.Struct, omit_defaults=True):
    position: int
    record: msgspec.Raw = msgspec.Raw(b"{}")
    messages: msgspec.Raw = msgspec.Raw(b"")
    key: str = ""
    code: str = ""
    reason: str = ""


_line = msgspec.json.Decoder(_Line).decode
_row = msgspec.json.Decoder(dict[str, Any]).decode


class RenderedFile:
    """Writes the file that a RenderedSource reads."""

    def __init__(self, path: Path, shape: Shape) -> None:
        self._file = path.open("wb")
        self._file.write(_encode(shape) + b"\n")

    def write(self, record: Record, messages: bytes) -> None:
        """Add a record and its messages, a JSON array. Raises UnicodeEncodeError, TypeError."""
        raw = record.raw or _encode(record.data)
        line = _Line(record.position, msgspec.Raw(raw), msgspec.Raw(messages), record.key)
        self._file.write(_encode(line) + b"\n")

    def write_bad(self, row: BadRow) -> None:
        """Add a row that can't be read or rendered."""
        line = _Line(row.position, code=row.code, reason=row.reason)
        self._file.write(_encode(line) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class RenderedSource:
    """The records of such a file, in order, each with its messages. Holds one line."""

    def __init__(
        self,
        location: str,
        source_format: str = "rendered",
        *,
        options: Mapping[str, Any] = NO_OPTIONS,
        opening: Opening = NOTHING_OPEN,
        max_row_bytes: int = MAX_ROW_BYTES,
    ) -> None:
        refuse_unknown(options, (), source_format)
        self.name = location
        self.blank_rows = 0
        self._path = opening.cwd / location
        self._max_row_bytes = max_row_bytes
        self._lines: files.HashedLines | None = None

    def shape(self) -> Shape:
        """Return the shape of the source that the records came from."""
        with files.opened(self._path) as file:
            return _shape(file.readline())

    def digest(self) -> str:
        """Return the SHA-256 of what the latest pass has handed out: records and messages."""
        return self._lines.digest() if self._lines is not None else ""

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass."""
        with files.opened(self._path) as file:
            # The line of a record holds its messages too.
            self._lines = lines = files.HashedLines(file, 4 * self._max_row_bytes)
            lines.next()
            while line := lines.next():
                yield self._read(line)

    def _read(self, text: bytes) -> Record | BadRow:
        line = _line(text)
        if line.reason:
            return BadRow(line.position, line.code or BAD_ROW, line.reason)
        raw = bytes(line.record)
        return Record(line.position, _row(raw), raw, line.key, bytes(line.messages))
