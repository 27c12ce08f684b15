"""Find what a user names: a job, a batch, a record. A name that is nobody's gets a suggestion."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from sqlalchemy import Connection

from orchestrator.domain.custom_ids import custom_id
from orchestrator.domain.errors import NotFound, UsageError
from orchestrator.domain.model import Batch, Job
from orchestrator.registry import batches, jobs, outcomes
from orchestrator.registry.session import Registry

LAST = "@last"
_SHOWN = 5
_NEAR_AMONG = 500
_BATCH = re.compile(r"(?P<job>.+)/b(?P<number>\d{1,9})")


@dataclass(frozen=True, slots=True)
class Found:
    """A record that was found by its key."""

    job: Job
    request_id: int


def find_job(registry: Registry, name: str) -> Job:
    """Return the job of this name, of this unique beginning of a name, or the newest for `@last`.

    Raises NotFound with the nearest name, UsageError for a beginning that several names share.
    """
    with registry.read() as db:
        return job_named(db, name)


def job_named(db: Connection, name: str) -> Job:
    """Do as `find_job` does, in the caller's transaction."""
    if name == LAST:
        found = jobs.last(db)
        if found is None:
            raise NotFound(
                "there is no job yet", next="orchestrator submit FILE --key COLUMN --prompt TEXT"
            )
        return found
    exact = jobs.find(db, name)
    if exact is not None:
        return exact
    near = jobs.starting_with(db, name, _SHOWN + 1) if name else []
    if len(near) == 1:
        return near[0]
    raise _several(name, near) if near else _no_job(db, name)


def _several(name: str, found: list[Job]) -> UsageError:
    names = [job.name for job in found[:_SHOWN]]
    more = ", ..." if len(found) > _SHOWN else ""
    return UsageError(
        f'"{name}" is the beginning of several jobs',
        code="ORC1204",
        why=f"they are {', '.join(names)}{more}",
        next=f"write one of them in full, such as {names[0]}",
    )


def _no_job(db: Connection, name: str) -> NotFound:
    known = [job.name for job in jobs.page(db, newest=True, limit=_NEAR_AMONG)]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f', did you mean "{near[0]}"?' if near else ""
    return NotFound(f'there is no job "{name}"{hint}', next="orchestrator jobs")


def find_batch(registry: Registry, name: str) -> tuple[Job, Batch]:
    """Return a batch and its job by `JOB/b07` or by the provider's id.

    Raises NotFound with what there is, UsageError for a job's beginning that several names share.
    """
    with registry.read() as db:
        return batch_named(db, name)


def batch_named(db: Connection, name: str) -> tuple[Job, Batch]:
    """Do as `find_batch` does, in the caller's transaction."""
    remote = batches.find_remote(db, name)
    if remote is not None:
        return jobs.get(db, remote.job_id), remote
    match = _BATCH.fullmatch(name)
    if match is None:
        raise NotFound(
            f'there is no batch "{name}"',
            why="a batch is written JOB/b07, or by the provider's own id",
            next="orchestrator batches",
        )
    job = job_named(db, match["job"])
    found = batches.find(db, job_id=job.id, number=int(match["number"]))
    if found is None:
        raise NotFound(
            f"job {job.name} has no batch b{match['number']}",
            why=f"it has {job.batches:,}" if job.batches else "it has none yet",
            next=f"orchestrator batches --where job:{job.name}",
        )
    return job, found


def find_record(registry: Registry, key: str, job: str | None = None) -> Found:
    """Return the record of this key in a job; in all jobs, newest first, where none is named.

    Raises NotFound, and UsageError for a key that several jobs have.
    """
    with registry.read() as db:
        if job is not None:
            owner = job_named(db, job)
            request = record_in(db, owner, key)
            if request is None:
                raise NotFound(
                    f'job {owner.name} has no record "{key}"',
                    next=f"orchestrator records {owner.name}",
                )
            return Found(owner, request)
        return _record_anywhere(db, key)


def _record_anywhere(db: Connection, key: str) -> Found:
    found = outcomes.find_key(db, key, spellings(key))
    if not found:
        raise NotFound(f'there is no record "{key}"', next="orchestrator records JOB")
    names = jobs.names(db, [job_id for job_id, _ in found])
    if len(found) > 1:
        some = ", ".join(list(names.values())[:_SHOWN])
        raise UsageError(
            f'several jobs have a record "{key}"',
            code="ORC1204",
            why=f"they are {some}",
            next=f"say which one: --job {next(iter(names.values()))}",
        )
    job_id, request = found[0]
    return Found(jobs.get(db, job_id), request)


def record_in(db: Connection, job: Job, key: str) -> int | None:
    """Return the id of a job's request by the record's key, or by its custom_id."""
    found = outcomes.find_key(db, key, spellings(key), job_id=job.id)
    return found[0][1] if found else None


def spellings(key: str) -> list[str]:
    """Return the custom_ids that a record of this key may travel under, whatever the provider."""
    return list(dict.fromkeys([key, custom_id(key), custom_id(key, 28)]))
