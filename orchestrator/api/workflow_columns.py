"""Which columns each job of a workflow will find, as far as that can be known ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from orchestrator.domain.answer_columns import columns_of
from orchestrator.domain.conditions import Condition
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.model import Job
from orchestrator.domain.rendering import Renderer
from orchestrator.domain.shape import Column
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.workflow import StagePlan, Workflow
from orchestrator.engine.context import Context
from orchestrator.engine.handing_on import HandOn, read_options
from orchestrator.engine.history import History
from orchestrator.engine.opening import opening
from orchestrator.engine.outcome_rows import header
from orchestrator.engine.writing_back import left_out
from orchestrator.sinks.port import header_of
from orchestrator.sources.registry import open_source

Columns = Sequence[Column]


def check_columns(ctx: Context, workflow: Workflow, outside: Mapping[str, Job]) -> None:
    """Refuse a template that names a column which is not there. `outside`: jobs of other files.

    A source is opened and asked for its shape; records are read by none of this. Raises the
    source's errors, TemplateError, and SourceError for an option that makes no sense.
    """
    specs = {job.name: job.spec for job in workflow.jobs}
    found: dict[str, Columns] = {}
    for job in workflow.jobs:
        try:
            columns = _columns(ctx, job, found, specs, outside)
            profile = ctx.providers.profile(job.spec.provider)
            if job.spec.where:
                Condition(job.spec.where, [column.name for column in columns])
            Renderer(job.spec, [column.name for column in columns] or None, profile=profile)
        except OrchestratorError as error:
            error.where = error.where or job.where
            raise
        found[job.name] = columns


def _columns(
    ctx: Context,
    job: StagePlan,
    found: Mapping[str, Columns],
    specs: Mapping[str, JobSpec],
    outside: Mapping[str, Job],
) -> Columns:
    """Return the columns of the records that a job gets; none where they are not known."""
    if job.upstream is None:
        return _of_source(ctx, job.spec)
    options = read_options(job.spec.source_options)
    if job.upstream in outside:
        return HandOn(header(outside[job.upstream]), options).columns
    before = found.get(job.upstream, ())
    if not before:
        return ()
    answer = specs[job.upstream].answer
    members = columns_of(answer.schema) if answer is not None else ()
    return HandOn(header_of(before, members), options).columns


def _of_source(ctx: Context, spec: JobSpec) -> Columns:
    reach = opening(ctx.connections, lambda: ctx.registry)
    reach = replace(reach, left_out=left_out(spec, History(lambda: ctx.registry, spec)))
    return (
        open_source(spec.source, spec.source_format, options=spec.source_options, opening=reach)
        .shape()
        .columns
    )
