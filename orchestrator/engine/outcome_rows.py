"""A job's outcomes as rows: in source order, or in the order they came; in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from orchestrator.domain.answer_columns import columns_of
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Job
from orchestrator.domain.progress import Prices, no_prices
from orchestrator.domain.shape import Column, read_shape
from orchestrator.engine.blocks import Fetched, Fetcher, block_of_fetched
from orchestrator.engine.context import read_spec
from orchestrator.engine.row_maker import RowMaker
from orchestrator.registry import outcomes
from orchestrator.registry.outcomes import Stamped
from orchestrator.registry.session import Registry
from orchestrator.sinks.port import Block, Header, OutcomeRow, header_of

_CHUNK_BYTES = 8 << 20


def header(job: Job, source: Sequence[Column] | None = None) -> Header:
    """Return the columns of a job's outcomes, behind those of its source.

    `source`: its columns where they are known better than the job's shape has them.
    """
    answer = read_spec(job.spec).answer
    members = columns_of(answer.schema) if answer is not None else ()
    return header_of(read_shape(job.shape).columns if source is None else source, members)


Ahead = Callable[[Iterator[Fetched]], Iterator[Fetched]]
"""How chunks are fetched: one by one as they are asked for, or some ahead in a thread."""


class Rows:
    """The outcomes of a job in source order, a chunk at a time: a few queries each.

    `looked_at` counts the records passed so far, `currency` is the one of the costs so far.
    """

    def __init__(
        self, registry: Registry, job: Job, where: Filter = (), prices: Prices = no_prices
    ) -> None:
        self._maker = RowMaker(job, prices)
        self._fetcher = Fetcher(registry, job, where, self._maker)
        self.looked_at = 0

    @property
    def currency(self) -> str:
        """The currency of the costs so far."""
        return self._maker.currency

    def __iter__(self) -> Iterator[list[OutcomeRow]]:
        for block in self.blocks():
            yield block.rows()

    def blocks(self, ahead: Ahead = iter) -> Iterator[Block]:
        """Yield the rows side by side, a chunk at a time."""
        for fetched in ahead(iter(self._fetcher)):
            self.looked_at = fetched.looked_at
            if (block := block_of_fetched(self._maker, fetched)) is not None:
                yield block


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
        maker = RowMaker(job, prices)
        maker.learn(db, told)
    rows = dict(zip((row.id for row in told[0]), maker.rows(told), strict=True))
    return [(each.stamp, each.id, rows[each.id]) for each in found]


def _within(found: list[Stamped]) -> list[Stamped]:
    """Return the first of these that stay near eight megabytes, at least one."""
    total = 0
    for number, each in enumerate(found):
        total += each.size
        if number and total > _CHUNK_BYTES:
            return found[:number]
    return found
