"""Databases as sources: a table or a query, read once, handed out as often as asked.

A table with a primary key is read in the key's order, a page at a time, each page in a short
transaction of its own; all else through a cursor at the server. The rows of the first pass are
kept in a file beside the reading, so that every later pass hands out the very same.
"""

from __future__ import annotations

import hashlib
import struct
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import count, repeat
from typing import IO, Any

import msgspec

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Column, Shape
from orchestrator.sources.columns import refuse_names
from orchestrator.sources.options import NO_OPTIONS, UNFIT, refuse_unknown
from orchestrator.sources.port import NOTHING_OPEN, Opening
from orchestrator.sources.python_values import NoForm, Observed
from orchestrator.sources.sql_rows import SqlRows

PREFIX = "sql:"
NO_TEXT_FORM = "ORC2034"
_LENGTH = struct.Struct("<I")
_json = msgspec.json.Encoder()
_lines = msgspec.json.Decoder()


class SqlSource:
    """The rows of the option `table`, or of the option `query`, at a connection.

    A position is the number of a row as it was read. Nothing is ever written: what a query
    changes is rolled back. Holds about two megabytes of rows.
    """

    def __init__(
        self,
        location: str,
        *,
        options: Mapping[str, Any] = NO_OPTIONS,
        opening: Opening = NOTHING_OPEN,
    ) -> None:
        refuse_unknown(options, ("table", "query"), "sql")
        table, query = options.get("table"), options.get("query")
        if (table is None) == (query is None):
            raise SourceError(
                f"{location} needs a table or a query",
                code=UNFIT,
                why="it has both" if table is not None else "it has neither",
                next="say --table NAME, --query SQL or --query-file FILE: one of them",
            )
        connection = location.removeprefix(PREFIX)
        self.name = f"{connection} {table}" if table is not None else f"the query on {connection}"
        self.blank_rows = 0
        engine = opening.connections.get(connection)
        self._rows = SqlRows(engine, self.name, table=table, query=query)
        names = self._rows.columns()
        self._places = [n for n, name in enumerate(names) if name not in opening.left_out]
        self._names = [names[place] for place in self._places]
        try:
            refuse_names(self.name, self._names)
        except SourceError:
            self._rows.close()
            raise
        self._observed = Observed(len(self._names))
        self._kept = _Kept(opening)
        self._sha = hashlib.sha256()

    def shape(self) -> Shape:
        """Return the columns; their types are known after a whole pass."""
        words = self._observed.words()
        columns = tuple(Column(name, kind) for name, kind in zip(self._names, words, strict=True))
        return Shape(columns=columns, unit="row", rows=self._kept.rows)

    def digest(self) -> str:
        """Return the SHA-256 of the names and of the rows of the latest pass so far."""
        return self._sha.hexdigest()

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass. Raises SourceError where the database fails, with the row before."""
        self._sha = hashlib.sha256(_json.encode(self._names))
        first = 1
        for text in self._chunks():
            self._sha.update(text)
            rows = _lines.decode_lines(text)
            pairs = map(zip, repeat(self._names), rows)
            yield from map(Record, count(first), map(dict, pairs))
            first += len(rows)

    def _chunks(self) -> Iterator[bytes]:
        """Yield the rows as lines of JSON, a chunk at a time: those kept, then those read anew."""
        before = 0
        for text in self._kept.chunks():
            before += 1
            yield text
        if self._kept.rows is not None:
            return
        with closing(self._rows.chunks()) as chunks:
            for number, rows in enumerate(chunks):
                text = self._text(rows)
                if number >= before:
                    self._kept.add(text)
                    yield text
        self._kept.end()

    def _text(self, rows: Sequence[Sequence[Any]]) -> bytes:
        every = list(zip(*rows, strict=True))
        columns = [every[place] for place in self._places]
        try:
            values = self._observed.json_columns(columns)
        except NoForm as error:
            column = self._names[error.args[1]]
            raise SourceError(
                f'the column "{column}" of {self.name} can\'t be written into a record',
                code=NO_TEXT_FORM,
                why=str(error.args[0]),
                safe="nothing was registered, nothing was sent",
                next=f"cast it in the query: CAST({column} AS text)",
            ) from None
        return _json.encode_lines(list(zip(*values, strict=True)))


class _Kept:
    """The chunks of the first pass, in a file without a name. `rows` is known once it is whole."""

    def __init__(self, opening: Opening) -> None:
        self._folder = opening.workdir
        self._file: IO[bytes] | None = None
        self._rows = 0
        self.rows: int | None = None

    def add(self, text: bytes) -> None:
        if self._file is None:
            # Lives as long as the source, without a name: nothing is left of it in any case.
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        self._file.seek(0, 2)
        self._file.write(_LENGTH.pack(len(text)) + text)
        self._rows += text.count(b"\n")

    def end(self) -> None:
        self.rows = self._rows

    def chunks(self) -> Iterator[bytes]:
        place = 0
        while self._file is not None:
            self._file.seek(place)
            head = self._file.read(_LENGTH.size)
            if not head:
                return
            (length,) = _LENGTH.unpack(head)
            place += _LENGTH.size + length
            yield self._file.read(length)
