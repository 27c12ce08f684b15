"""Workflows as graphs: as a file declares them, or as the registry has them, states and counts."""

from __future__ import annotations

import difflib

from sqlalchemy import Connection

from orchestrator.api.stage_views import stage_views
from orchestrator.domain.errors import NotFound
from orchestrator.domain.graph import Graph, Node
from orchestrator.domain.model import Job, Stage, StageState
from orchestrator.domain.workflow import Workflow
from orchestrator.registry import jobs, stages
from orchestrator.registry.session import Registry


def declared_graph(workflow: Workflow) -> Graph:
    """Return the graph of a workflow as its file has it; nothing is looked up."""
    nodes = [Node(name=job.name, upstream=job.upstream, stream=job.stream) for job in workflow.jobs]
    return Graph(workflow.name, tuple(nodes))


def stored_graphs(registry: Registry, name: str | None = None) -> list[Graph]:
    """Return the graph of one workflow that was applied, or of all. Raises NotFound."""
    with registry.read() as db:
        known = stages.workflows(db)
        if name is not None and name not in known:
            raise _no_workflow(name, known)
        return [_stored(db, each) for each in (known if name is None else [name])]


def _no_workflow(name: str, known: list[str]) -> NotFound:
    near = difflib.get_close_matches(name, known, n=1)
    return NotFound(
        f'there is no workflow "{name}"' + (f', did you mean "{near[0]}"?' if near else ""),
        why=f"the registry has {', '.join(known)}" if known else "none was ever applied",
        next="orchestrator apply FILE",
    )


def _stored(db: Connection, workflow: str) -> Graph:
    found = {stage.name: stage for stage in stages.of_workflow(db, workflow)}
    nodes: dict[str, Node] = {}
    for stage in found.values():
        for name in _way_to(stage, found):
            if name not in nodes:
                nodes[name] = _node(db, name, found.get(name))
    return Graph(workflow, tuple(nodes.values()))


def _way_to(stage: Stage, found: dict[str, Stage]) -> list[str]:
    """Return the names of the jobs before a stage, the first one first, and its own."""
    way = [stage.name]
    at: Stage | None = stage
    while at is not None and at.upstream not in way:
        way.append(at.upstream)
        at = found.get(at.upstream)
    return way[::-1]


def _node(db: Connection, name: str, stage: Stage | None) -> Node:
    job = jobs.find(db, name)
    if stage is None:
        return Node(name=name, state=_state(job), books=job.books if job else None)
    view = stage_views(db, [stage])[0]
    fed = stage.state is StageState.FED
    state = stage.state.value if stage.state is StageState.HELD or job is None else _state(job)
    return Node(
        name=name,
        upstream=stage.upstream,
        stream=stage.stream,
        state=state,
        books=job.books if job else None,
        passed_over=stage.passed_over,
        words="" if fed else view.words,
    )


def _state(job: Job | None) -> str:
    if job is None:
        return "waiting"
    return "held" if job.hold_code else job.state.value
