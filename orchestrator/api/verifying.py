"""Recount a job from its rows, and an exported file from both: which equations hold.

Expensive: it reads everything the job has. Nothing is changed.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import msgspec

from orchestrator.api.exporting import header_for
from orchestrator.domain.errors import IntegrityError, NotFound, UsageError
from orchestrator.domain.model import Job
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.engine.outcome_rows import Rows
from orchestrator.registry import jobs
from orchestrator.registry.recount import Recount, recount
from orchestrator.registry.session import Registry
from orchestrator.sinks.csv_file import CsvSink, defused
from orchestrator.sinks.formats import format_of
from orchestrator.sinks.jsonl import JsonlSink
from orchestrator.sinks.places import is_folder
from orchestrator.sinks.port import OutcomeRow
from orchestrator.sinks.remote_files import is_url

_LONGEST = 1 << 30
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Equation:
    """Two counts that must be equal, and what each of them is."""

    what: str
    left: int
    right: int

    @property
    def ok(self) -> bool:
        """Whether they are."""
        return self.left == self.right


def verify(
    registry: Registry, job: Job, *, export: Path | None = None, prices: Prices = no_prices
) -> list[Equation]:
    """Return every equation of a job, of one moment; with `export`, those of that file too.

    Raises NotFound for a file that is not there, IntegrityError for one that is no export.
    """
    with registry.moment() as db:
        counted, now = recount(db, job.id), jobs.get(db, job.id)
    found = _of_rows(now, counted)
    return found if export is None else [*found, *_of_file(registry, now, export, prices)]


def _of_rows(job: Job, counted: Recount) -> list[Equation]:
    books, state = job.books, counted.by_state.get
    rows = sum(counted.by_state.values())
    return [
        Equation(
            "records = succeeded + failed + expired + cancelled + open",
            books.records,
            books.recorded + books.open,
        ),
        Equation("records = rows of requests", books.records, rows),
        Equation("records = rows of payloads", books.records, counted.payloads),
        Equation("waiting = pending requests", books.waiting, state("pending", 0)),
        Equation("in flight = assigned requests", books.in_flight, state("assigned", 0)),
        Equation("succeeded = succeeded requests", books.succeeded, state("succeeded", 0)),
        Equation("failed = failed requests", books.failed, state("failed", 0)),
        Equation("expired = expired requests", books.expired, state("expired", 0)),
        Equation("cancelled = cancelled requests", books.cancelled, state("cancelled", 0)),
        Equation(
            "succeeded = succeeded requests with a response",
            books.succeeded,
            counted.responses_of_succeeded,
        ),
        Equation("succeeded = responses, of whatever request", books.succeeded, counted.responses),
        Equation(
            "failed + expired = those with a final failure",
            books.failed + books.expired,
            state("failed", 0) + state("expired", 0) - counted.unexplained,
        ),
        Equation("in flight = members of unfinished batches", books.in_flight, counted.members),
        Equation("assigned requests outside such batches = 0", counted.strays, 0),
        Equation("batches = rows of batches", job.batches, counted.batches),
        Equation(
            "succeeded = sum over batches + shared + cached",
            books.succeeded,
            counted.batch_succeeded + job.shared + job.cached,
        ),
        Equation("shared = answers of an equal request", job.shared, counted.shared),
        Equation("cached = answers of earlier jobs", job.cached, counted.cached),
        Equation("tokens in = sum over answers", job.tokens_in, counted.tokens_in),
        Equation("tokens out = sum over answers", job.tokens_out, counted.tokens_out),
        Equation("tokens cached = sum over answers", job.tokens_cached, counted.tokens_cached),
        Equation("tokens in = sum over the ledger", job.tokens_in, counted.charged_in),
        Equation("tokens out = sum over the ledger", job.tokens_out, counted.charged_out),
        Equation("tokens cached = sum over the ledger", job.tokens_cached, counted.charged_cached),
    ]


@dataclass(slots=True)
class _Compared:
    """Rows of a file against records of the registry, side by side."""

    file_rows: int = 0
    records: int = 0
    in_place: int = 0
    same: int = 0


class _Reader(Protocol):
    """An exported file as rows, and how one is compared with a record."""

    def rows(self, path: Path) -> Iterator[Any]:
        """Yield what stands for each record."""

    def same(self, got: Any, row: OutcomeRow) -> bool:  # noqa: ANN401 - what `rows` yields
        """Whether it is what would be written now."""

    def of_record(self, got: Any, row: OutcomeRow) -> bool:  # noqa: ANN401 - what `rows` yields
        """Whether it is of this record, whatever outcome it tells."""


def can_be_verified(location: str, kind: str, cwd: Path) -> bool:
    """Whether `verify` reads an export: one file on this machine, by the format of its ending."""
    one_file = not is_url(location) and not is_folder(location, cwd)
    return one_file and kind in _READERS and format_of(location, None) == kind


def _reader(registry: Registry, job: Job, path: Path) -> _Reader:
    kind = format_of(str(path), None)
    if kind not in _READERS:
        raise UsageError(
            f"an export as {kind} can't be verified",
            why="a workbook shows values in another form than records have",
            next=f"orchestrator export {job.name} -o {job.name}.parquet, and verify that",
        )
    return _READERS[kind](registry, job)


def _of_file(registry: Registry, job: Job, path: Path, prices: Prices) -> list[Equation]:
    compared = _Compared()
    reader = _reader(registry, job, path)
    expected = (row for chunk in Rows(registry, job, (), prices) for row in chunk)
    try:
        for got, row in zip_longest(reader.rows(path), expected):
            compared.file_rows += got is not None
            compared.records += row is not None
            if got is not None and row is not None:
                same = reader.same(got, row)
                compared.same += same
                compared.in_place += same or reader.of_record(got, row)
    except FileNotFoundError as exc:
        raise NotFound(f"there is no file {path}", next="name the exported file") from exc
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise IntegrityError(
            f"{path} can't be read as an export of {job.name}",
            why=str(exc)[:200],
            safe="every outcome stays in the registry",
            next=f"orchestrator export {job.name} -o {path}",
        ) from exc
    return [
        Equation("rows of the file = records", compared.file_rows, compared.records),
        Equation(
            "rows that are their record, in source order", compared.in_place, compared.records
        ),
        Equation("rows with the outcome of the registry", compared.same, compared.records),
    ]


class _Nowhere:
    """An output that keeps only the latest bytes."""

    def __init__(self) -> None:
        self.latest = b""

    def write(self, data: bytes) -> None:
        self.latest = data

    def close(self) -> None:
        self.latest = b""

    abandon = close


class _Jsonl:
    """Lines of an exported file against what would be written now."""

    def __init__(self, registry: Registry, job: Job) -> None:
        self._output = _Nowhere()
        header = header_for(registry, job, "jsonl")
        self._names = {column.name for column in header.outcome + header.answer}
        self._sink = JsonlSink(self._output, header)

    def rows(self, path: Path) -> Iterator[bytes]:
        """Yield the lines."""
        with path.open("rb", buffering=1 << 20) as file:
            while line := file.readline(_LONGEST):
                yield line

    def same(self, got: bytes, row: OutcomeRow) -> bool:
        """Whether the line is the very one that belongs here."""
        self._sink.write([row])
        return got == self._output.latest

    def of_record(self, got: bytes, row: OutcomeRow) -> bool:
        """Whether the line is of this record, whatever outcome it tells."""
        try:
            members = _members(got)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False
        told = {name: bytes(v) for name, v in members.items() if name not in self._names}
        return told == {name: bytes(value) for name, value in _members(row.record).items()}


class _Csv:
    """Rows of an exported table against what would be written now."""

    def __init__(self, registry: Registry, job: Job, delimiter: str = ",") -> None:
        self._delimiter = delimiter
        header = header_for(registry, job, "csv")
        self._width = len(header.source)
        self._sink = CsvSink(_Nowhere(), header, raw=True)
        self._header = [column.name for column in header.columns]

    def rows(self, path: Path) -> Iterator[list[str]]:
        """Yield the rows behind the header."""
        csv.field_size_limit(_LONGEST)
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, delimiter=self._delimiter, strict=True)
            if not _equal(next(reader, []), self._header):
                raise csv.Error("its header is another one")
            yield from reader

    def same(self, got: Sequence[str], row: OutcomeRow) -> bool:
        """Whether the row is the very one that belongs here, formulas defused or not."""
        return _equal(got, self._sink.cells(row))

    def of_record(self, got: Sequence[str], row: OutcomeRow) -> bool:
        """Whether the row is of this record, whatever outcome it tells."""
        return _equal(got[: self._width], self._sink.cells(row)[: self._width])


def _equal(got: Sequence[str], cells: Sequence[str | None]) -> bool:
    written = [cell or "" for cell in cells]
    return list(got) in (written, [defused(cell) for cell in written])


class _Arrow:
    """Rows of a typed table against what would be written now."""

    def __init__(self, registry: Registry, job: Job, kind: str) -> None:
        from orchestrator.sinks.arrow_table import ArrowTable  # noqa: PLC0415 - needs pyarrow

        header = header_for(registry, job, kind)
        self._kind = kind
        self._table = ArrowTable(header)
        self._source = [column.name for column in header.source]

    def rows(self, path: Path) -> Iterator[dict[str, Any]]:
        """Yield the rows, told by column. Raises OSError for a file that is no such table."""
        import pyarrow as pa  # noqa: PLC0415 - text is verified without it
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            if self._kind == "parquet":
                batches = pq.ParquetFile(path).iter_batches(batch_size=4_096)
            else:
                file = pa.ipc.open_file(path)
                batches = map(file.get_batch, range(file.num_record_batches))
            for batch in batches:
                yield from batch.to_pylist()
        except pa.ArrowInvalid as exc:
            raise OSError(str(exc)) from exc

    def same(self, got: dict[str, Any], row: OutcomeRow) -> bool:
        """Whether the row is the very one that belongs here."""
        return repr(got) == repr(self._row(row))

    def of_record(self, got: dict[str, Any], row: OutcomeRow) -> bool:
        """Whether the row is of this record, whatever outcome it tells."""
        wanted = self._row(row)
        return all(repr(got.get(name)) == repr(wanted[name]) for name in self._source)

    def _row(self, row: OutcomeRow) -> dict[str, Any]:
        found: dict[str, Any] = self._table.batch([row]).to_pylist()[0]
        return found


_READERS: Mapping[str, Callable[[Registry, Job], _Reader]] = {
    "jsonl": _Jsonl,
    "csv": _Csv,
    "tsv": lambda registry, job: _Csv(registry, job, "\t"),
    "parquet": lambda registry, job: _Arrow(registry, job, "parquet"),
    "arrow": lambda registry, job: _Arrow(registry, job, "arrow"),
    "feather": lambda registry, job: _Arrow(registry, job, "feather"),
}
