"""Excel workbooks: typed cells, a further sheet where one is full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from orchestrator.domain.errors import SinkError
from orchestrator.domain.shape import JSON, Column
from orchestrator.sinks.arrow_files import Handle
from orchestrator.sinks.arrow_table import ArrowTable
from orchestrator.sinks.arrow_types import arrow_type
from orchestrator.sinks.csv_file import is_formula
from orchestrator.sinks.files import Output
from orchestrator.sinks.port import Header, OutcomeRow

TOO_LONG = "ORC6012"
SHEET_ROWS = 1_048_576
CELL_CHARACTERS = 32_767
_DIGITS = 15
"""What a cell keeps of a number: whatever has more is written as text."""

_FIRST_DAY = date(1900, 3, 1)
"""Excel believes in a 29th of February 1900; days before it would be off by one."""

_AS_TEXT = re.compile(r"binary|large_binary|fixed_size_binary|null|duration|time\w*\[ns")
_SIGNIFICANT = re.compile(r"[eE].*|[-+.]")


class XlsxSink:
    """A workbook with one table, over as many sheets as its rows need. Holds one row.

    Numbers of more than 15 digits, days before March 1900 and times with a zone are text; so are
    lists. `raw=False` marks text that would be a formula if it were typed in, so that it stays
    text when the cell is edited. Raises SinkError (ORC6012) for a text that no cell can hold.
    """

    def __init__(self, output: Output, header: Header, *, raw: bool = False) -> None:
        self._output = output
        columns = [tuple(map(plain, part)) for part in (header.source, header.answer)]
        self._table = ArrowTable(header._replace(source=columns[0], answer=columns[1]))
        self._names = [column.name for column in header.columns]
        self._folder = TemporaryDirectory(prefix="orchestrator-")
        options = {"constant_memory": True, "tmpdir": self._folder.name}
        self._handle = Handle(output)
        self._book = xlsxwriter.Workbook(self._handle, options)
        self._formats = {
            kind: self._book.add_format({"num_format": shown})
            for kind, shown in (
                (datetime, "yyyy-mm-dd hh:mm:ss"),
                (date, "yyyy-mm-dd"),
                (time, "hh:mm:ss"),
            )
        }
        self._quoted = None if raw else self._book.add_format({"quote_prefix": True})
        self._sheets = 0
        self._rows = 0
        self._sheet, self._row = self._next_sheet()

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Write a row for each."""
        batch = self._table.batch(rows)
        columns = [column.to_pylist() for column in batch.columns]
        for row, cells in zip(rows, zip(*columns, strict=True), strict=True):
            if self._row == SHEET_ROWS:
                self._sheet, self._row = self._next_sheet()
            self._rows += 1
            for number, value in enumerate(cells):
                if value is not None:
                    self._cell(row, number, value)
            self._row += 1

    def close(self) -> None:
        """Complete the workbook."""
        self._book.close()
        self._folder.cleanup()
        self._output.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        for sheet in self._book.worksheets():
            sheet._opt_close()  # noqa: SLF001 - its temporary file, which nothing else closes
        self._folder.cleanup()
        self._handle.give_up()
        self._output.abandon()

    def _next_sheet(self) -> tuple[Worksheet, int]:
        self._sheets += 1
        name = "outcomes" if self._sheets == 1 else f"outcomes {self._sheets}"
        sheet = self._book.add_worksheet(name)
        bold = self._book.add_format({"bold": True})
        for number, column in enumerate(self._names):
            sheet.write_string(0, number, column, bold)
        sheet.freeze_panes(1, 0)
        return sheet, 1

    def _cell(self, row: OutcomeRow, number: int, value: Any) -> None:  # noqa: ANN401 - any value
        shown, at = cell_of(value), (self._row, number)
        match shown:
            case str():
                if length(shown) > CELL_CHARACTERS:
                    self._refuse(row, number, length(shown))
                self._sheet.write_string(*at, shown, self._quote(shown))
            case bool():
                self._sheet.write_boolean(*at, shown)
            case int() | float():
                self._sheet.write_number(*at, shown)
            case _:
                self._sheet.write_datetime(*at, shown, self._formats[type(shown)])

    def _quote(self, shown: str) -> Format | None:
        return self._quoted if is_formula(shown) else None

    def _refuse(self, row: OutcomeRow, number: int, length: int) -> None:
        name = self._names[number]
        raise SinkError(
            f"the {name} of record {row.key or self._rows} has {length:,} characters",
            code=TOO_LONG,
            where=f"row {self._rows:,} of the export, column {name}",
            why=f"a cell of a workbook holds at most {CELL_CHARACTERS:,}",
            safe="every outcome stays in the registry; no half file is left",
            next="export to csv or parquet, which hold texts of any length",
        )


def length(text: str) -> int:
    """Return how long Excel takes a text to be: it counts in UTF-16."""
    return len(text) + sum(character > "\uffff" for character in text)


def plain(column: Column) -> Column:
    """Return a column with a type of which a cell can show something.

    Lists and the like are JSON text. What is text in the record stays that where no cell keeps it
    whole: bytes, and times of nanoseconds.
    """
    kind = arrow_type(column.type)
    if pa.types.is_nested(kind):
        return Column(column.name, JSON)
    if _AS_TEXT.match(str(kind)):
        return Column(column.name, "string")
    return column


def cell_of(value: Any) -> str | bool | int | float | datetime | date | time:  # noqa: ANN401 - any
    """Return what stands in a cell for a value: itself where a cell can keep it, else text."""
    match value:
        case bool() | str():
            return value
        case int() | Decimal() | float():
            return _number(value)
        case datetime():
            fits = value.tzinfo is None and value.date() >= _FIRST_DAY and not value.microsecond
            return value if fits else value.isoformat()
        case date():
            return value if value >= _FIRST_DAY else value.isoformat()
        case time():
            return value.isoformat() if value.microsecond else value
    raise TypeError(f"a cell can't hold {type(value).__name__}")


def _number(value: float | Decimal) -> str | int | float:
    text = str(value)
    if not isinstance(value, float) and len(_SIGNIFICANT.sub("", text).strip("0")) > _DIGITS:
        return text
    number = float(value)
    if number - number != 0:  # NaN and the infinities have no cell of their own
        return text
    return value if isinstance(value, int) else number
