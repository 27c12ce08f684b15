"""The columns of a job's source: as it says itself, or as its records show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from orchestrator.domain.errors import SinkError
from orchestrator.domain.model import Job
from orchestrator.domain.shape import Column, read_shape
from orchestrator.engine.blocks import FIRST, next_size
from orchestrator.engine.inferring import Inference
from orchestrator.registry import outcomes
from orchestrator.registry.session import Registry

MAX_COLUMNS = 10_000
"""Columns of a table: more are rather names that hold data."""

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def declared_columns(job: Job) -> tuple[Column, ...] | None:
    """Return the columns of a source that knows all of them with their types, else None."""
    columns = read_shape(job.shape).columns
    return columns if columns and all(column.type for column in columns) else None


def _anything(_name: str) -> bool:
    return True


def source_columns(
    registry: Registry, job: Job, *, wanted: Callable[[str], bool] = _anything
) -> tuple[Column, ...]:
    """Return the source's columns, as declared or in first-seen order over all records.

    `wanted`: which of them are looked for. Raises SinkError (ORC6005) for more than 10,000.
    """
    declared = declared_columns(job)
    if declared is not None:
        return declared
    found: dict[str, None] = {}
    latest: list[str] = []
    for chunk in records(registry, job):
        for record in chunk:
            keys = list(_members(record))
            if keys != latest:
                latest = keys
                found.update(dict.fromkeys(filter(wanted, keys)))
        check_count(job, len(found))
    return tuple(map(Column, found))


def typed_columns(registry: Registry, job: Job) -> tuple[Column, ...]:
    """Return the source's columns, each with a type: as declared, else as its values allow.

    Raises SinkError (ORC6005) for more than 10,000.
    """
    declared = read_shape(job.shape).columns
    if declared and all(column.type for column in declared):
        return declared
    found = Inference(column.name for column in declared if column.type)
    for chunk in records(registry, job):
        found.learn(chunk)
        check_count(job, len(found.types))
    types = {column.name: column.type for column in declared} if declared else {}
    types |= found.types
    return tuple(Column(name, kind or "string") for name, kind in types.items())


def check_count(job: Job, count: int) -> None:
    """Raise SinkError (ORC6005) for more columns than a table holds."""
    if count > MAX_COLUMNS:
        raise SinkError(
            f"the records of {job.name} have more than {MAX_COLUMNS:,} different columns",
            code="ORC6005",
            safe="every outcome stays in the registry",
            next=f"orchestrator export {job.name} -o {job.name}.jsonl",
        )


def records(registry: Registry, job: Job) -> Iterator[list[str]]:
    """Yield the source rows of a job as JSON text, in order, a chunk at a time."""
    first, size = 0, FIRST
    while first < job.books.records:
        with registry.read() as db:
            found = outcomes.source_rows(db, *outcomes.span(job.id, first, size))
        yield found
        first += size
        size = next_size(size, sum(map(len, found)))
