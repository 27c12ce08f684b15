"""Outcomes of one job -> records of the next: a stage of a workflow takes what it waits for.

A stage that waits for the end registers its job whole, by the very functions that a submission
uses. One that takes outcomes as they come enters a job that grows, and then a chunk at a time: the
records and the cursor over the outcomes move in one transaction, so that a crash resumes there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection

from orchestrator.domain import rules
from orchestrator.domain.errors import NotFound, OrchestratorError, RegistryError, SourceError
from orchestrator.domain.feeding import AT_WORK, DROPPED, Hold, Move, next_move
from orchestrator.domain.intake import BadRow, Record, Request, Violation
from orchestrator.domain.model import Job, JobState, Stage
from orchestrator.domain.pacing import seconds
from orchestrator.domain.packing import FileLimits
from orchestrator.domain.shape import Shape
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import JOB_FINAL, Reopened
from orchestrator.engine import sharing
from orchestrator.engine.admission import admit_unread
from orchestrator.engine.checking_sinks import check_sinks
from orchestrator.engine.context import Context, Told, read_spec
from orchestrator.engine.handing_on import read_options
from orchestrator.engine.intake import OneByOne
from orchestrator.engine.job_source import Coming, JobSource
from orchestrator.engine.outcome_rows import outcomes_after
from orchestrator.engine.registration import complete, enter, register
from orchestrator.registry import jobs, outcomes, requests, stages
from orchestrator.registry.sharing import seqs
from orchestrator.sinks.port import OutcomeRow
from orchestrator.sources.filtered import Filtered

CHUNK = 2_000
"""Outcomes read a transaction."""

MOST = 50
"""Moves of one stage before others have their turn."""


def feed(ctx: Context, stage: Stage) -> int:
    """Take a claimed stage as far as the job before it allows; return how many moves it made.

    What only a person can mend holds the stage; what is registered by then stays.
    """
    moves = 0
    try:
        while moves < MOST and not ctx.stopping():
            ctx.may_go_on()
            move = ctx.registry.write(partial(_decide, ctx, stage))
            if move is None:
                return moves
            stage = _take(ctx, stage, move)
            moves += 1
    except RegistryError:
        raise
    except OrchestratorError as error:
        _hold(ctx, stage, error)
        return moves + 1
    ctx.registry.write(lambda db: stages.release(db, stage, due_at=ctx.now()))
    return moves


def _decide(ctx: Context, stage: Stage, db: Connection) -> Move | None:
    """Return what the stage needs; a claim with nothing to do is given back.

    In one transaction that holds the row: whoever makes the stage due comes before or after it.
    """
    stage = stages.lock(db, stage)
    if stage.state not in AT_WORK:
        return None
    upstream = jobs.find(db, stage.upstream)
    own = jobs.find(db, stage.name)
    cursor = stage.after_stamp, stage.after_id
    more = upstream is not None and bool(outcomes.stamped(db, upstream.id, cursor, 1))
    options = read_options(read_spec(stage.spec).source_options)
    found = next_move(stage, upstream, own, more=more, any_outcome=options.outcomes == "all")
    if isinstance(found, Move):
        return found
    if isinstance(found, Hold):
        _note_hold(ctx, db, stage, found.code, found.reason)
    else:
        stages.release(db, stage, due_at=ctx.now() + seconds(ctx.pace.cap))
    return None


def _take(ctx: Context, stage: Stage, move: Move) -> Stage:
    match move:
        case Move.WHOLE:
            _whole(ctx, stage)
        case Move.BEGIN:
            _begin(ctx, stage)
        case Move.ROWS:
            _rows(ctx, stage)
        case Move.END:
            ctx.registry.write(partial(_end, ctx, stage))
        case Move.DROP:
            ctx.registry.write(partial(_drop, ctx, stage))
    with ctx.registry.read() as db:
        return stages.get(db, stage.id)


def _whole(ctx: Context, stage: Stage) -> None:
    """Register the stage's job of all outcomes that there are."""
    spec = read_spec(stage.spec)
    if _has_records(ctx, spec):
        told = register(
            ctx,
            spec,
            actor=ctx.actor,
            stage=stage,
            on_progress=lambda _done, _all: ctx.may_go_on(),
        )
        if not told.already:
            ctx.tell(Told(kind="stage_fed", job=told.job, facts={"rows": told.job.books.records}))
            return
    else:
        enter(ctx, spec, spec.digest(""), Shape(), ctx.actor, stage=stage)
    ctx.registry.write(partial(_complete, ctx, stage))


