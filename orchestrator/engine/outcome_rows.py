"""A job's outcomes as rows: in source order, or in the order they came; in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection

from orchestrator.domain.answer_columns import columns_of
from orchestrator.domain.answers import Checker
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import OPEN_REQUESTS, Job, RequestState
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.domain.shape import Column, read_shape
from orchestrator.domain.tariff import Tariff
from orchestrator.engine.context import read_spec
from orchestrator.provider.answer_text import answer_text
from orchestrator.registry import outcomes, reports
from orchestrator.registry.outcomes import Answered, Failed, Sourced, Stamped
from orchestrator.registry.session import Registry
from orchestrator.sinks.port import Header, OutcomeRow, header_of

OPEN = "open"

_CHUNK_BYTES = 8 << 20
_FEWEST, FIRST, _MOST = 16, 500, 4_000
_OPEN = frozenset(state.value for state in OPEN_REQUESTS)
_SUCCEEDED = RequestState.SUCCEEDED.value
_ASSIGNED = RequestState.ASSIGNED.value
_CACHE = "cache"
_UNSENT = frozenset({"twin", _CACHE})
"""Responses that no line brought: they took no attempt and cost nothing."""


def header(job: Job, source: Sequence[Column] | None = None) -> Header:
    """Return the columns of a job's outcomes, behind those of its source.

    `source`: its columns where they are known better than the job's shape has them.
    """
    answer = read_spec(job.spec).answer
    members = columns_of(answer.schema) if answer is not None else ()
    return header_of(read_shape(job.shape).columns if source is None else source, members)


def export_columns(job: Job) -> tuple[Column, ...]:
    """Return the columns of a job's outcomes: its source's, the outcome's, its answers'.

    Only a column of the source can be without a type: its values are what JSON makes them.
    """
    return header(job).columns


def next_size(size: int, characters: int) -> int:
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
        self._maker = _RowMaker(job, prices)
        self.looked_at = 0

    @property
    def currency(self) -> str:
        """The currency of the costs so far."""
        return self._maker.currency

    def __iter__(self) -> Iterator[list[OutcomeRow]]:
        size, total = FIRST, self._job.books.records
        while self.looked_at < total:
            rows, characters = self._chunk(self.looked_at, size)
            self.looked_at = min(total, self.looked_at + size)
            if rows:
                yield rows
            size = next_size(size, characters)

    def _chunk(self, first: int, size: int) -> tuple[list[OutcomeRow], int]:
        with self._registry.read() as db:
            found = outcomes.sourced(db, *outcomes.span(self._job.id, first, size), self._where)
            if not found:
                return [], 0
            ends = found[0].id, found[-1].id
            answered = outcomes.answered(db, *ends)
            failed = outcomes.failed(db, *ends)
            self._maker.learn(db, found, answered, failed)
        characters = sum(len(row.record) for row in found) + sum(len(a.body) for a in answered)
        return self._maker.rows(found, answered, failed), characters


def outcomes_after(
    registry: Registry,
    job: Job,
    stamp: int,
    id: int,  # noqa: A002 - the column's name
    limit: int,
    prices: Prices = no_prices,
) -> list[tuple[int, int, OutcomeRow]]:
    """Return outcomes as they were recorded, behind one `stamp` and `id`, each with its own.

    `limit` at most, fewer where they are large; none if there are no more by now. Nothing that
    is recorded later ever stands before what was returned.
    """
    with registry.moment() as db:
        found = _within(outcomes.stamped(db, job.id, (stamp, id), limit))
        told = outcomes.told(db, [each.id for each in found])
        maker = _RowMaker(job, prices)
        maker.learn(db, *told)
    rows = dict(zip((row.id for row in told[0]), maker.rows(*told), strict=True))
    return [(each.stamp, each.id, rows[each.id]) for each in found]


def _within(found: list[Stamped]) -> list[Stamped]:
    """Return the first of these that stay near eight megabytes, at least one."""
    total = 0
    for number, each in enumerate(found):
        total += each.size
        if number and total > _CHUNK_BYTES:
            return found[:number]
    return found


class _RowMaker:
    """Makes rows of what the registry tells of records. `currency`: of the costs so far."""

    def __init__(self, job: Job, prices: Prices) -> None:
        self._provider = job.provider
        self._prices = prices
        self._known: dict[str, Tariff | None] = {}
        self._labels: dict[int, str] = {}
        answer = read_spec(job.spec).answer
        self._check = Checker(answer).check if answer is not None else None
        self.currency = ""

    def learn(
        self,
        db: Connection,
        found: Sequence[Sourced],
        answered: Sequence[Answered],
        failed: Sequence[Failed],
    ) -> None:
        """Look up the names of batches that are not known yet."""
        batches = {a.batch_id for a in answered} | {f.batch_id for f in failed}
        batches |= {row.batch_id for row in found if row.batch_id is not None}
        numbers = reports.labels(db, list(batches - self._labels.keys()))
        self._labels.update({key: f"b{number:02d}" for key, number in numbers.items()})

    def rows(
        self, found: Sequence[Sourced], answered: Sequence[Answered], failed: Sequence[Failed]
    ) -> list[OutcomeRow]:
        """Return a row for each of `found`."""
        answers = {answer.request_id: answer for answer in answered}
        tries = {key: list(each) for key, each in groupby(failed, attrgetter("request_id"))}
        return [self._row(row, answers.get(row.id), tries.get(row.id, ())) for row in found]

    def _row(self, row: Sourced, answer: Answered | None, failed: Sequence[Failed]) -> OutcomeRow:
        if row.state == _SUCCEEDED and answer is not None:
            return self._succeeded(row, answer, failed)
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
                key=row.key,
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
            key=row.key,
        )

    def _succeeded(self, row: Sourced, answer: Answered, failed: Sequence[Failed]) -> OutcomeRow:
        text = answer_text(answer.body)
        return OutcomeRow(
            record=row.record,
            outcome=_SUCCEEDED,
            text=text,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            cost=self._cost(row.model, answer, failed),
            attempts=len(failed) + (answer.source not in _UNSENT),
            # The batch of a cached answer is another job's.
            batch=self._labels[answer.batch_id] if answer.source != _CACHE else None,
            answer=self._check(text).value if self._check is not None else None,
            key=row.key,
        )

    def _cost(self, model: str, answer: Answered | None, failed: Sequence[Failed]) -> str | None:
        """Return what all attempts of a record cost, None where nothing tells."""
        tariff = self._tariff(model)
        if tariff is None:
            return None
        spent, told = 0, False
        for each in failed:
            if each.tokens_in is not None or each.tokens_out is not None:
                spent, told = spent + tariff.units(each.tokens_in, each.tokens_out, 0), True
        if answer is not None and answer.source in _UNSENT:
            told = True
        elif answer is not None and (answer.tokens_in is not None or answer.tokens_out is not None):
            spent += tariff.units(answer.tokens_in, answer.tokens_out, answer.tokens_cached)
            told = True
        if not told:
            return None
        self.currency = tariff.currency
        return tariff.written(spent)

    def _tariff(self, model: str) -> Tariff | None:
        if model not in self._known:
            price = self._prices(self._provider, model)
            self._known[model] = Tariff(price) if price else None
        return self._known[model]
