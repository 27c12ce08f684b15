"""Outcomes read in chunks of joined texts: what most records have in common costs them little.

A chunk is one row of the database (see `registry.joined`). The columns are filled as if every
record had been answered at its first attempt; the rows of those that were not are made one by one
and put in their places. Where too many are such, the whole chunk is read row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import msgspec
from sqlalchemy import Connection

from orchestrator.domain.errors import RegistryError
from orchestrator.domain.filters import Filter
from orchestrator.domain.model import Job
from orchestrator.engine.row_maker import SUCCEEDED, RowMaker, Told
from orchestrator.provider.answer_text import answer_texts
from orchestrator.registry import outcomes
from orchestrator.registry.joined import JoinedRange, joined_range
from orchestrator.registry.session import Registry
from orchestrator.sinks.joined import Joined, decoded_keys
from orchestrator.sinks.port import Block, block_of

_CHUNK_BYTES = 8 << 20
_FEWEST, FIRST, _MOST = 16, 64, 2_000
_GROWTH = 4
ODD_SHARE = 4
"""Above one odd record among so many, a chunk is read row by row."""

_integers = msgspec.json.Decoder(list[int]).decode


class Fetched(NamedTuple):
    """A chunk as the registry tells it; `looked_at` counts the records up to its end.

    `texts` are the answers' in `joined`; `told` is of the odd ones in it, or of all where there is
    nothing joined.
    """

    joined: JoinedRange | None
    texts: list[str]
    told: Told
    looked_at: int
    characters: int


def next_size(size: int, characters: int) -> int:
    """Return how many rows the next chunk holds, so that it stays near eight megabytes.

    It grows by and by: the first records tell little of those that follow.
    """
    mean = max(1, characters // max(1, size))
    return max(_FEWEST, min(_MOST, _GROWTH * size, _CHUNK_BYTES // mean))


class Fetcher:
    """Fetches the chunks of a job in source order."""

    def __init__(self, registry: Registry, job: Job, where: Filter, maker: RowMaker) -> None:
        self._registry = registry
        self._job = job
        self._where = where
        self._maker = maker

    def __iter__(self) -> Iterator[Fetched]:
        first, size, total = 0, FIRST, self._job.books.records
        while first < total:
            after = min(total, first + size)
            fetched = self._fetch(*outcomes.span(self._job.id, first, after - first), after)
            yield fetched
            size = next_size(after - first, fetched.characters)
            first = after

    def _fetch(self, first: int, last: int, after: int) -> Fetched:
        joined = None if self._where else self._joined(first, last)
        texts = answer_texts(joined.bodies) if joined is not None else None
        odd = usable(joined, first, last) if joined is not None else None
        with self._registry.moment() as db:
            if joined is None or texts is None or odd is None:
                return self._one_by_one(db, first, last, after)
            told: Told = outcomes.told(db, odd) if odd else ([], [], [])
            self._maker.learn(db, told)
            self._maker.learn_batches(db, set(_integers(joined.batches)))
        return Fetched(joined, texts, told, after, len(joined.records) + len(joined.bodies))

    def _joined(self, first: int, last: int) -> JoinedRange | None:
        """Return the chunk joined; None if it is too large to be: a gigabyte on both databases."""
        try:
            with self._registry.read() as db:
                return joined_range(db, first, last)
        except RegistryError:
            return None  # whatever else is wrong, reading one by one meets it again

    def _one_by_one(self, db: Connection, first: int, last: int, after: int) -> Fetched:
        found = outcomes.sourced(db, first, last, self._where)
        answered = outcomes.answered(db, first, last) if found else []
        failed = outcomes.failed(db, first, last) if found else []
        told: Told = (found, answered, failed)
        self._maker.learn(db, told)
        characters = sum(len(row.record) for row in found) + sum(len(a.body) for a in answered)
        return Fetched(None, [], told, after, characters)


def usable(joined: JoinedRange, first: int, last: int) -> list[int] | None:
    """Return the odd ones of a chunk that can be read as one; None where it had better not.

    Its models must be one, its ids all in order, and at most a quarter of it odd.
    """
    odd = _integers(joined.odd)
    one_model = joined.first_model == joined.last_model
    if not one_model or ODD_SHARE * len(odd) > joined.rows:
        return None
    return odd if _integers(joined.ids) == list(range(first, last + 1)) else None


def block_of_fetched(maker: RowMaker, fetched: Fetched) -> Block | None:
    """Return a chunk's rows side by side; None where there are none."""
    if fetched.joined is None:
        rows = maker.rows(fetched.told)
        return block_of(rows) if rows else None
    block = _as_if_all_succeeded(maker, fetched.joined, fetched.texts)
    columns = cast("Sequence[list[Any]]", block[1:-1])
    first = _integers(fetched.joined.ids)[0] if fetched.told[0] else 0
    for found, row in zip(fetched.told[0], maker.rows(fetched.told), strict=True):
        place = found.id - first
        for column, value in zip(columns, row[1:-1], strict=True):
            column[place] = value
    return block


def _as_if_all_succeeded(maker: RowMaker, joined: JoinedRange, texts: list[str]) -> Block:
    """Return a block whose columns but the first and last are lists."""
    count = joined.rows
    tokens_in, tokens_out = _integers(joined.tokens_in), _integers(joined.tokens_out)
    usage = zip(tokens_in, tokens_out, _integers(joined.tokens_cached), strict=True)
    return Block(
        record=Joined(joined.records, count),
        outcome=[SUCCEEDED] * count,
        text=texts,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=maker.costs(joined.first_model, usage),
        error_code=[None] * count,
        error_message=[None] * count,
        attempts=[1] * count,
        batch=maker.labels(_integers(joined.batches)),
        answer=maker.checked(texts),
        key=Joined(joined.keys, count, decoded_keys),
    )
