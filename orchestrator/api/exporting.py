"""Hand back outcomes: one row a record, in source order, streamed to a sink in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

import msgspec

from orchestrator.api.views import no_prices
from orchestrator.domain.errors import SinkError
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import OPEN_REQUESTS, Job, RequestState
from orchestrator.domain.progress import Prices
from orchestrator.domain.tariff import Tariff
from orchestrator.provider.answer_text import answer_text
from orchestrator.registry import outcomes, reports
from orchestrator.registry.outcomes import Answered, Failed, Sourced
from orchestrator.registry.session import Registry
from orchestrator.sinks.files import Output
from orchestrator.sinks.formats import open_sink
from orchestrator.sinks.port import COLUMNS, OutcomeRow, column_names

OPEN = "open"
MAX_COLUMNS = 10_000
"""Columns of a CSV: more are rather names that hold data."""

_CHUNK_BYTES = 8 << 20
_FEWEST, _FIRST, _MOST = 16, 500, 4_000
_OPEN = frozenset(state.value for state in OPEN_REQUESTS)
_SUCCEEDED = RequestState.SUCCEEDED.value
_ASSIGNED = RequestState.ASSIGNED.value
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
    first, size = 0, _FIRST
    while first < job.books.records:
        with registry.read() as db:
            found = outcomes.source_rows(db, *outcomes.span(job.id, first, size))
        yield found
        first += size
        size = _next_size(size, sum(map(len, found)))


def _next_size(size: int, characters: int) -> int:
    """Return how many rows the next chunk holds, so that it stays near eight megabytes."""
    mean = max(1, characters // max(1, size))
    return max(_FEWEST, min(_MOST, _CHUNK_BYTES // mean))


class Rows:
    """The outcomes of a job in source order, a chunk at a time: a few range queries each.

    `looked_at` counts the records passed so far, `currency` is the one of the costs so far.
    """

    def __init__(
        self, registry: Registry, job: Job, where: Filter = (), prices: Prices = no_prices
    ) -> None:
        self._registry = registry
        self._job = job
        self._where = where
        self._prices = prices
        self._known: dict[str, Tariff | None] = {}
        self._labels: dict[int, str] = {}
        self.looked_at = 0
        self.currency = ""

    def __iter__(self) -> Iterator[list[OutcomeRow]]:
        size, total = _FIRST, self._job.books.records
        while self.looked_at < total:
            rows, characters = self._chunk(self.looked_at, size)
            self.looked_at = min(total, self.looked_at + size)
            if rows:
                yield rows
            size = _next_size(size, characters)

    def _chunk(self, first: int, size: int) -> tuple[list[OutcomeRow], int]:
        with self._registry.read() as db:
            found = outcomes.sourced(db, *outcomes.span(self._job.id, first, size), self._where)
            if not found:
                return [], 0
            ends = found[0].id, found[-1].id
            answered = outcomes.answered(db, *ends)
            failed = outcomes.failed(db, *ends)
            batches = {a.batch_id for a in answered} | {f.batch_id for f in failed}
            batches |= {row.batch_id for row in found if row.batch_id is not None}
            self._learn(reports.labels(db, list(batches - self._labels.keys())))
        answers = {answer.request_id: answer for answer in answered}
        tries = {key: list(each) for key, each in groupby(failed, attrgetter("request_id"))}
        rows = [self._row(row, answers.get(row.id), tries.get(row.id, ())) for row in found]
        characters = sum(len(row.record) for row in found) + sum(len(a.body) for a in answered)
        return rows, characters

    def _learn(self, numbers: dict[int, int]) -> None:
        self._labels.update({key: f"b{number:02d}" for key, number in numbers.items()})

    def _row(self, row: Sourced, answer: Answered | None, failed: Sequence[Failed]) -> OutcomeRow:
        if row.state == _SUCCEEDED and answer is not None:
            return OutcomeRow(
                row.record,
                _SUCCEEDED,
                answer_text(answer.body),
                answer.tokens_in,
                answer.tokens_out,
                self._cost(row.model, answer, failed),
                None,
                None,
                1 + len(failed),
                self._labels[answer.batch_id],
            )
        last = failed[-1] if failed else None
        cost = self._cost(row.model, None, failed) if failed else None
        if row.state in _OPEN:
            travels = row.state == _ASSIGNED and row.batch_id is not None
            return OutcomeRow(
                record=row.record,
                outcome=OPEN,
                cost=cost,
                attempts=len(failed) + travels,
                batch=self._labels[row.batch_id] if travels and row.batch_id else None,
            )
        return OutcomeRow(
            record=row.record,
            outcome=row.state,
            tokens_in=last.tokens_in if last else None,
            tokens_out=last.tokens_out if last else None,
            cost=cost,
            error_code=(last.code or last.cause) if last else None,
            error_message=last.message if last else None,
            attempts=len(failed),
            batch=self._labels[last.batch_id] if last else None,
        )

    def _cost(self, model: str, answer: Answered | None, failed: Sequence[Failed]) -> str | None:
        """Return what all attempts of a record cost, None where nothing tells."""
        if model not in self._known:
            price = self._prices(self._job.provider, model)
            self._known[model] = Tariff(price) if price else None
        tariff = self._known[model]
        if tariff is None:
            return None
        spent, told = 0, False
        for each in failed:
            if each.tokens_in is not None or each.tokens_out is not None:
                spent, told = spent + tariff.units(each.tokens_in, each.tokens_out, 0), True
        if answer is not None and (answer.tokens_in is not None or answer.tokens_out is not None):
            spent += tariff.units(answer.tokens_in, answer.tokens_out, answer.tokens_cached)
            told = True
        if not told:
            return None
        self.currency = tariff.currency
        return tariff.written(spent)
