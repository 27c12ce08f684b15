"""A workflow as it is declared: jobs that name each other as sources. Checked before it is applied.

Pure. What is wrong is told with the job and the remedy; nothing was registered by then.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.domain.errors import ConfigError
from orchestrator.domain.spec import JobSpec

CYCLE = "ORC1130"
UNKNOWN = "ORC1131"
SAME_NAME = "ORC1132"
NOT_AS_THEY_COME = "ORC1133"

WHOLE_ONLY: Mapping[str, str] = {
    "key": "the records keep the keys of the job before",
    "limit": "which come first is chance",
    "dedup": "equal requests are found among all of them",
    "cache": "what the cache has is answered before the job begins",
    "canary": "the first slice is judged before the rest is there",
}
"""What a stage can't have that takes records as they come, and why."""


_RUNS = "each run of it has another name, and the stages behind it know one name"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """A job of a workflow. `upstream`: the job that it takes its records from, if it is a stage.

    `where`: the place of its declaration, for errors.
    """

    spec: JobSpec
    upstream: str | None = None
    stream: bool = False
    where: str = ""

    @property
    def name(self) -> str:
        """The job's name."""
        return self.spec.name

    @property
    def digest(self) -> str:
        """The content hash of the declaration."""
        return self.spec.digest(f"{self.upstream}{'+' if self.stream else ''}")


@dataclass(frozen=True, slots=True)
class Workflow:
    """Jobs in an order in which each follows the one that it takes its records from."""

    name: str
    jobs: tuple[StagePlan, ...]

    @property
    def roots(self) -> tuple[StagePlan, ...]:
        """The jobs whose records come from outside."""
        return tuple(job for job in self.jobs if job.upstream is None)

    @property
    def stages(self) -> tuple[StagePlan, ...]:
        """The jobs whose records are outcomes of another one."""
        return tuple(job for job in self.jobs if job.upstream is not None)

    @property
    def outside(self) -> tuple[StagePlan, ...]:
        """The stages whose upstream is not in this file."""
        own = {job.name for job in self.jobs}
        return tuple(job for job in self.stages if job.upstream not in own)


def workflow(name: str, jobs: Sequence[StagePlan]) -> Workflow:
    """Return the jobs as a workflow. Raises ConfigError for names that meet and for a circle."""
    _refuse_same_names(jobs)
    for job in jobs:
        if job.spec.changed_only:
            raise _refusal(job, "be part of a workflow and have", "changed_only", _RUNS)
        if job.stream:
            _refuse_what_needs_all(job)
    return Workflow(name, tuple(_in_order(jobs)))


def _in_order(jobs: Sequence[StagePlan]) -> list[StagePlan]:
    """Return `jobs`, each behind its upstream, else in the order of the file."""
    by_name = {job.name: job for job in jobs}
    done: dict[str, StagePlan] = {}
    for job in jobs:
        way: list[StagePlan] = []
        at: StagePlan | None = job
        while at is not None and at.name not in done:
            if at in way:
                raise _circle([*way[way.index(at) :], at])
            way.append(at)
            at = by_name.get(at.upstream) if at.upstream is not None else None
        done.update((each.name, each) for each in reversed(way))
    return list(done.values())


def _circle(way: Sequence[StagePlan]) -> ConfigError:
    names = " -> ".join(job.name for job in reversed(way))
    return ConfigError(
        f"the jobs of this workflow go round in a circle: {names}",
        code=CYCLE,
        where=way[0].where,
        why="none of them could ever begin",
        safe="nothing was registered, nothing was sent",
        next="give one of them a source outside of the circle",
    )


def _refuse_same_names(jobs: Sequence[StagePlan]) -> None:
    first: dict[str, StagePlan] = {}
    for job in jobs:
        other = first.setdefault(job.name, job)
        if other is not job:
            raise ConfigError(
                f'two jobs of this workflow are called "{job.name}"',
                code=SAME_NAME,
                where=job.where,
                why=f"the other one is at {other.where}",
                safe="nothing was registered, nothing was sent",
                next="give each a name of its own",
            )


def _refuse_what_needs_all(job: StagePlan) -> None:
    plain = JobSpec(name="", source="", provider="")
    for name, why in WHOLE_ONLY.items():
        if getattr(job.spec, name) != getattr(plain, name):
            raise _refusal(job, "take records as they come and have", name, why)


def _refusal(job: StagePlan, what: str, name: str, why: str) -> ConfigError:
    return ConfigError(
        f"job {job.name} can't {what} {name}",
        code=NOT_AS_THEY_COME,
        where=job.where,
        why=why,
        safe="nothing was registered, nothing was sent",
        next=f"leave out {name}" + (", or stream = true" if job.stream else ""),
    )


def no_such_job(job: StagePlan, known: Collection[str]) -> ConfigError:
    """Return the refusal of a stage whose upstream is nowhere."""
    near = difflib.get_close_matches(job.upstream or "", known, n=1)
    hint = f', did you mean "{near[0]}"?' if near else ""
    return ConfigError(
        f'job {job.name} takes its records from "{job.upstream}", which there is not{hint}',
        code=UNKNOWN,
        where=job.where,
        why="neither this file nor the registry has a job of that name",
        safe="nothing was registered, nothing was sent",
        next="source = { job = " + f'"{(near or ["NAME"])[0]}"' + " }",
    )
