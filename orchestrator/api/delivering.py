"""Deliveries steered by hand: a sink is added later, or run again."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from orchestrator.domain.delivering import delivery_name
from orchestrator.domain.errors import GuardError, NotFound
from orchestrator.domain.model import Delivery, Job, JobState
from orchestrator.domain.spec import SinkSpec
from orchestrator.engine.checking_sinks import check_sink
from orchestrator.engine.context import Context
from orchestrator.registry import deliveries, jobs
from orchestrator.registry.session import Registry

_spec = msgspec.json.Decoder(SinkSpec).decode


@dataclass(frozen=True, kw_only=True)
class Delivering:
    """What `deliver` has set going. `added`: the sink is new to the job."""

    job: str
    sink: str
    added: bool
    again: bool


def deliver(
    ctx: Context, name: str, sink: SinkSpec, *, again: bool = False, dry_run: bool = False
) -> Delivering:
    """Pass a job's outcomes on to a sink: one it has, where it stopped, or a further one.

    `again` begins with the first outcome. Raises NotFound, SinkError for a sink that can't work,
    and GuardError (ORC6030) where every row would come a second time.
    """
    with ctx.registry.read() as db:
        job = _named(db, name)
        there = deliveries.find(db, job.id, delivery_name(sink, job.name))
    if there is None:
        check_sink(ctx.spec_of(job), sink)
    elif again:
        _refuse_doubling(_spec(there.sink), there)
    done = Delivering(
        job=job.name, sink=delivery_name(sink, job.name), added=there is None, again=again
    )
    if not dry_run:
        ctx.registry.write(lambda db: _set_going(ctx, db, job.id, sink, again=again))
    return done


def _set_going(ctx: Context, db: Connection, job_id: int, sink: SinkSpec, *, again: bool) -> None:
    now = ctx.now()
    job = jobs.lock(db, job_id)
    there = deliveries.find(db, job_id, delivery_name(sink, job.name))
    if there is None:
        deliveries.add(db, job, sink, now=now)
        return
    deliveries.restart(db, there, again=again, now=now, actor=ctx.actor)


def _refuse_doubling(sink: SinkSpec, delivery: Delivery) -> None:
    if sink.options.get("mode") == "append":
        raise GuardError(
            f"{delivery.name} has {delivery.rows:,} rows of this job already",
            code="ORC6030",
            why="it appends: from the first outcome on, each row would be there twice",
            safe="nothing was changed",
            next="name another table, or leave out --again to go on where it stopped",
        )


def _named(db: Connection, name: str) -> Job:
    job = jobs.find(db, name)
    if job is None or job.state is JobState.REGISTERING:
        raise NotFound(f'there is no job "{name}"', next="orchestrator jobs")
    return job


def known_sink(registry: Registry, job: Job, name: str) -> SinkSpec | None:
    """Return the sink of a job that is shown under this name, if it has one."""
    with registry.read() as db:
        found = deliveries.find(db, job.id, name)
    return _spec(found.sink) if found is not None else None
