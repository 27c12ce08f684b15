"""Explain a stage of a workflow: one that has not begun by itself, any other as part of its job."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from orchestrator.api.stage_views import StageView, held_up_by, since, stage_views
from orchestrator.api.stories import Choice, Explanation, SayTime
from orchestrator.domain.errors import NotFound
from orchestrator.domain.model import Job, StageState
from orchestrator.domain.waiting import WaitsFor
from orchestrator.registry import stages
from orchestrator.registry.session import Registry


def explain_stage(registry: Registry, name: str, say_time: SayTime) -> Explanation:
    """Explain a stage that has no job yet. Raises NotFound for any other name."""
    with registry.read() as db:
        stage = stages.find(db, name)
        if stage is None or stage.job_id is not None:
            raise NotFound(f'there is no stage "{name}" that has not begun')
        view = stage_views(db, [stage])[0]
        behind = tuple(_holds_up(db, name))
    return Explanation(
        subject=name,
        state=stage.state.value,
        happened=(
            f"it was declared {say_time(stage.created_at)} by the workflow {stage.workflow}",
            f"it takes the outcomes of {stage.upstream} {_when(stage.stream)}",
        ),
        waits_for=WaitsFor(
            who=view.who,
            state=stage.state.value,
            words=view.words,
            since=since(stage),
            next=view.next,
        ),
        next=(view.words, *behind),
        if_nothing=_if_nothing(view),
        choices=tuple(_choices(view)),
    )


def _when(stream: bool) -> str:
    return "as they come" if stream else "when that has ended"


def _if_nothing(view: StageView) -> str:
    if view.who == "you":
        return "it stays as it is; what is registered stays and goes on"
    return "it begins by itself when what it waits for is there"


def _choices(view: StageView) -> Iterator[Choice]:
    name = view.stage.name
    if view.next:
        yield Choice(view.next, "the move that it waits for")
    if view.stage.state is StageState.HELD:
        yield Choice("orchestrator apply FILE", "takes a better declaration, and tries that")
    yield Choice(f"orchestrator cancel {name}", "ends it: what waits for it is held and told")


def stage_story(registry: Registry, job: Job) -> tuple[list[str], list[Choice]]:
    """Return what an explanation of a job says of the workflow that it is part of."""
    with registry.read() as db:
        stage = stages.of_job(db, job.id)
        told = list(_holds_up(db, job.name))
        if stage is None:
            return told, []
        view = stage_views(db, [stage])[0]
    fed = f"{stage.rows:,} records of {stage.upstream} came in, {stage.passed_over:,} passed over"
    told = [f"it is a stage of the workflow {stage.workflow}: {fed}", *told]
    if stage.state is not StageState.FED:
        told.append(f"as a stage it {view.words}" if view.who != "you" else view.words)
    return told, [Choice(view.next, "lets the stage try again")] if view.next else []


def _holds_up(db: Connection, name: str) -> Iterator[str]:
    behind = ", ".join(held_up_by(db, name))
    if behind:
        yield f"these stages wait for it: {behind}"
