"""Hand back outcomes: one row a record, in source order, streamed to a sink in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from orchestrator.domain.errors import SinkError
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Job
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.engine.outcome_rows import FIRST, OPEN, Rows, next_size
from orchestrator.registry import outcomes
from orchestrator.registry.session import Registry
from orchestrator.sinks.files import Output
from orchestrator.sinks.formats import open_sink
from orchestrator.sinks.port import COLUMNS, column_names

MAX_COLUMNS = 10_000
"""Columns of a CSV: more are rather names that hold data."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Progress = Callable[[int, int], None]
"""`(rows so far, records looked at)`, after every chunk."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote. `renamed`: outcome columns that had to give way to the source's."""

    rows: int
    open: int
    renamed: tuple[tuple[str, str], ...]
    currency: str


def _tell_nobody(_rows: int, _records: int) -> None:
    """Tell nobody."""


def export(
    registry: Registry,
    job: Job,
    output: Output,
    *,
    kind: str,
    where: Filter = (),
    raw: bool = False,
    prices: Prices = no_prices,
    on_progress: Progress = _tell_nobody,
) -> Exported:
    """Write the outcomes of a job to `output` as `kind` (jsonl, csv), whole or not at all.

    A first, cheap pass reads the names of the source columns. Raises SinkError.
    """
    try:
        columns = source_columns(registry, job, all_of_them=kind == "csv")
        names = column_names(columns)
        sink = open_sink(kind, output, columns=columns, names=names, raw=raw)
        rows, still_open, seen = 0, 0, Rows(registry, job, where, prices)
        for chunk in seen:
            sink.write(chunk)
            rows += len(chunk)
            still_open += sum(row.outcome == OPEN for row in chunk)
            on_progress(rows, seen.looked_at)
        sink.close()
    except BaseException:
        output.abandon()
        raise
    renamed = tuple((old, new) for old, new in zip(COLUMNS, names, strict=True) if old != new)
    return Exported(rows=rows, open=still_open, renamed=renamed, currency=seen.currency)


def source_columns(registry: Registry, job: Job, *, all_of_them: bool = True) -> list[str]:
    """Return the names of the source's columns in first-seen order, over all records.

    `all_of_them=False` keeps only those that an outcome column would like to have. Raises
    SinkError (ORC6005) for more than 10,000.
    """
    found: dict[str, None] = {}
    latest: list[str] = []
    for chunk in records(registry, job):
        for record in chunk:
            keys = list(_members(record))
            if keys != latest:
                latest = keys
                found.update(dict.fromkeys(k for k in keys if all_of_them or _is_ours(k)))
        if len(found) > MAX_COLUMNS:
            raise SinkError(
                f"the records of {job.name} have more than {MAX_COLUMNS:,} different columns",
                code="ORC6005",
                safe="every outcome stays in the registry",
                next=f"orchestrator export {job.name} -o {job.name}.jsonl",
            )
    return list(found)


def _is_ours(key: str) -> bool:
    """Whether a source column has, or could come to have, an outcome column's name."""
    return key.rpartition("answer_")[2] in COLUMNS


def records(registry: Registry, job: Job) -> Iterator[list[str]]:
    """Yield the source rows of a job as JSON text, in order, a chunk at a time."""
    first, size = 0, FIRST
    while first < job.books.records:
        with registry.read() as db:
            found = outcomes.source_rows(db, *outcomes.span(job.id, first, size))
        yield found
        first += size
        size = next_size(size, sum(map(len, found)))
