"""JSON Lines: one object a line, whatever its line ends, blank lines and byte order mark."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec

from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Column, Shape
from orchestrator.sources import files
from orchestrator.sources.options import NO_OPTIONS, refuse_unknown
from orchestrator.sources.places import place_of
from orchestrator.sources.port import BAD_ROW, MAX_ROW_BYTES, NOTHING_OPEN, Opening

SAMPLED_ROWS = 1000
_decoder = msgspec.json.Decoder(dict[str, Any])


class JsonlSource:
    """A file of JSON objects, one a line. Positions are line numbers.

    Holds one line, at most `max_row_bytes` of it. Numbers keep all their digits in `Record.raw`;
    in `Record.data` whole numbers do, fractions are doubles.
    """

    def __init__(
        self,
        location: str,
        source_format: str = "jsonl",
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
        self._max_row_bytes = max_row_bytes
        self._lines: files.HashedLines | None = None
        with self._place.reading() as file:
            files.refuse_no_byte(location, file)

    def shape(self) -> Shape:
        """Return the members of the first 1,000 objects, in order of appearance."""
        rows = islice(self.records(), SAMPLED_ROWS)
        names = dict.fromkeys(name for row in rows if isinstance(row, Record) for name in row.data)
        return Shape(columns=tuple(map(Column, names)))

    def digest(self) -> str:
        """Return the SHA-256 of the bytes handed out by the latest pass."""
        return self._lines.digest() if self._lines is not None else ""

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass; raises NotFound or SourceError if the file can't be read any more."""
        decode = _decoder.decode
        cap = self._max_row_bytes
        self.blank_rows = 0
        with self._place.reading() as file:
            self._lines = lines = files.HashedLines(file, cap)
            while line := lines.next():
                number = lines.number
                text = line.strip()
                if number == 1:
                    text = text.removeprefix(codecs.BOM_UTF8).strip()
                if not text:
                    self.blank_rows += 1
                    continue
                if len(line) > cap:
                    yield BadRow(number, BAD_ROW, f"the line has more than {cap:,} bytes")
                    continue
                try:
                    data = decode(text)
                except (ValueError, RecursionError) as error:
                    yield BadRow(number, BAD_ROW, _reason(text, error))
                    continue
                yield Record(number, data, text)


def _reason(text: bytes, error: Exception) -> str:
    """Say what is wrong with a line that could not be decoded. Bytes are counted from 0."""
    try:
        text.decode()
    except UnicodeDecodeError as wrong:
        return f"not UTF-8: {wrong.reason} (byte {wrong.start:,})"
    if isinstance(error, RecursionError):
        return "not usable: its values are nested too deeply"
    if "Expected `object`" in str(error):
        return f"not an object: {str(error).split(', ')[-1]}"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return f"not JSON: {str(error).removeprefix('JSON is malformed: ').lower()}"
    if isinstance(error, msgspec.ValidationError):
        return f"not usable: {str(error).split(' - at')[0].lower()}"
    return "not usable: it holds NaN, an infinity, or an escape for half a surrogate pair"
