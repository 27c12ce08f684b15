"""Failures grouped by cause: how many, whose words, what to type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.api.lookup import job_named
from orchestrator.domain.model import Job
from orchestrator.domain.retry import Cause
from orchestrator.registry import jobs, reports
from orchestrator.registry.reports import CauseGroup, Example
from orchestrator.registry.session import Registry

_JOBS = 100
_RETRYABLE = frozenset(
    {Cause.OVERLOADED, Cause.QUOTA, Cause.SERVER, Cause.EXPIRED, Cause.MISSING, Cause.INVALID}
)


@dataclass(frozen=True, kw_only=True)
class FailureGroup:
    """Failed attempts of one cause and code in one job.

    `attempts` counts them all, `records` those whose outcome this is; the difference was asked
    again. `of`: the job's records. `next`: the command that retries or shows them, empty where
    nothing is left to do.
    """

    job: str
    cause: str
    code: str
    attempts: int
    records: int
    of: int
    words: str
    retryable: bool
    example: str
    next: str


def failure_groups(
    registry: Registry, job: str | None = None, *, limit: int = 50
) -> list[FailureGroup]:
    """Return failures by cause of a job, or of the newest hundred jobs, most frequent first."""
    with registry.read() as db:
        found = [job_named(db, job)] if job is not None else jobs.page(db, newest=True, limit=_JOBS)
        groups = reports.causes(db, [one.id for one in found], limit)
        examples = reports.examples(db, [group.last_id for group in groups])
    return _described(found, groups, examples)


def _described(
    found: Sequence[Job], groups: Sequence[CauseGroup], examples: dict[int, Example]
) -> list[FailureGroup]:
    by_id = {job.id: job for job in found}
    return [_group(by_id[group.job_id], group, examples[group.last_id]) for group in groups]


def _group(job: Job, group: CauseGroup, example: Example) -> FailureGroup:
    retryable = group.cause in _RETRYABLE
    return FailureGroup(
        job=job.name,
        cause=group.cause,
        code=group.code,
        attempts=group.attempts,
        records=group.records,
        of=job.books.records,
        words=example.message,
        retryable=retryable,
        example=example.key,
        next=_next(job, group, retryable),
    )


def _next(job: Job, group: CauseGroup, retryable: bool) -> str:
    if not group.records:
        return ""
    if retryable:
        return f"orchestrator retry {job.name} --where cause:{group.cause}"
    return f"orchestrator records {job.name} --where cause:{group.cause}"
