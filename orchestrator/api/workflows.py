"""Apply a workflow: its first jobs are submitted, the others declared; they start by themselves."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection

from orchestrator.api.submission import plan, submit
from orchestrator.api.workflow_columns import check_columns
from orchestrator.domain.errors import GuardError
from orchestrator.domain.model import Job, Stage
from orchestrator.domain.workflow import StagePlan, Workflow, no_such_job
from orchestrator.engine.admission import admit_unread
from orchestrator.engine.checking_sinks import check_sinks
from orchestrator.engine.context import Context
from orchestrator.engine.opening import opening
from orchestrator.engine.registration import Progress, no_progress
from orchestrator.registry import jobs, stages

BEGUN = "ORC2075"
TAKEN = "ORC2076"


@dataclass(frozen=True, slots=True)
class AppliedJob:
    """What became of one job: submitted, resumed, declared, replaced, or nothing to do."""

    name: str
    status: str
    upstream: str | None = None
    stream: bool = False
    records: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a workflow. `left`: stages of it that the file does not name any more."""

    workflow: str
    jobs: list[AppliedJob] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def apply(
    ctx: Context,
    workflow: Workflow,
    *,
    actor: str,
    dry_run: bool = False,
    on_progress: Progress = no_progress,
) -> Applied:
    """Submit a workflow's first jobs and declare its stages. Again is the same workflow.

    Everything that can be known is checked before anything is registered; one that was cut off is
    completed by applying it again. Raises ConfigError, SourceError, TemplateError; NameTaken and
    GuardError (ORC2075) where a job or a stage of a name has other content and has begun.
    """
    with ctx.registry.read() as db:
        found = _look(db, workflow)
    check_columns(ctx, workflow, found.outside)
    for job in workflow.stages:
        check_sinks(job.spec)
        admit_unread(ctx, job.spec)
    if dry_run or len(workflow.roots) > 1:
        done = [_rehearse(ctx, job) for job in workflow.roots]
    if not dry_run:
        done = [_submit(ctx, job, actor, on_progress) for job in workflow.roots]
        with_stages = ctx.registry.write(lambda db: _declare(ctx, db, workflow, actor))
    else:
        with_stages = [_would(job, found) for job in workflow.stages]
    return Applied(workflow.name, done + with_stages, found.left)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the registry has of a workflow."""

    stages: dict[str, Stage]
    outside: dict[str, Job]
    left: list[str]


def _look(db: Connection, workflow: Workflow) -> _Found:
    """Read what there is; refuse what can't be changed any more."""
    known = {job.name: stages.find(db, job.name) for job in workflow.jobs}
    outside: dict[str, Job] = {}
    for job in workflow.outside:
        other = jobs.find(db, job.upstream or "")
        if other is not None:
            outside[other.name] = other
        elif stages.find(db, job.upstream or "") is None:
            names = [each.name for each in jobs.page(db, newest=True, limit=1_000)]
            raise no_such_job(job, [*(each.name for each in workflow.jobs), *names])
    for job in workflow.stages:
        _refuse(db, job, known[job.name])
    names_now = {job.name for job in workflow.jobs}
    left = [s.name for s in stages.of_workflow(db, workflow.name) if s.name not in names_now]
    return _Found({n: s for n, s in known.items() if s is not None}, outside, left)


def _refuse(db: Connection, job: StagePlan, stage: Stage | None) -> None:
    """Refuse a stage whose name another job has, or that has begun with other content."""
    if stage is None:
        if jobs.find(db, job.name) is not None:
            raise GuardError(
                f'there is a job "{job.name}" that is no stage of a workflow',
                code=TAKEN,
                where=job.where,
                safe="nothing was registered, nothing was sent",
                next="give the job another name, or apply with --name-suffix",
            )
    elif stage.digest != job.digest and stage.job_id is not None:
        raise GuardError(
            f"stage {job.name} has begun, and the file has other content for it now",
            code=BEGUN,
            where=job.where,
            why=f"{stage.rows:,} records of {stage.upstream} are registered as it was declared",
            safe="nothing was changed; the workflow goes on as it was",
            next="put the file back, or apply it as another run: --name-suffix 2",
        )


def _rehearse(ctx: Context, job: StagePlan) -> AppliedJob:
    """Check a job's source whole, as its submission will."""
    profile = ctx.providers.profile(job.spec.provider)
    ctx.spool.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="plan-", dir=ctx.spool.directory) as folder:
        made = plan(
            job.spec,
            profile,
            opening=opening(ctx.connections, lambda: ctx.registry),
            workdir=Path(folder),
        )
    return AppliedJob(job.name, "would_submit", records=made.scan.requests)


def _submit(ctx: Context, job: StagePlan, actor: str, on_progress: Progress) -> AppliedJob:
    told = submit(ctx, job.spec, actor=actor, on_progress=on_progress)
    status = "resumed" if told.resumed else "submitted"
    status = "already_submitted" if told.already else status
    return AppliedJob(job.name, status, records=told.job.books.records)


def _would(job: StagePlan, found: _Found) -> AppliedJob:
    stage = found.stages.get(job.name)
    status = "would_declare"
    if stage is not None:
        status = "already_declared" if stage.digest == job.digest else "would_replace"
    return AppliedJob(job.name, status, job.upstream, job.stream)


def _declare(ctx: Context, db: Connection, workflow: Workflow, actor: str) -> list[AppliedJob]:
    """Declare all stages in one transaction."""
    return [_declare_one(ctx, db, workflow, job, actor) for job in workflow.stages]


def _declare_one(
    ctx: Context, db: Connection, workflow: Workflow, job: StagePlan, actor: str
) -> AppliedJob:
    stage = stages.find(db, job.name)
    _refuse(db, job, stage)
    values: dict[str, Any] = {
        "workflow": workflow.name,
        "upstream": job.upstream or "",
        "spec": msgspec.json.encode(job.spec).decode(),
        "digest": job.digest,
        "stream": job.stream,
    }
    status = "already_declared"
    if stage is None:
        stages.add(db, name=job.name, now=ctx.now(), actor=actor, **values)
        status = "declared"
    elif stage.digest != job.digest:
        stages.replace(db, stage, now=ctx.now(), actor=actor, **values)
        status = "replaced"
    return AppliedJob(job.name, status, job.upstream, job.stream)
