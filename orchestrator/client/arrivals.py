"""Outcomes in the order in which they were recorded, each handed out once."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.api import outcomes
from orchestrator.client.answer_types import AnswerType
from orchestrator.client.looking import Look
from orchestrator.client.outcomes import Outcome, outcome_of
from orchestrator.client.spec import Take
from orchestrator.client.typed_rows import Typed
from orchestrator.domain.model import Job
from orchestrator.domain.shape import read_shape

_row = msgspec.json.Decoder(dict[str, Any]).decode


class Arrivals:
    """Reads on where it has stopped. `count`: how many outcomes it has handed out."""

    def __init__(self, look: Look, job: Job, answer: AnswerType | None) -> None:
        self._look = look
        self._job = job
        self._answer = answer
        self._typed = Typed(read_shape(job.shape).columns)
        self._seen = (0, 0)
        self.count = 0

    def hand_over(self, take: Take, size: int) -> None:
        """Give `take` all further outcomes, up to `size` at a time."""
        while chunk := self.next(size):
            take(chunk)

    def next(self, size: int) -> list[Outcome]:
        """Return up to `size` further outcomes, none if there are no more by now."""
        found = outcomes.after(self._look.registry, self._job, self._seen, size, self._look.prices)
        if not found:
            return []
        records = self._typed.rows([_row(row.record) for _, _, row in found])
        currency = self._look.currency(self._job.provider)
        made = [
            outcome_of(row, record, currency, self._answer)
            for (_, _, row), record in zip(found, records, strict=True)
        ]
        self._seen = found[-1][:2]
        self.count += len(made)
        return made
