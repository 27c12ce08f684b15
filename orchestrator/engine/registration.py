"""The way in, whole: a source is checked, then its requests are registered chunk by chunk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from orchestrator.domain.errors import NameTaken, NotFound, SourceError
from orchestrator.domain.intake import Request
from orchestrator.domain.model import Job, JobState, Stage, StageState
from orchestrator.domain.profile import Profile
from orchestrator.domain.shape import Shape
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import Registered
from orchestrator.engine import intake, sharing
from orchestrator.engine.admission import admit
from orchestrator.engine.checking_sinks import check_sinks
from orchestrator.engine.chosen import choose
from orchestrator.engine.context import Context
from orchestrator.engine.history import series_of
from orchestrator.engine.intake import Scan
from orchestrator.engine.opening import opening as opened_by
from orchestrator.registry import jobs, requests, stages
from orchestrator.registry.sharing import seqs
from orchestrator.sources.port import Opening, Source

CHUNK = 5_000
"""Records registered a transaction."""

Progress = Callable[[int, int], None]
"""`(registered, all)`, after every chunk."""


def no_progress(_done: int, _all: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Submitted:
    """The job, and whether it was there before: `already` whole, or `resumed` in the middle.

    `passed_over` records do not fit the spec's condition, `unchanged` ones are held by earlier
    jobs as they are. `changed_since`: the latest job over the same source, as it was then.
    """

    job: Job
    already: bool = False
    resumed: bool = False
    skipped: int = 0
    passed_over: int = 0
    unchanged: int = 0
    changed_since: str = ""

    @property
    def nothing_changed(self) -> bool:
        """Whether nothing was registered, since earlier jobs hold every record as it is."""
        return self.already and self.unchanged > 0


def accept(_scan: Scan) -> None:
    """Accept whatever the scan has found that breaks no rule."""


def register(
    ctx: Context,
    spec: JobSpec,
    *,
    actor: str,
    check: Callable[[Scan], None] = accept,
    on_progress: Progress = no_progress,
    stage: Stage | None = None,
) -> Submitted:
    """Register a job whole; committed on return. Same name and content: the same job.

    A registration that was cut off goes on where it stopped. `check` may refuse what the scan has
    found. `stage`: the claimed stage that registers its job; fed in the last transaction. Raises
    NameTaken when a job of this name has other content, SourceError that lists every violation;
    nothing is registered then.
    """
    check_sinks(spec)
    profile = ctx.providers.profile(spec.provider)
    opening, limit = opened_by(ctx.connections, lambda: ctx.registry), ctx.requests_per_batch
    with scanned(spec, profile, opening, ctx.spool.directory, limit) as (source, scan):
        check(scan)
        if scan.nothing_changed:
            return _unchanged(ctx, scan)
        if not _is_known(ctx, spec.name):
            admit(ctx, spec, scan.models)
        digest = spec.digest(scan.source_digest)
        job, added = enter(
            ctx, spec, digest, scan.shape, actor, stage=stage, source_digest=scan.source_hash
        )
        if job.digest != digest:
            raise name_taken(job)
        if job.state is not JobState.REGISTERING:
            return _told(scan, job, already=True)
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
        whole = ctx.registry.write(lambda db: complete(ctx, db, job.id, actor, stage))
    return _told(scan, whole, resumed=not added)


def _told(scan: Scan, job: Job, *, already: bool = False, resumed: bool = False) -> Submitted:
    return Submitted(
        job=job,
        already=already,
        resumed=resumed,
        skipped=0 if already else scan.skipped,
        passed_over=scan.passed_over,
        unchanged=scan.unchanged,
        changed_since=scan.changed_since,
    )


def _unchanged(ctx: Context, scan: Scan) -> Submitted:
    """Return the latest job of the series: with those before it, it holds every record as it is."""
    with ctx.registry.read() as db:
        job = jobs.find(db, scan.latest)
    if job is None:
        raise NotFound(f"job {scan.latest} was removed just now", next="submit it again")
    return _told(scan, job, already=True)


@contextmanager
def scanned(
    spec: JobSpec, profile: Profile, opening: Opening, parent: Path, requests_per_file: int
) -> Iterator[tuple[Source, Scan]]:
    """Open and scan the source in a work directory of its own; refuse what breaks a rule."""
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="scan-", dir=parent) as folder:
        workdir = Path(folder)
        chosen = choose(spec, profile, opening, workdir)
        scan = intake.scan(
            spec, profile, chosen.records, workdir=workdir, requests_per_file=requests_per_file
        )
        scan = chosen.told(scan)
        if not scan.nothing_changed:
            intake.refuse(scan)
        yield chosen.records, scan


def _is_known(ctx: Context, name: str) -> bool:
    with ctx.registry.read() as db:
        return jobs.find(db, name) is not None


def enter(
    ctx: Context,
    spec: JobSpec,
    digest: str,
    shape: Shape,
    actor: str,
    *,
    stage: Stage | None = None,
    source_digest: str = "",
) -> tuple[Job, bool]:
    """Return the job of this name, and whether it was made just now.

    The job of a `stage` may be one that was cut off with other content: it is made anew. A run
    that sends changes only takes the next free name of its series.
    """
    told = msgspec.json.encode(shape).decode()

    def work(db: Connection) -> tuple[Job, bool]:
        if stage is None:
            _refuse_name_of_stage(db, spec.name)
        else:
            _forget_cut_off(db, stages.lock(db, stage), digest)
        name = _name_of_run(db, spec, digest) if spec.changed_only else spec.name
        added = jobs.add(
            db,
            name=name,
            provider=spec.provider,
            spec=msgspec.json.encode(msgspec.structs.replace(spec, name=name)).decode(),
            digest=digest,
            shape=told,
            series=series_of(spec),
            source_digest=source_digest[:64],
            growing=stage is not None and stage.stream,
            now=ctx.now(),
            actor=actor,
        )
        found = added or jobs.find(db, name)
        if found is None:
            raise NotFound(f"job {name} was removed just now", next="submit it again")
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
        ctx.registry.write(_chunk_writer(ctx, job, done, chunk))
        done += len(chunk)
        on_progress(done, total)


def _chunk_writer(
    ctx: Context, job: Job, done: int, chunk: list[Request]
) -> Callable[[Connection], None]:
    job_id, whole = job.id, done + len(chunk)
    spec = ctx.spec_of(job)
    tried = False

    def work(db: Connection) -> None:
        nonlocal tried
        # Run again after a commit that nobody acknowledged, it may find that one done.
        if tried and jobs.lock(db, job_id).books.records == whole:
            return
        tried = True
        jobs.grow(db, job_id, at=done, count=len(chunk))
        requests.register(db, job_id, chunk)
        sharing.join(db, job, spec, seqs(job_id, done, len(chunk)), now=ctx.now())

    return work


def _forget_cut_off(db: Connection, stage: Stage, digest: str) -> None:
    """Remove what was registered of a stage's job before the stage was declared anew."""
    job = jobs.find(db, stage.name)
    if job is not None and job.state is JobState.REGISTERING and job.digest != digest:
        jobs.forget(db, job)


