"""Workflows in the matrix: applied, fed at the end of the job before, fed as answers come."""

from __future__ import annotations

from typing import Any

import msgspec
from support.world import World

from crash.scripts import BRISKLY, run, until
from orchestrator import api
from orchestrator.domain.model import StageState
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.domain.workflow import StagePlan, Workflow, workflow
from orchestrator.registry import jobs, stages

BETTER = "Is {answer_text} right for {text}?"


def flow(world: World, *, stream: bool, prompt: str = BETTER) -> Workflow:
    """Return a workflow of two jobs: `small`, and `next` that takes its answers."""
    source = world.folder / "small.jsonl"
    rows = [{"id": f"r-{n}", "text": f"record {n}", "more": "m"} for n in range(2)]
    rows.append({"id": "r-2", "text": "record 2"})
    source.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    first = _spec("small", str(source), key="id", prompt="Say one word about {text}")
    then = _spec("next", "job:small", prompt=prompt)
    plans = StagePlan(spec=first), StagePlan(spec=then, upstream="small", stream=stream)
    return workflow("flow", plans)


def _spec(name: str, source: str, **changes: Any) -> JobSpec:
    values: dict[str, Any] = {"provider": "sandbox", "model": "kimi-k2.6", "policy": BRISKLY}
    return JobSpec(name=name, source=source, **values, **changes)


def applying(world: World) -> None:
    """Submit the first job and declare the second, again after a crash."""
    api.apply(world.context, flow(world, stream=False), actor="test")


def first_has_ended(world: World, *, stream: bool, prompt: str = BETTER) -> None:
    """Run the first job to its end; what stands behind it is declared then."""
    both = flow(world, stream=stream, prompt=prompt)
    api.submit(world.context, both.roots[0].spec, actor="test")
    run(world, "small")
    api.apply(world.context, both, actor="test")


def fed(world: World) -> None:
    """Let time pass until the second job has every record."""
    until(world, lambda: state_of(world) is StageState.FED)


def state_of(world: World) -> StageState | None:
    with world.registry.read() as db:
        stage = stages.find(db, "next")
    return stage.state if stage else None


def mended(world: World) -> None:
    """One record lacks what the second job asks of it: the file is mended, and applied again."""
    until(world, lambda: state_of(world) is not StageState.WAITING)
    api.apply(world.context, flow(world, stream=False), actor="test")
    fed(world)


def begun(world: World) -> None:
    """Apply both jobs, and let the second one begin before the first has an answer."""
    api.apply(world.context, flow(world, stream=True), actor="test")
    until(world, lambda: state_of(world) is StageState.FEEDING)


def dropped(world: World) -> None:
    """Nobody wants the second job any more."""
    api.cancel_job(world.context, "next")
    fed(world)


def taken_as_it_is(world: World) -> None:
    """Everything failed; a person says that nothing is what the second job gets."""
    until(world, lambda: state_of(world) is StageState.HELD)
    api.resume(world.context, names=["next"], providers=[])
    fed(world)


def both_to_the_end(world: World) -> None:
    until(world, lambda: has_ended(world, "small") and has_ended(world, "next"))
    until(world, lambda: not world.unsettled(), days=2)


def has_ended(world: World, name: str) -> bool:
    with world.registry.read() as db:
        job = jobs.find(db, name)
    return job is not None and job.state in JOB_FINAL
