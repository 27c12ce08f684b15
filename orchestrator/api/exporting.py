"""Hand back outcomes: one row a record, in source order, streamed to a sink in constant memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Job
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.engine.ahead import ahead
from orchestrator.engine.outcome_rows import Rows, header
from orchestrator.engine.row_maker import OPEN
from orchestrator.engine.source_columns import source_columns, typed_columns
from orchestrator.registry.session import Registry
from orchestrator.sinks.files import Output
from orchestrator.sinks.folders import OutputFolder
from orchestrator.sinks.formats import open_sink
from orchestrator.sinks.port import COLUMNS, Header, Sink, put

Progress = Callable[[int, int], None]
"""`(rows so far, records looked at)`, after every chunk."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote. `renamed`: columns that had to give way to the source's."""

    rows: int
    open: int
    renamed: tuple[tuple[str, str], ...]
    currency: str


def _tell_nobody(_rows: int, _records: int) -> None:
    """Tell nobody."""


def export(
    registry: Registry,
    job: Job,
    output: Output | OutputFolder,
    *,
    kind: str,
    where: Filter = (),
    raw: bool = False,
    prices: Prices = no_prices,
    on_progress: Progress = _tell_nobody,
) -> Exported:
    """Write the outcomes of a job to `output` as `kind`, whole or not at all.

    Where the source did not say its columns, a first, cheap pass reads them. Raises SinkError.
    """
    opened: Output | OutputFolder | Sink = output
    try:
        columns = header_for(registry, job, kind)
        sink = opened = open_sink(kind, output, columns, raw=raw)
        rows, still_open, seen = 0, 0, Rows(registry, job, where, prices)
        for block in seen.blocks(ahead):
            put(sink, block)
            rows += len(block.outcome)
            still_open += block.outcome.count(OPEN)
            on_progress(rows, seen.looked_at)
        sink.close()
    except BaseException:
        opened.abandon()
        raise
    return Exported(rows, still_open, columns.renamed, seen.currency)


def header_for(registry: Registry, job: Job, kind: str) -> Header:
    """Return the header of an export as `kind`: for JSON Lines names that clash are enough."""
    if kind in {"csv", "tsv"}:
        return header(job, source_columns(registry, job))
    if kind != "jsonl":
        return header(job, typed_columns(registry, job))
    ours = frozenset((*COLUMNS, *header(job).members))
    return header(job, source_columns(registry, job, wanted=lambda name: _clashes(name, ours)))


def _clashes(name: str, ours: frozenset[str]) -> bool:
    """Whether a source column has, or could come to have, the name of a column of ours."""
    while name not in ours and name.startswith("answer_"):
        name = name.removeprefix("answer_")
    return name in ours
