"""Outcomes -> a sink: a chunk, then the cursor behind it, so that a crash repeats one chunk.

The sink is written to first and the cursor is committed after it: what is noted, the sink has.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from sqlalchemy import Connection

from orchestrator.domain.delivering import kind_of
from orchestrator.domain.errors import ClaimLost
from orchestrator.domain.model import Delivery, Job
from orchestrator.domain.progress import Prices
from orchestrator.domain.spec import SinkSpec
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.engine.context import Context, Told
from orchestrator.engine.outcome_rows import Rows, outcomes_after
from orchestrator.engine.sinking import file_of, header_for, open_chunks
from orchestrator.registry import deliveries, jobs
from orchestrator.sinks.chunks import Arrived, ChunkSink
from orchestrator.sinks.formats import open_sink
from orchestrator.sinks.places import Place, open_place
from orchestrator.sinks.port import Sink, put
from orchestrator.sinks.stream_files import LINES

CHUNKS = 10
"""Chunks that one delivery passes on before others have their turn."""

TURN_SECONDS = 5.0
"""A turn ends with the first chunk after so many seconds: batches wait meanwhile."""

_spec = msgspec.json.Decoder(SinkSpec).decode


def deliver(ctx: Context, delivery: Delivery) -> None:
    """Pass on what the sink has not got, for as long as its turn lasts. Raises SinkError."""
    sink = _spec(delivery.sink)
    job = _job(ctx, delivery)
    if not sink.stream and job.state not in JOB_FINAL:
        _settle(ctx, delivery, job.stamp)
        return
    if kind_of(sink) == "file" and not sink.stream:
        _write_whole(ctx, job, delivery, sink)
        return
    _pass_on(ctx, job, delivery, sink)


def _write_whole(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> None:
    """Write the file of a job that has ended: in source order, and whole or not at all."""
    location, kind = file_of(job, sink)
    columns = header_for(ctx, job, typed=kind not in LINES)
    output = open_place(location, kind, Path())
    opened: Place | Sink = output
    try:
        rows = 0
        file = opened = open_sink(kind, output, columns, raw=bool(sink.options.get("raw")))
        for block in Rows(ctx.registry, job, prices=_prices(ctx)).blocks():
            _may_go_on(ctx)
            put(file, block)
            rows += len(block.outcome)
            delivery = ctx.registry.write(_noting(delivery, rows))
        file.close()
    except BaseException:
        opened.abandon()
        raise
    _settle(ctx, delivery, job.stamp)


def _may_go_on(ctx: Context) -> None:
    """Stop in the middle of a file when there is no time left. Raises ClaimLost."""
    ctx.may_go_on()
    if ctx.stopping():
        raise ClaimLost("this worker stops; the file is written anew by the next one")


def _noting(delivery: Delivery, rows: int) -> Callable[[Connection], Delivery]:
    # Refused when another worker has taken over: then this one's file is thrown away.
    return lambda db: deliveries.note_memo(db, delivery, delivery.memo, rows=rows)


def _job(ctx: Context, delivery: Delivery) -> Job:
    with ctx.registry.read() as db:
        return jobs.get(db, delivery.job_id)


def _pass_on(ctx: Context, job: Job, delivery: Delivery, sink: SinkSpec) -> None:
    taker: ChunkSink | None = None
    ends = ctx.clock.monotonic() + TURN_SECONDS
    try:
        for number in range(CHUNKS):
            if number and (ctx.stopping() or ctx.clock.monotonic() > ends):
                break
            # Read before the outcomes are: what is recorded since is found by the next look.
            recorded = _job(ctx, delivery).stamp
            taker = taker or open_chunks(ctx, job, delivery, sink)
            chunk = _next_chunk(ctx, job, delivery, taker)
            if not chunk:
                _settle(ctx, delivery, recorded)
                return
            delivery = _hand_over(ctx, delivery, taker, chunk)
    finally:
        if taker is not None:
            taker.close()
    ctx.registry.write(lambda db: deliveries.pause(db, delivery, due_at=ctx.now()))


def _next_chunk(ctx: Context, job: Job, delivery: Delivery, taker: ChunkSink) -> list[Arrived]:
    after = delivery.after_stamp, delivery.after_id
    chunk = outcomes_after(ctx.registry, job, *after, taker.size, _prices(ctx))
    if taker.whole_stamps:
        return [arrived for arrived in chunk if arrived[0] == chunk[0][0]]
    return chunk


def _prices(ctx: Context) -> Prices:
    today = ctx.now().date()
    return lambda provider, model: ctx.price(provider, model, today)


def _hand_over(
    ctx: Context, delivery: Delivery, taker: ChunkSink, chunk: list[Arrived]
) -> Delivery:
    ctx.may_go_on()
    memo = taker.write(chunk)
    stamp, request, _ = chunk[-1]

    def work(db: Connection) -> Delivery:
        return deliveries.advance(
            db, delivery, stamp=stamp, request=request, rows=len(chunk), memo=memo
        )

    return ctx.registry.write(work)


def _settle(ctx: Context, delivery: Delivery, recorded: int) -> None:
    """End the delivery when its job has ended with no outcome behind `recorded`, else wait."""
    now = ctx.now()

    def work(db: Connection) -> bool:
        # Locked: the job neither ends nor is reopened between this look and the commit.
        job = jobs.lock(db, delivery.job_id)
        ended = job.state in JOB_FINAL
        if deliveries.is_done(db, delivery):
            return True  # this very commit went through before, without an acknowledgement
        if ended and job.stamp > recorded:
            deliveries.pause(db, delivery, due_at=now)
            return False
        if ended or delivery.stream:
            _pass_over(db, delivery, recorded)
        if ended:
            deliveries.finish(db, delivery, now=now, actor=ctx.actor)
        else:
            deliveries.wait(db, delivery, now=now)
        return ended

    if ctx.registry.write(work):
        ctx.tell(Told(kind="Delivered", job=_job(ctx, delivery), facts={"sink": delivery.name}))


def _pass_over(db: Connection, delivery: Delivery, recorded: int) -> None:
    """Move the cursor behind stamps that no outcome bears any more."""
    if recorded > delivery.after_stamp:
        deliveries.advance(
            db,
            delivery,
            stamp=recorded,
            request=deliveries.LAST_ID,
            rows=0,
            memo=delivery.memo,
        )
