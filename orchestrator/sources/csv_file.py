"""Comma and tab separated text with a header row. Every value is text."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Column, Shape
from orchestrator.sources import files
from orchestrator.sources.options import NO_OPTIONS, refuse_unknown
from orchestrator.sources.places import place_of
from orchestrator.sources.port import BAD_ROW, MAX_ROW_BYTES, NOTHING_OPEN, Opening

HEADER = "ORC2007"


class _RowTooLong(Exception):
    """A row, or a quotation that is never closed, has passed the cap."""


class CsvSource:
    """A file of separated values. A position is the number of the line where the row begins.

    UTF-8 with or without byte order mark; rows may go over several lines within quotes; the
    delimiter is a tab for the format `tsv`, a comma else. Holds one row, at most
    `max_row_bytes` of it. Raises SourceError for a header with blank or repeated names.
    """

    def __init__(
        self,
        location: str,
        source_format: str = "csv",
        *,
        options: Mapping[str, Any] = NO_OPTIONS,
        opening: Opening = NOTHING_OPEN,
        max_row_bytes: int = MAX_ROW_BYTES,
    ) -> None:
        refuse_unknown(options, (), source_format)
        self.name = location
        self.source_format = source_format
        self.blank_rows = 0
        self._place = place_of(location, opening)
        self._delimiter = "\t" if source_format == "tsv" else ","
        self._max_row_bytes = max_row_bytes
        self._rows: _Rows | None = None
        # The reader's own limit, 128 KiB a field, is one for the whole process and too small for
        # documents; the cap on a row holds in its place.
        csv.field_size_limit(max(csv.field_size_limit(), max_row_bytes))
        with self._place.reading() as file:
            files.refuse_no_byte(location, file)

    def shape(self) -> Shape:
        """Return the names in the header; every value is text."""
        with self._place.reading() as file:
            names = self._header(self._start(file))
        return Shape(columns=tuple(Column(name, "string") for name in names))

    def digest(self) -> str:
        """Return the SHA-256 of the bytes handed out by the latest pass."""
        return self._rows.lines.digest() if self._rows is not None else ""

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass; raises NotFound or SourceError if the file can't be read any more."""
        self.blank_rows = 0
        with self._place.reading() as file:
            rows = self._rows = self._start(file)
            header = self._header(rows)
            width = len(header)
            while (row := rows.next()) is not None:
                if isinstance(row, BadRow):
                    yield row
                elif not row:
                    self.blank_rows += 1
                elif len(row) != width:
                    reason = f"the row has {len(row):,} fields, the header {width:,}"
                    yield BadRow(rows.begin, BAD_ROW, reason)
                else:
                    yield Record(rows.begin, dict(zip(header, row, strict=True)))

    def _start(self, file: BinaryIO) -> _Rows:
        return _Rows(
            files.HashedLines(file, self._max_row_bytes), self._delimiter, self._max_row_bytes
        )

    def _header(self, rows: _Rows) -> list[str]:
        header = rows.next()
        while header == []:
            header = rows.next()
        if header is None:
            raise SourceError(f"{self.name} has no header row", code=files.EMPTY)
        if isinstance(header, BadRow):
            raise SourceError(
                f"the header of {self.name} can't be read: {header.reason}",
                code=HEADER,
                where=f"line {header.position:,}",
            )
        self._check(header, rows.begin)
        return header

    def _check(self, header: list[str], line: int) -> None:
        blank = [number for number, name in enumerate(header, 1) if not name.strip()]
        repeated = [name for name, count in Counter(header).items() if count > 1 and name.strip()]
        details = [f"column {number:,} has no name" for number in blank]
        details += [
            f'"{name}" names the columns '
            + " and ".join(f"{number:,}" for number, other in enumerate(header, 1) if other == name)
            for name in repeated
        ]
        if details:
            raise SourceError(
                f"the header of {self.name} is not usable: {details[0]}",
                code=HEADER,
                where=f"line {line:,}",
                next="give every column a name of its own",
                details=details,
            )


class _Rows:
    """Rows of a file, and the line where the latest one begins."""

    def __init__(self, lines: files.HashedLines, delimiter: str, cap: int) -> None:
        self.lines = lines
        self.begin = 0
        self._text = _Text(lines, cap)
        self._reader = csv.reader(self._text, delimiter=delimiter, strict=True)

    def next(self) -> list[str] | BadRow | None:
        """Return the next row, [] for a blank line, None at the end of the file."""
        self.begin = self.lines.number + 1
        self._text.begin_row()
        try:
            row = next(self._reader)
        except StopIteration:
            return None
        except _RowTooLong as error:
            return BadRow(self.begin, BAD_ROW, str(error))
        except csv.Error as error:
            return BadRow(self.begin, BAD_ROW, f"not CSV: {error}")
        return BadRow(self.begin, BAD_ROW, self._text.fault) if self._text.fault else row


class _Text:
    """Decoded lines for the csv reader; keeps reading where an iterator that raised would end."""

    def __init__(self, lines: files.HashedLines, cap: int) -> None:
        self._lines = lines
        self._cap = cap
        self._row_bytes = 0
        self.fault = ""

    def begin_row(self) -> None:
        self._row_bytes = 0
        self.fault = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._lines.next()
        if not line:
            raise StopIteration
        self._row_bytes += len(line)
        if self._row_bytes > self._cap:
            raise _RowTooLong(
                f"the row has more than {self._cap:,} bytes; a quotation may never be closed"
            )
        try:
            return line.decode("utf-8-sig" if self._lines.number == 1 else "utf-8")
        except UnicodeDecodeError as wrong:
            place = f"line {self._lines.number:,}, byte {wrong.start:,}"
            self.fault = self.fault or f"not UTF-8: {wrong.reason} ({place})"
            return line.decode("utf-8", "replace")
