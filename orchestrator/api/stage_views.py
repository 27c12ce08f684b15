"""Stages of workflows as people and programs see them: what each waits for, what it holds up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.domain.feeding import Hold, Move, Wait, next_move
from orchestrator.domain.model import Stage, StageState
from orchestrator.domain.waiting import Who
from orchestrator.registry import jobs, outcomes, stages
from orchestrator.registry.session import Registry

_HELD = StageState.HELD


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One stage: whose move it is, in words, and what the user can do."""

    stage: Stage
    who: Who
    words: str
    next: str = ""

    @property
    def begun(self) -> bool:
        """Whether its job exists: that is then shown among the jobs."""
        return self.stage.job_id is not None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        stage = self.stage
        return {
            "stage": stage.name,
            "workflow": stage.workflow,
            "upstream": stage.upstream,
            "stream": stage.stream,
            "state": stage.state.value,
            "records": stage.rows,
            "passed_over": stage.passed_over,
            "waits_for": {"who": self.who, "words": self.words, "next": self.next},
            "code": stage.code if stage.state is _HELD else None,
            "declared_at": stage.created_at,
        }


def unfed(registry: Registry) -> list[StageView]:
    """Return the stages that have not got every record yet, in the order of their declaration."""
    with registry.read() as db:
        return stage_views(db, stages.unfed(db))


def waits_as_stage(registry: Registry, name: str) -> bool:
    """Whether this is the name of a stage that has no job yet."""
    with registry.read() as db:
        stage = stages.find(db, name)
        return stage is not None and jobs.find(db, name) is None


def stage_views(db: Connection, found: Sequence[Stage]) -> list[StageView]:
    """Return the views of some stages, in the caller's transaction."""
    return [_view(db, stage) for stage in found]


def _view(db: Connection, stage: Stage) -> StageView:
    if stage.state is _HELD:
        words = f"held: {stage.reason}"
        return StageView(stage=stage, who="you", words=words, next=resume_command(stage))
    if stage.state is StageState.FED:
        return StageView(stage=stage, who="nobody", words="it has every record")
    blocked = _held_before(db, stage)
    if blocked is not None:
        words = f"waits for {blocked.name}, which is held: {blocked.reason}"
        return StageView(stage=stage, who="you", words=words, next=resume_command(blocked))
    words = _words(db, stage)
    return StageView(stage=stage, who="time", words=words)


def resume_command(stage: Stage) -> str:
    """Return what lets a held stage try again."""
    return f"orchestrator resume {stage.name}"


def _held_before(db: Connection, stage: Stage) -> Stage | None:
    """Return the held stage that this one waits for, however far before it."""
    seen = {stage.name}
    before = stages.find(db, stage.upstream)
    while before is not None and before.name not in seen:
        if before.state is _HELD:
            return before
        seen.add(before.name)
        before = stages.find(db, before.upstream)
    return None


def _words(db: Connection, stage: Stage) -> str:
    upstream, own = jobs.find(db, stage.upstream), jobs.find(db, stage.name)
    cursor = stage.after_stamp, stage.after_id
    more = upstream is not None and bool(outcomes.stamped(db, upstream.id, cursor, 1))
    move = next_move(stage, upstream, own, more=more)
    match move:
        case Wait():
            return move.why
        case Hold():
            return move.reason
        case Move():
            return f"waits for the next look: there is work from {stage.upstream}"


def held_up_by(db: Connection, name: str) -> Iterator[str]:
    """Say which stages, directly or further on, wait for the job or stage of this name."""
    names, seen = [name], {name}
    while names:
        for stage in stages.behind(db, names.pop()):
            if stage.name not in seen and stage.state is not StageState.FED:
                yield stage.name
            if stage.name not in seen:
                seen.add(stage.name)
                names.append(stage.name)


def since(stage: Stage) -> datetime:
    """Return since when a stage is as it is."""
    return stage.due_at if stage.state is _HELD else stage.created_at
