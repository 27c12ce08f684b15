"""A job's outcomes as rows: one a record, in source order, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from orchestrator.domain.filters import Filter
from orchestrator.domain.model import OPEN_REQUESTS, Job, RequestState
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.domain.tariff import Tariff
from orchestrator.provider.answer_text import answer_text
from orchestrator.registry import outcomes, reports
from orchestrator.registry.outcomes import Answered, Failed, Sourced
from orchestrator.registry.session import Registry
from orchestrator.sinks.port import OutcomeRow

OPEN = "open"

_CHUNK_BYTES = 8 << 20
_FEWEST, FIRST, _MOST = 16, 500, 4_000
_OPEN = frozenset(state.value for state in OPEN_REQUESTS)
_SUCCEEDED = RequestState.SUCCEEDED.value
_ASSIGNED = RequestState.ASSIGNED.value


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
        self._prices = prices
        self._known: dict[str, Tariff | None] = {}
        self._labels: dict[int, str] = {}
        self.looked_at = 0
        self.currency = ""

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