def _complete(ctx: Context, stage: Stage, db: Connection) -> None:
    job = jobs.find(db, stage.name)
    if job is None:
        raise NotFound(f"the job of stage {stage.name} was removed just now")
    complete(ctx, db, job.id, ctx.actor, stage)


def _has_records(ctx: Context, spec: JobSpec) -> bool:
    """Whether the stage gets a record at all: a source without one is no source otherwise."""
    name = spec.source.removeprefix("job:")
    opened = JobSource(ctx.registry, name, spec.source_options)
    source = Filtered(opened, spec.where) if spec.where else opened
    return next(iter(source.records()), None) is not None


def _begin(ctx: Context, stage: Stage) -> None:
    """Enter the stage's job, which grows from now on."""
    spec = read_spec(stage.spec)
    upstream = _upstream(ctx, stage)
    coming = Coming(upstream, spec.source_options)
    profile = ctx.providers.profile(spec.provider)
    broken = rules.job_violations(spec, profile)
    if broken:
        raise SourceError(broken[0].reason, code=broken[0].code)
    check_sinks(spec)
    admit_unread(ctx, spec)
    OneByOne(spec, profile, coming)
    job, _ = enter(ctx, spec, _digest(spec, upstream), coming.shape(), ctx.actor, stage=stage)
    ctx.registry.write(lambda db: complete(ctx, db, job.id, ctx.actor, stage))


def _digest(spec: JobSpec, upstream: Job) -> str:
    """Return the content hash of a job that grows: what is asked, and whose outcomes are."""
    source = hashlib.sha256(f"{upstream.id} {upstream.digest}".encode()).hexdigest()
    return spec.digest(source)


def _upstream(ctx: Context, stage: Stage) -> Job:
    with ctx.registry.read() as db:
        found = jobs.find(db, stage.upstream)
    assert found is not None  # noqa: S101 - what was decided to be done needs it
    return found


class _Chunk(NamedTuple):
    """What the next outcomes give, up to the first record that breaks a rule.

    `passed`: outcomes that give no record; `last`: stamp and id of the last one that is settled.
    """

    made: list[Request]
    passed: int
    last: tuple[int, int]
    broken: SourceError | None = None


def _rows(ctx: Context, stage: Stage) -> None:
    """Register the records that the next outcomes give, up to the first that breaks a rule."""
    spec = read_spec(stage.spec)
    chunk = _read(ctx, stage, spec)
    ctx.registry.write(partial(_register, ctx, stage, spec, chunk))
    if chunk.broken is not None:
        raise chunk.broken


def _read(ctx: Context, stage: Stage, spec: JobSpec) -> _Chunk:
    upstream = _upstream(ctx, stage)
    coming = Coming(upstream, spec.source_options, spec.where)
    maker = OneByOne(spec, ctx.providers.profile(spec.provider), coming)
    made: list[Request] = []
    passed, last = 0, (stage.after_stamp, stage.after_id)
    for stamp, request_id, row in outcomes_after(ctx.registry, upstream, *last, CHUNK):
        record = coming.record(requests.seq_of(request_id) + 1, row)
        made_of = maker.request(0, record) if isinstance(record, Record) else record
        if isinstance(made_of, Violation | BadRow):
            return _Chunk(made, passed, last, _broken(upstream, row, made_of))
        if made_of is None:
            passed += 1
        else:
            made.append(made_of)
        last = stamp, request_id
    return _Chunk(made, passed, last)


