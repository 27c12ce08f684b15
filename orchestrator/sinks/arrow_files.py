"""Parquet and Arrow files: outcomes as typed columns, gathered into groups of rows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.sinks.arrow_table import ArrowTable
from orchestrator.sinks.files import Output
from orchestrator.sinks.port import Block, Header, OutcomeRow, block_of

GROUP_ROWS = 100_000
GROUP_BYTES = 16 << 20
"""A group of rows is written when it has so many, or so many bytes: readers skip whole groups."""


class Handle:
    """An output as pyarrow and xlsxwriter want a file: it counts, and can't go back."""

    closed = False

    def __init__(self, output: Output) -> None:
        self._output: Output | None = output
        self._written = 0

    def give_up(self) -> None:
        """Take what a library writes when it is thrown away, and hand on no more of it."""
        self._output = None

    def write(self, data: Any) -> int:  # noqa: ANN401 - bytes, or what holds some
        """Hand the next bytes on."""
        given = bytes(data)
        if self._output is not None:
            self._output.write(given)
        self._written += len(given)
        return len(given)

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def flush(self) -> None:
        """Keep nothing back, so there is nothing to do."""

    def seekable(self) -> bool:
        """Say that there is no way back."""
        return False


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None:
        """Write a table as one group."""

    def close(self) -> None:
        """Write the end of the file."""


class ArrowSink:
    """A file of record batches. Holds two groups of rows: a thread writes one."""

    def __init__(self, output: Output, header: Header) -> None:
        self._output = output
        self._table = ArrowTable(header)
        self._group: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        self._handle = Handle(output)
        file = pa.PythonFile(self._handle, mode="w")
        self._writer = self._open(file, self._table.schema)
        self._thread = ThreadPoolExecutor(1, "sink")
        self._written: Future[None] | None = None

    def _open(self, file: pa.PythonFile, schema: pa.Schema) -> _Writer:
        return _writer(pa.ipc.new_file(file, schema))

    def write(self, rows: Sequence[OutcomeRow]) -> None:
        """Add a row for each."""
        self.write_block(block_of(rows))

    def write_block(self, block: Block) -> None:
        """Add rows that stand side by side."""
        batch = self._table.of_block(block)
        self._group.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._write_group()

    def close(self) -> None:
        """Complete the file."""
        if self._group:
            self._write_group()
        self._wait()
        self._thread.shutdown()
        self._writer.close()
        self._output.close()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._thread.shutdown()
        self._handle.give_up()
        self._output.abandon()

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._group, self._table.schema)
        self._group, self._rows, self._bytes = [], 0, 0
        self._wait()
        self._written = self._thread.submit(self._writer.write_table, table)

    def _wait(self) -> None:
        """Wait until what was handed over is written. Raises what went wrong with it."""
        if self._written is not None:
            self._written.result()


class FeatherSink(ArrowSink):
    """An Arrow file with LZ4: what `feather` means since its second version."""

    def _open(self, file: pa.PythonFile, schema: pa.Schema) -> _Writer:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        return _writer(pa.ipc.new_file(file, schema, options=options))


class ParquetSink(ArrowSink):
    """A Parquet file with Zstandard; types that only Arrow has come back through its schema."""

    def _open(self, file: pa.PythonFile, schema: pa.Schema) -> _Writer:
        return _writer(pq.ParquetWriter(file, schema, compression="zstd"))


def _writer(made: Any) -> _Writer:  # noqa: ANN401 - pyarrow says no types
    writer: _Writer = made
    return writer
