"""Let answers that did not fit be asked for again: made in the transaction that records them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection

from orchestrator.domain.model import RequestState
from orchestrator.domain.repairs import repaired
from orchestrator.engine.context import Context
from orchestrator.engine.steps.judge import Chunk
from orchestrator.registry import repairs
from orchestrator.registry.repairs import Repair

_AT_ONCE = 8 << 20
"""Bytes of bodies that are held at once."""


def close_what_grows_too_long(ctx: Context, chunk: Chunk, longest: int) -> None:
    """Close the requests whose lines would be longer than `longest` bytes with the note."""
    if not chunk.notes:
        return
    with ctx.registry.read() as db:
        first = repairs.first_sizes(db, list(chunk.notes))
    chunk.sizes = {each: first[each] + len(note) for each, note in chunk.notes.items()}
    too_long = {each for each, size in chunk.sizes.items() if size > longest}
    for each in too_long:
        del chunk.notes[each]
        chunk.closed[each] = RequestState.FAILED
    if too_long:
        chunk.failures = [
            row._replace(final=True) if row.request_id in too_long else row
            for row in chunk.failures
        ]


def write_repairs(db: Connection, chunk: Chunk) -> None:
    """Write the body that each noted request is sent with next, a few megabytes at a time."""
    for ids in _slices(chunk.notes, chunk.sizes):
        found = repairs.bodies(db, ids)
        made = ((each, repaired(found[each].encode(), chunk.notes[each])) for each in ids)
        # A body without messages is asked again as it stands.
        rows = [Repair(each, body.decode(), chunk.sizes[each]) for each, body in made if body]
        repairs.write(db, rows)


def _slices(notes: Mapping[int, bytes], sizes: Mapping[int, int]) -> Iterator[list[int]]:
    ids: list[int] = []
    held = 0
    for each in notes:
        if ids and held + sizes[each] > _AT_ONCE:
            yield ids
            ids, held = [], 0
        ids.append(each)
        held += sizes[each]
    if ids:
        yield ids