def _broken(upstream: Job, row: OutcomeRow, violation: Violation | BadRow) -> SourceError:
    return SourceError(
        f"record {rules.shortened(row.key or '')} of {upstream.name}: {violation.reason}",
        code=violation.code,
    )


def _register(ctx: Context, stage: Stage, spec: JobSpec, chunk: _Chunk, db: Connection) -> None:
    """Add a chunk to the stage's job and move the cursor behind it, in one transaction."""
    now = stages.lock(db, stage)
    if (now.after_stamp, now.after_id) == chunk.last:
        return  # this very commit went through before, without an acknowledgement
    assert now.job_id is not None  # noqa: S101 - it has begun, or nothing would be read
    job = jobs.lock(db, now.job_id)
    there = requests.known(db, job.id, [item.custom_id for item in chunk.made])
    wanted = job.state not in DROPPED
    fresh = [item for item in chunk.made if wanted and item.custom_id not in there]
    stages.change(
        db,
        stage,
        after_stamp=chunk.last[0],
        after_id=chunk.last[1],
        rows=now.rows + len(fresh),
        passed_over=now.passed_over + chunk.passed + len(chunk.made) - len(fresh),
    )
    if fresh:
        _grow(ctx, db, job, spec, fresh)


def _grow(ctx: Context, db: Connection, job: Job, spec: JobSpec, fresh: Sequence[Request]) -> None:
    if job.state is JobState.FINISHED:
        job = jobs.move(db, job, Reopened(), now=ctx.now(), actor=ctx.actor)
    first = job.books.records
    numbered = [msgspec.structs.replace(item, seq=first + n) for n, item in enumerate(fresh)]
    requests.register(db, job.id, numbered)
    jobs.count(db, job.id, records=len(numbered), waiting=len(numbered))
    sharing.join(db, job, spec, seqs(job.id, first, len(numbered)), now=ctx.now())
    jobs.set_due(db, job.id, _due(ctx, job, spec, len(numbered)))


def _due(ctx: Context, job: Job, spec: JobSpec, count: int) -> datetime:
    """Return when the next batch is made: at once where one is full, else after the linger."""
    limits = FileLimits.of(ctx.providers.profile(spec.provider), ctx.requests_per_batch)
    now = ctx.now()
    if job.books.waiting + count >= limits.max_requests:
        return now
    return now + seconds(spec.policy.linger_seconds) if not job.books.waiting else job.due_at


def _end(ctx: Context, stage: Stage, db: Connection) -> None:
    """Let the job grow no more, if its upstream has really told everything."""
    upstream = jobs.find(db, stage.upstream)
    if upstream is None or jobs.lock(db, upstream.id).state not in JOB_FINAL:
        return
    stage = stages.lock(db, stage)
    if outcomes.stamped(db, upstream.id, (stage.after_stamp, stage.after_id), 1):
        return
    _fed(ctx, db, stage)


def _drop(ctx: Context, stage: Stage, db: Connection) -> None:
    """Feed a job no more that is being cancelled."""
    _fed(ctx, db, stages.lock(db, stage))


def _fed(ctx: Context, db: Connection, stage: Stage) -> None:
    job = jobs.find(db, stage.name)
    if job is not None:
        stage = stages.change(db, stage, job_id=job.id)
        jobs.stop_growing(db, job.id, ctx.now())
    stages.finish(db, stage, now=ctx.now(), actor=ctx.actor)


def _hold(ctx: Context, stage: Stage, error: OrchestratorError) -> None:
    reason = ": ".join(part for part in (error.message, *error.details[:1], error.why) if part)
    ctx.registry.write(lambda db: _note_hold(ctx, db, stage, error.code, reason))
    ctx.tell(Told(kind="stage_held", error=error, facts={"stage": stage.name}))


def _note_hold(ctx: Context, db: Connection, stage: Stage, code: str, reason: str) -> None:
    stages.hold(db, stage, code=code, reason=reason, now=ctx.now(), actor=ctx.actor)
