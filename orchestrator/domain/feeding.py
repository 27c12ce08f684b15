"""What a stage of a workflow does next, by how the job before it stands. Pure; no I/O.

A stage takes the outcomes of the job before it: at its end, or as they come (`stream`). It never
goes on past something that only a person can judge: a job that was cancelled, or that has not one
answer. Such a stage is held, and `resume` is the person's word that what there is will do.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from orchestrator.domain.model import Job, JobState, Stage, StageState
from orchestrator.domain.transitions import JOB_FINAL

CANCELLED = "ORC2070"
NOTHING_SUCCEEDED = "ORC2071"
WAIVED = frozenset({CANCELLED, NOTHING_SUCCEEDED})
"""Reasons for being held that a person may waive: kept with the stage, they don't hold it again."""

AT_WORK = StageState.WAITING, StageState.FEEDING
"""States in which a stage has something to do, or waits for it."""

DROPPED = frozenset({JobState.CANCELLING, JobState.CANCELLED})
"""States of a stage's own job in which nobody wants further records."""


class Move(enum.StrEnum):
    """The moves of one stage."""

    WHOLE = "whole"
    """Register the job of all outcomes there are."""
    BEGIN = "begin"
    """Enter a job that grows."""
    ROWS = "rows"
    """Register what has come since."""
    END = "end"
    """Every record there will be is registered."""
    DROP = "drop"
    """Nobody wants its records any more."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before the job before it moves; `why` is shown to users."""

    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A person decides."""

    code: str
    reason: str


def next_move(
    stage: Stage, upstream: Job | None, own: Job | None, *, more: bool, any_outcome: bool = False
) -> Move | Wait | Hold:
    """Say what a stage that is not fed needs.

    `upstream`: the job before it, None where that does not exist yet. `own`: the stage's job, if
    there is one. `more`: whether the job before it has an outcome that was not read.
    `any_outcome`: whether the stage takes failed records too.
    """
    if own is not None and own.state in DROPPED:
        return Move.DROP
    if upstream is None:
        return Wait(f"waits for {stage.upstream} to begin")
    if upstream.state in JOB_FINAL:
        if doubt := _doubt(stage, upstream, any_outcome=any_outcome):
            return doubt
        if not stage.stream:
            return Move.WHOLE
    elif not stage.stream or upstream.state is JobState.CANCELLING:
        return Wait(waits_for(upstream))
    return _as_they_come(upstream, own, more=more)


def _as_they_come(upstream: Job, own: Job | None, *, more: bool) -> Move | Wait:
    if own is None or own.state is JobState.REGISTERING:
        return Move.BEGIN
    if more:
        return Move.ROWS
    return Move.END if upstream.state in JOB_FINAL else Wait(waits_for(upstream))


def _doubt(stage: Stage, upstream: Job, *, any_outcome: bool) -> Hold | None:
    """Return why only a person can say whether what there is will do."""
    if stage.code in WAIVED:
        return None
    books = upstream.books
    if upstream.state is JobState.CANCELLED:
        reason = f"{upstream.name} was cancelled: "
        reason += f"{books.succeeded:,} of its {books.records:,} records have an answer"
        return Hold(CANCELLED, reason)
    if books.records and not books.succeeded and not any_outcome:
        reason = f"none of the {books.records:,} records of {upstream.name} has an answer"
        return Hold(NOTHING_SUCCEEDED, reason)
    return None


def waits_for(upstream: Job) -> str:
    """Say what the job before a stage still has to do."""
    books = upstream.books
    parts = [f"{books.open:,} open"]
    lost = books.failed + books.expired + books.cancelled
    if lost:
        parts.append(f"{lost:,} without an answer passed over")
    return f"waits for {upstream.name}: {', '.join(parts)}"
