"""Files of record batches, each format behind the same three words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

import pyarrow as pa
from pyarrow import ipc, parquet

from orchestrator.sources.columns import chunk_rows

_PAGE_BUFFER = 1 << 20
_GIVE_BACK = 8


class Table(Protocol):
    """An open file of record batches; `rows` is None where only reading tells."""

    schema: pa.Schema
    rows: int | None

    def chunks(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, about two megabytes at a time."""


class _Parquet:
    def __init__(self, file: BinaryIO) -> None:
        # A buffer for each column keeps a row group of any size from being held whole.
        self._file = parquet.ParquetFile(file, buffer_size=_PAGE_BUFFER, pre_buffer=False)
        self.schema = self._file.schema_arrow
        self.rows: int | None = self._file.metadata.num_rows

    def chunks(self) -> Iterator[pa.RecordBatch]:
        facts = self._file.metadata
        groups = [facts.row_group(number) for number in range(facts.num_row_groups)]
        size = chunk_rows(facts.num_rows, sum(group.total_byte_size for group in groups))
        return _given_back(self._file.iter_batches(batch_size=size, use_threads=False))


def _given_back(chunks: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Let the allocator return what it holds for later: it would grow to twice what is in use."""
    for number, chunk in enumerate(chunks):
        yield chunk
        if number % _GIVE_BACK == 0:
            pa.default_memory_pool().release_unused()


class _IpcFile:
    def __init__(self, file: BinaryIO) -> None:
        self._reader = ipc.open_file(file)
        self.schema = self._reader.schema
        self.rows: int | None = None

    def chunks(self) -> Iterator[pa.RecordBatch]:
        for number in range(self._reader.num_record_batches):
            yield from _sliced(self._reader.get_batch(number))


class _IpcStream:
    def __init__(self, file: BinaryIO) -> None:
        self._reader = ipc.open_stream(file)
        self.schema = self._reader.schema
        self.rows: int | None = None

    def chunks(self) -> Iterator[pa.RecordBatch]:
        for batch in self._reader:
            yield from _sliced(batch)


def _sliced(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    size = chunk_rows(batch.num_rows, batch.nbytes)
    for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


def _ipc(file: BinaryIO) -> Table:
    magic = file.read(6)
    file.seek(0)
    return _IpcFile(file) if magic == b"ARROW1" else _IpcStream(file)


_FORMATS: dict[str, Callable[[BinaryIO], Table]] = {"parquet": _Parquet, "arrow": _ipc}


def opened(source_format: str, file: BinaryIO) -> Table:
    """Return the file as a table. Raises what pyarrow raises for a damaged one."""
    return _FORMATS.get(source_format, _ipc)(file)
