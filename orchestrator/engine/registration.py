"""The way in, whole: a source is checked, then its requests are registered chunk by chunk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from orchestrator.domain.errors import NameTaken, NotFound, SourceError
from orchestrator.domain.intake import Request
from orchestrator.domain.model import Job, JobState
from orchestrator.domain.profile import Profile
from orchestrator.domain.shape import Shape
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import Registered
from orchestrator.engine import intake
from orchestrator.engine.context import Context
from orchestrator.engine.intake import Scan
from orchestrator.engine.opening import opening as opened_by
from orchestrator.engine.sinking import check_sinks
from orchestrator.registry import jobs, requests
from orchestrator.sources.port import Opening, Source
from orchestrator.sources.registry import open_source

CHUNK = 5_000
"""Records registered a transaction."""

Progress = Callable[[int, int], None]
"""`(registered, all)`, after every chunk."""


def no_progress(_done: int, _all: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Submitted:
    """The job, and whether it was there before: `already` whole, or `resumed` in the middle."""

    job: Job
    already: bool = False
    resumed: bool = False
    skipped: int = 0


def accept(_scan: Scan) -> None:
    """Accept whatever the scan has found that breaks no rule."""


def register(
    ctx: Context,
    spec: JobSpec,
    *,
    actor: str,
    check: Callable[[Scan], None] = accept,
    on_progress: Progress = no_progress,
) -> Submitted:
    """Register a job whole; committed on return. Same name and content: the same job.

    A registration that was cut off goes on where it stopped. `check` may refuse what the scan has
    found. Raises NameTaken when a job of this name has other content, SourceError that lists every
    violation; nothing is registered then.
    """
    check_sinks(spec)
    profile = ctx.providers.profile(spec.provider)
    opening, limit = opened_by(ctx.connections, lambda: ctx.registry), ctx.requests_per_batch
    with scanned(spec, profile, opening, ctx.spool.directory, limit) as (source, scan):
        check(scan)
        digest = spec.digest(scan.source_digest)
        job, added = _enter(ctx, spec, digest, scan.shape, actor)
        if job.digest != digest:
            raise name_taken(job)
        if job.state is not JobState.REGISTERING:
            return Submitted(job=job, already=True)
        try:
            _register(
                ctx,
                job,
                intake.requests(spec, profile, source, scan, start_seq=job.books.records),
                total=scan.requests,
                on_progress=on_progress,
            )
        except SourceError:
            # The source changed while it was read: what is registered of it is no job.
            ctx.registry.write(lambda db: jobs.forget(db, job))
            raise
        whole = ctx.registry.write(lambda db: _complete(ctx, db, job.id, actor))
    return Submitted(job=whole, resumed=not added, skipped=scan.skipped)


@contextmanager
def scanned(
    spec: JobSpec, profile: Profile, opening: Opening, parent: Path, requests_per_file: int
) -> Iterator[tuple[Source, Scan]]:
    """Open and scan the source in a work directory of its own; refuse what breaks a rule."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="scan-", dir=parent) as folder:
        source = open_source(
            spec.source,
            spec.source_format,
            options=spec.source_options,
            opening=replace(opening, workdir=Path(folder)),
        )
        scan = intake.scan(
            spec, profile, source, workdir=Path(folder), requests_per_file=requests_per_file
        )
        intake.refuse(scan)
        yield source, scan


def _enter(ctx: Context, spec: JobSpec, digest: str, shape: Shape, actor: str) -> tuple[Job, bool]:
    """Return the job of this name, and whether it was made just now."""
    text = msgspec.json.encode(spec).decode()
    told = msgspec.json.encode(shape).decode()

    def work(db: Connection) -> tuple[Job, bool]:
        added = jobs.add(
            db,
            name=spec.name,
            provider=spec.provider,
            spec=text,
            digest=digest,
            shape=told,
            now=ctx.now(),
            actor=actor,
        )
        found = added or jobs.find(db, spec.name)
        if found is None:
            raise NotFound(f"job {spec.name} was removed just now", next="submit it again")
        return found, added is not None

    return ctx.registry.write(work)


def _register(
    ctx: Context,
    job: Job,
    rendered: Iterator[Request],
    *,
    total: int,
    on_progress: Progress,
) -> None:
    """Insert the requests chunk by chunk; the count in the job's row is the cursor."""
    done = job.books.records
    while chunk := list(islice(rendered, CHUNK)):
        ctx.registry.write(_chunk_writer(job.id, done, chunk))
        done += len(chunk)
        on_progress(done, total)


def _chunk_writer(job_id: int, done: int, chunk: list[Request]) -> Callable[[Connection], None]:
    whole = done + len(chunk)
    tried = False

    def work(db: Connection) -> None:
        nonlocal tried
        # Run again after a commit that nobody acknowledged, it may find that one done.
        if tried and jobs.lock(db, job_id).books.records == whole:
            return
        tried = True
        jobs.grow(db, job_id, at=done, count=len(chunk))
        requests.register(db, job_id, chunk)

    return work


def _complete(ctx: Context, db: Connection, job_id: int, actor: str) -> Job:
    job = jobs.lock(db, job_id)
    if job.state is not JobState.REGISTERING:
        return job  # this very commit went through before, without an acknowledgement
    return jobs.move(db, job, Registered(), now=ctx.now(), actor=actor)


def name_taken(job: Job) -> NameTaken:
    """Return the refusal of a submission whose name another one has."""
    return NameTaken(
        f'a job named "{job.name}" with other content exists',
        where=f"submitted {job.created_at:%Y-%m-%d %H:%M} UTC, {job.books.records:,} records",
        why="source, prompt or request settings differ from what was submitted under this name",
        safe="nothing was registered, nothing was sent",
        next=f"give this one a name of its own: --name {job.name}-2",
    )
