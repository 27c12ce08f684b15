"""Stages of workflows that a watch follows beside its jobs: they become jobs when they begin."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from orchestrator.domain.errors import NotFound

if TYPE_CHECKING:
    from orchestrator.domain.model import Job, Stage
    from orchestrator.registry.session import Registry


class Stages:
    """The stages of some workflows, or of all. None followed: `workflows` is empty."""

    def __init__(self, registry: Registry, workflows: Collection[str] | None = None) -> None:
        self._registry = registry
        self._workflows = workflows

    def jobs(self) -> list[Job]:
        """Return the jobs of these workflows that have begun, each behind what it waits for."""
        from orchestrator.registry import jobs  # noqa: PLC0415 - help needs no database

        found: dict[str, Job] = {}
        with self._registry.read() as db:
            for stage in self._all():
                for name in (stage.upstream, stage.name):
                    job = jobs.find(db, name) if name not in found else None
                    if job is not None:
                        found[name] = job
        return list(found.values())

    def unfed(self) -> list[Stage]:
        """Return the stages that have not got every record."""
        from orchestrator.domain.model import StageState  # noqa: PLC0415 - as above

        return [stage for stage in self._all() if stage.state is not StageState.FED]

    def moving(self, stuck_jobs: Collection[str]) -> bool:
        """Whether a stage goes on by itself. `stuck_jobs`: those that wait for a person."""
        from orchestrator.domain.model import StageState  # noqa: PLC0415 - as above

        stuck = set(stuck_jobs)
        unfed = self.unfed()
        for _ in unfed:  # once for each: what is stuck holds up what stands behind it
            stuck |= {s.name for s in unfed if s.state is StageState.HELD or s.upstream in stuck}
        return any(stage.name not in stuck for stage in unfed)

    def _all(self) -> list[Stage]:
        from orchestrator.registry import stages  # noqa: PLC0415 - as above

        with self._registry.read() as db:
            names = stages.workflows(db) if self._workflows is None else self._workflows
            return [stage for name in names for stage in stages.of_workflow(db, name)]


def workflow_of(registry: Registry, name: str) -> str:
    """Return the workflow that `name` is, or that a stage of this name belongs to.

    Raises NotFound.
    """
    from orchestrator.registry import stages  # noqa: PLC0415 - help needs no database

    with registry.read() as db:
        if name in stages.workflows(db):
            return name
        stage = stages.find(db, name)
    if stage is None:
        raise NotFound(f'there is no workflow "{name}"', next="orchestrator graph")
    return stage.workflow
