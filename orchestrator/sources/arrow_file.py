"""Parquet and Arrow files: typed columns, read a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Column, Shape
from orchestrator.sources import files
from orchestrator.sources.columns import records_of, refuse_names
from orchestrator.sources.optional import needed
from orchestrator.sources.options import NO_OPTIONS, refuse_unknown
from orchestrator.sources.places import place_of
from orchestrator.sources.port import MAX_ROW_BYTES, NOTHING_OPEN, Opening
from orchestrator.sources.watched import Watched, changed

DAMAGED = "ORC2033"
NO_TEXT_FORM = "ORC2034"


class ArrowSource:
    """A file of Arrow record batches: Parquet, Feather, Arrow IPC, file or stream.

    A position is the number of a row, from 1. Holds one row group's pages of Parquet, or one
    record batch of Arrow, and about two megabytes of rows. Raises SourceError for a damaged
    file, for columns without a name of their own, and for a type that has no form as text.
    """

    def __init__(
        self,
        location: str,
        source_format: str = "parquet",
        *,
        options: Mapping[str, Any] = NO_OPTIONS,
        opening: Opening = NOTHING_OPEN,
        max_row_bytes: int = MAX_ROW_BYTES,  # noqa: ARG002 - a cell is read whole or not at all
    ) -> None:
        refuse_unknown(options, (), source_format)
        needed("pyarrow", f"reading {location}")
        self.name = location
        self.source_format = source_format
        self.blank_rows = 0
        self._file = Watched(place_of(location, opening))
        with self._opened() as table:
            self._columns = self._typed(table.schema)
            self._rows = table.rows

    def shape(self) -> Shape:
        """Return the columns with their types, and the number of rows where the file tells it."""
        return Shape(columns=self._columns, unit="row", rows=self._rows)

    def digest(self) -> str:
        """Return the SHA-256 of the file; of a remote one that of its version."""
        return self._file.digest()

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass. Raises SourceError when the file is another one at the end of it."""
        from orchestrator.sources.arrow_json import json_values  # noqa: PLC0415 - needs pyarrow

        names = [column.name for column in self._columns]
        first = 1
        with self._file.unchanged(), self._opened() as table:
            if self._typed(table.schema) != self._columns:
                raise changed(self.name)
            for batch in table.chunks():
                columns = [json_values(column) for column in batch.columns]
                yield from records_of(names, columns, first)
                first += batch.num_rows

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from pyarrow import ArrowException  # noqa: PLC0415 - optional

        from orchestrator.sources import arrow_tables  # noqa: PLC0415 - needs pyarrow

        with self._file.place.seeking() as file:
            files.refuse_no_byte(self.name, file)
            try:
                yield arrow_tables.opened(self.source_format, file)
            except (ArrowException, OSError, ValueError) as error:
                raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.name} can't be read as {self.source_format}",
            code=DAMAGED,
            why=str(error).splitlines()[0][:200],
            safe="nothing was registered, nothing was sent",
            next="write the file again, or say another --source-format",
        )

    def _typed(self, schema: Any) -> tuple[Column, ...]:  # noqa: ANN401 - pyarrow's
        from orchestrator.sources.arrow_types import NoTextForm, words_of  # noqa: PLC0415 - as above

        refuse_names(self.name, schema.names)
        columns = []
        for field in schema:
            try:
                columns.append(Column(field.name, words_of(field.type)))
            except NoTextForm as error:
                raise no_text_form(self.name, field.name, error) from None
        return tuple(columns)


def no_text_form(source: str, column: str, why: Exception) -> SourceError:
    """Return the error of a column whose type JSON can't carry."""
    return SourceError(
        f'the column "{column}" of {source} can\'t be written into a record',
        code=NO_TEXT_FORM,
        why=str(why)[:300],
        safe="nothing was registered, nothing was sent",
        next="leave the column out of the file, or cast it to text",
    )
