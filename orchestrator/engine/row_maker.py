"""Makes rows of what the registry tells of records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection

from orchestrator.domain.answers import Checker
from orchestrator.domain.model import OPEN_REQUESTS, Job, RequestState
from orchestrator.domain.progress import Prices
from orchestrator.domain.tariff import Costs, Tariff
from orchestrator.engine.context import read_spec
from orchestrator.provider.answer_text import answer_text
from orchestrator.registry import reports
from orchestrator.registry.outcomes import Answered, Failed, Sourced
from orchestrator.registry.sharing import UNSENT
from orchestrator.sinks.port import OutcomeRow

OPEN = "open"
SUCCEEDED = RequestState.SUCCEEDED.value

_OPEN = frozenset(state.value for state in OPEN_REQUESTS)
_ASSIGNED = RequestState.ASSIGNED.value

Told = tuple[Sequence[Sourced], Sequence[Answered], Sequence[Failed]]
"""Records with their responses and failed attempts, all in source order."""


class RowMaker:
    """Makes rows of what the registry tells of records. `currency`: of the costs so far."""

    def __init__(self, job: Job, prices: Prices) -> None:
        self._provider = job.provider
        self._prices = prices
        self._known: dict[str, Tariff | None] = {}
        self._labels: dict[int, str] = {}
        answer = read_spec(job.spec).answer
        self._check = Checker(answer).check if answer is not None else None
        self.currency = ""

    def learn(self, db: Connection, told: Told) -> None:
        """Look up the names of the batches that these rows name."""
        found, answered, failed = told
        batches = {a.batch_id for a in answered} | {f.batch_id for f in failed}
        self.learn_batches(db, batches | {r.batch_id for r in found if r.batch_id is not None})

    def learn_batches(self, db: Connection, batches: Iterable[int]) -> None:
        """Look up the names of batches that are not known yet."""
        new = set(batches) - self._labels.keys()
        if new:
            numbers = reports.labels(db, list(new))
            self._labels.update({key: f"b{number:02d}" for key, number in numbers.items()})

    def labels(self, batches: Iterable[int]) -> list[str | None]:
        """Return the names of batches that were looked up, in their order."""
        return list(map(self._labels.get, batches))

    def checked(self, texts: Sequence[str]) -> list[str | None]:
        """Return what the job's schema takes each answer for; None where there is no schema."""
        if self._check is None:
            return [None] * len(texts)
        return [self._check(text).value for text in texts]

    def costs(self, model: str, usage: Iterable[tuple[int, int, int]]) -> Sequence[str | None]:
        """Return what answers cost that took one attempt, by tokens in, out and cached."""
        tariff = self._tariff(model)
        if tariff is None:
            return [None for _ in usage]
        self.currency = tariff.currency
        return Costs(tariff, [*tariff.usual(usage)])

    def rows(self, told: Told) -> list[OutcomeRow]:
        """Return a row for each record of which is told."""
        found, answered, failed = told
        answers = {answer.request_id: answer for answer in answered}
        tries = {key: list(each) for key, each in groupby(failed, attrgetter("request_id"))}
        return [self._row(row, answers.get(row.id), tries.get(row.id, ())) for row in found]

    def _row(self, row: Sourced, answer: Answered | None, failed: Sequence[Failed]) -> OutcomeRow:
        if row.state == SUCCEEDED and answer is not None:
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
            outcome=SUCCEEDED,
            text=text,
            tokens_in=answer.tokens_in,
            tokens_out=answer.tokens_out,
            cost=self._cost(row.model, answer, failed),
            attempts=len(failed) + (answer.source not in UNSENT),
            # No line of that batch was this record's; it may even be another job's.
            batch=self._labels[answer.batch_id] if answer.source not in UNSENT else None,
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
        if answer is not None and answer.source in UNSENT:
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
