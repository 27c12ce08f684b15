"""Another job's outcomes as a source: `job:NAME`, once that job has ended."""

from __future__ import annotations

import difflib
import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from orchestrator.domain.conditions import FAILS, Condition, ConditionFails
from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.model import Job
from orchestrator.domain.shape import Shape
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.engine.handing_on import HandOn, read_options
from orchestrator.engine.outcome_rows import Rows, header
from orchestrator.engine.source_columns import source_columns
from orchestrator.registry import jobs, stages
from orchestrator.registry.session import Registry
from orchestrator.sinks.port import OutcomeRow

NOT_ENDED = "ORC2072"
_NAMES_COMPARED = 1_000


class JobSource:
    """The outcomes of a job in source order, under the keys they have there; a chunk at a time.

    Positions count the job's records. Raises NotFound for no such job, SourceError (ORC2072) for
    one that has not ended: what it still gets would be missed.
    """

    def __init__(self, registry: Registry, name: str, options: Mapping[str, Any]) -> None:
        self.name = f"job:{name}"
        self.blank_rows = 0
        self._registry = registry
        self._options = read_options(options)
        self._job = _ended(registry, name)

    def shape(self) -> Shape:
        """Return the job's source columns and those of its answers, with their types."""
        return Shape(columns=self._hand_on.columns, unit="row")

    @functools.cached_property
    def _hand_on(self) -> HandOn:
        columns = source_columns(self._registry, self._job)
        return HandOn(header(self._job, columns), self._options)

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass over the outcomes that are wanted."""
        hand_on, position = self._hand_on, 0
        for chunk in Rows(self._registry, self._job):
            for row in chunk:
                position += 1
                record = hand_on.record(position, row)
                if record is not None:
                    yield record

    def digest(self) -> str:
        """Return a hash that changes with the job's outcomes: with each one that is recorded."""
        with self._registry.read() as db:
            stamp = jobs.get(db, self._job.id).stamp
        told = [self._job.id, self._job.digest, stamp, *self._options]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


class Coming:
    """The outcomes of a job that may still run, as records: one at a time, as they come."""

    def __init__(self, job: Job, options: Mapping[str, Any], where: str = "") -> None:
        self.name = f"job:{job.name}"
        self._hand_on = HandOn(header(job), read_options(options))
        self._holds = Condition(where).holds if where else None

    def shape(self) -> Shape:
        """Return the columns as far as the job's source has shown them."""
        return Shape(columns=self._hand_on.columns, unit="row")

    def record(self, position: int, row: OutcomeRow) -> Record | BadRow | None:
        """Return the record that an outcome gives, None for one that is not wanted."""
        record = self._hand_on.record(position, row)
        if record is None or self._holds is None:
            return record
        try:
            return record if self._holds(record.data) else None
        except ConditionFails as error:
            return BadRow(position, FAILS, str(error))


def _ended(registry: Registry, name: str) -> Job:
    with registry.read() as db:
        job = jobs.find(db, name)
        stage = stages.find(db, name) if job is None else None
        known = [each.name for each in jobs.page(db, newest=True, limit=_NAMES_COMPARED)]
    if job is None and stage is None:
        near = difflib.get_close_matches(name, known, n=1)
        raise NotFound(
            f'there is no job "{name[:80]}"' + (f', did you mean "{near[0]}"?' if near else ""),
            why="the source job:NAME takes the outcomes of another job",
            next="orchestrator jobs",
        )
    if job is None or job.state not in JOB_FINAL:
        raise _not_ended(name, job)
    return job


def _not_ended(name: str, job: Job | None) -> SourceError:
    why = "it is a stage of a workflow that has not begun"
    if job is not None:
        why = f"{job.books.open:,} of its {job.books.records:,} records are open"
    return SourceError(
        f"job {name} has not ended",
        code=NOT_ENDED,
        why=why,
        safe="nothing was registered, nothing was sent",
        next=f"orchestrator watch {name}, then this again; or let a workflow wait for it:"
        " orchestrator apply --help",
    )
