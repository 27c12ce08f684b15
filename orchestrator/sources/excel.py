"""Spreadsheets: one sheet of a workbook, its first row that is not blank the header.

A workbook has no nulls and no whole numbers: a blank cell is null, and so is one that shows an
error; a number without a fraction is a whole one. The library reads a sheet as a whole: memory
grows with it, up to the million rows that a sheet has.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from typing import Any

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Column, Shape
from orchestrator.sources import files
from orchestrator.sources.columns import refuse_names
from orchestrator.sources.optional import needed
from orchestrator.sources.options import NO_OPTIONS, refuse_unknown
from orchestrator.sources.places import place_of
from orchestrator.sources.port import BAD_ROW, MAX_ROW_BYTES, NOTHING_OPEN, Opening
from orchestrator.sources.python_values import Observed
from orchestrator.sources.watched import Watched

DAMAGED = "ORC2033"
NO_SHEET = "ORC2035"
_SAFE = 2**53
_MIDNIGHT = dt.time()

Row = list[Any]


class ExcelSource:
    """A sheet of a workbook, the first one unless the option `sheet` names another.

    A position is the number of the row as the spreadsheet shows it. Raises SourceError for a
    damaged workbook, a sheet that is not there, and a header without names of their own.
    """

    def __init__(
        self,
        location: str,
        source_format: str = "xlsx",
        *,
        options: Mapping[str, Any] = NO_OPTIONS,
        opening: Opening = NOTHING_OPEN,
        max_row_bytes: int = MAX_ROW_BYTES,  # noqa: ARG002 - a cell holds 32,767 characters
    ) -> None:
        refuse_unknown(options, ("sheet",), source_format)
        self.name = location
        self.source_format = source_format
        self.blank_rows = 0
        self._library = needed("python_calamine", f"reading {location}")
        self._sheet: str | None = options.get("sheet")
        self._file = Watched(place_of(location, opening))
        self._words: list[str | None] = []
        self._names = self._header(self._rows())[1]

    def shape(self) -> Shape:
        """Return the columns; their types are known after a whole pass."""
        words = self._words or [None] * len(self._names)
        columns = tuple(Column(name, kind) for name, kind in zip(self._names, words, strict=True))
        return Shape(columns=columns, unit="row")

    def digest(self) -> str:
        """Return the SHA-256 of the file; of a remote one that of its version."""
        return self._file.digest()

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass. Raises SourceError when the file is another one at the end of it."""
        self.blank_rows = 0
        with self._file.unchanged():
            rows = self._rows()
            number, names = self._header(rows)
            width = len(names)
            kept: list[tuple[int, Row]] = []
            bad: list[BadRow] = []
            for position, row in rows[number:]:
                if not any(cell != "" for cell in row):
                    self.blank_rows += 1
                elif any(cell != "" for cell in row[width:]):
                    reason = "a cell to the right of the header is filled"
                    bad.append(BadRow(position, BAD_ROW, reason))
                else:
                    kept.append((position, row[:width]))
            good = self._records(names, kept)
            yield from merge(good, bad, key=attrgetter("position"))  # type: ignore[misc]  # seen as the base of both

    def _records(self, names: list[str], kept: list[tuple[int, Row]]) -> Iterator[Record]:
        observed = Observed(len(names))
        cells = [_values(column) for column in zip(*(row for _, row in kept), strict=True)]
        columns = observed.json_columns(cells)
        self._words = observed.words()
        for (position, _), values in zip(kept, zip(*columns, strict=True), strict=True):
            yield Record(position, dict(zip(names, values, strict=True)))

    def _rows(self) -> list[tuple[int, Row]]:
        """Return every row of the sheet with its number."""
        with self._file.place.seeking() as file:
            files.refuse_no_byte(self.name, file)
            try:
                workbook = self._library.CalamineWorkbook.from_filelike(file)
                sheet = workbook.get_sheet_by_name(self._chosen(workbook.sheet_names))
                return list(enumerate(sheet.to_python(skip_empty_area=False), 1))
            except (self._library.CalamineError, OSError, ValueError) as error:
                raise self._damaged(error) from None

    def _chosen(self, sheets: Sequence[str]) -> str:
        first = sheets[0] if sheets else ""
        wanted = first if self._sheet is None else self._sheet
        if wanted in sheets:
            return wanted
        raise SourceError(
            f'{self.name} has no sheet "{wanted[:40]}"',
            code=NO_SHEET,
            why=f"its sheets are {', '.join(sheets[:20]) or 'none'}",
            safe="nothing was registered, nothing was sent",
            next=f'--sheet "{sheets[0]}"' if sheets else "name another file",
        )

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.name} can't be read as {self.source_format}",
            code=DAMAGED,
            why=str(error).splitlines()[0][:200],
            safe="nothing was registered, nothing was sent",
            next="save it again as .xlsx, without a password, or export the sheet as CSV",
        )

    def _header(self, rows: Sequence[tuple[int, Row]]) -> tuple[int, list[str]]:
        """Return the number of the header's row and the names in it."""
        for number, row in rows:
            names = [_name(cell) for cell in row]
            while names and not names[-1]:
                names.pop()
            if names:
                refuse_names(self.name, names)
                return number, names
        raise SourceError(f"{self.name} has no header row", code=files.EMPTY)


def _name(cell: object) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def _values(column: Sequence[Any]) -> list[Any]:
    """Return the cells of a column as the values that they show."""
    cells = [_value(cell) for cell in column]
    if {dt.date, dt.datetime} <= set(map(type, cells)):
        return [dt.datetime.combine(c, _MIDNIGHT) if type(c) is dt.date else c for c in cells]
    return cells


def _value(cell: Any) -> Any:  # noqa: ANN401 - any cell
    if cell == "":
        return None
    if type(cell) is float and cell.is_integer() and abs(cell) <= _SAFE:
        return int(cell)
    return cell