def complete(
    ctx: Context, db: Connection, job_id: int, actor: str, stage: Stage | None = None
) -> Job:
    """Let a job run whose records are all registered, and its stage know, in one transaction."""
    if stage is not None:
        stage = stages.lock(db, stage)
    job = jobs.lock(db, job_id)
    # This very commit may have gone through before, without an acknowledgement.
    if job.state is JobState.REGISTERING:
        job = jobs.move(db, job, Registered(), now=ctx.now(), actor=actor)
    if stage is not None and stage.state is not StageState.FED:
        _enter_in_stage(ctx, db, stage, job)
    return job


def _enter_in_stage(ctx: Context, db: Connection, stage: Stage, job: Job) -> None:
    """Note that a stage has its job: whole, or one that grows from now on."""
    if stage.stream:
        stages.change(db, stage, state=StageState.FEEDING, job_id=job.id)
        return
    upstream = jobs.find(db, stage.upstream)
    rows = job.books.records
    over = upstream.books.records - rows if upstream is not None else 0
    stage = stages.change(db, stage, job_id=job.id, rows=rows, passed_over=max(0, over))
    stages.finish(db, stage, now=ctx.now(), actor=ctx.actor)


def _name_of_run(db: Connection, spec: JobSpec, digest: str) -> str:
    """Return the first name of a series that is free, or that the very same content has.

    What another run was cut off in, with content that is no more, is removed: nothing of it was
    sent, and nobody will go on with it.
    """
    name, series = spec.name, series_of(spec)
    for number in count(2):
        job = jobs.find(db, name)
        if job is None or job.digest == digest or (number == 2 and job.series != series):
            return name
        if job.series == series and job.state is JobState.REGISTERING:
            jobs.forget(db, job)
            return name
        name = f"{spec.name}-{number}"
    raise AssertionError("unreachable: the numbers do not end")


def _refuse_name_of_stage(db: Connection, name: str) -> None:
    stage = stages.find(db, name)
    if stage is not None:
        raise NameTaken(
            f'"{name}" is a stage of the workflow {stage.workflow}',
            code="ORC2074",
            why=f"its job is made of the outcomes of {stage.upstream}, by the workflow itself",
            safe="nothing was registered, nothing was sent",
            next=f"give this job a name of its own: --name {name}-2",
        )


def name_taken(job: Job) -> NameTaken:
    """Return the refusal of a submission whose name another one has."""
    return NameTaken(
        f'a job named "{job.name}" with other content exists',
        where=f"submitted {job.created_at:%Y-%m-%d %H:%M} UTC, {job.books.records:,} records",
        why="source, prompt or request settings differ from what was submitted under this name",
        safe="nothing was registered, nothing was sent",
        next=f"give this one a name of its own: --name {job.name}-2",
    )
