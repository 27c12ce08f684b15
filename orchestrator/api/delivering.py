"""Deliveries steered by hand: a sink is added later, or run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from orchestrator.domain.delivering import WEBHOOK, delivery_name, is_same_place, kind_of, says_how
from orchestrator.domain.errors import GuardError, NotFound
from orchestrator.domain.model import Delivery, Job, JobState
from orchestrator.domain.spec import SinkSpec
from orchestrator.engine.checking_sinks import bad_sink, check_sink
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

    `again` begins with the first outcome. One that the job has takes the format and the options
    that are given; without any it keeps its own. Raises NotFound, SinkError for a sink that can't
    work, and GuardError (ORC6030) where every row would come a second time.
    """
    sink = _as_stored(sink)
    with ctx.registry.read() as db:
        job = _named(db, name)
        there = deliveries.find(db, job.id, delivery_name(sink, job.name))
    if there is None:
        check_sink(ctx.spec_of(job), sink)
    else:
        _check_change(ctx, job, there, sink, again=again)
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
    changed = _changed(_spec(there.sink), sink, job.name)
    deliveries.restart(db, there, sink=changed, again=again, now=now, actor=ctx.actor)


def _changed(there: SinkSpec, given: SinkSpec, job: str) -> SinkSpec:
    """Return the sink that goes on: as given, or as it is where only its place is given."""
    if kind_of(given) == "source" and "table" in there.options:
        options = {"table": there.options["table"], **given.options}
        given = msgspec.structs.replace(given, options=options)
    if is_same_place(there, given, job) and not says_how(given):
        return there
    # How it is written while the job runs is settled: what is noted of it would not fit.
    return msgspec.structs.replace(given, stream=there.stream)


def _check_change(
    ctx: Context, job: Job, delivery: Delivery, given: SinkSpec, *, again: bool
) -> None:
    there = _spec(delivery.sink)
    changed = _changed(there, given, job.name)
    if changed != there:
        check_sink(ctx.spec_of(job), changed)
    if again:
        _refuse_doubling(there, delivery)
        _refuse_doubling(changed, delivery)
        return
    grows = kind_of(there) == "file" and there.stream
    begun = bool(delivery.rows or delivery.memo)
    if begun and changed != there and (grows or not _keeps_place(there, changed, job.name)):
        raise bad_sink(
            delivery.name,
            f"the {delivery.rows:,} rows so far are in another place, or written otherwise",
            "--again begins with the first outcome; or the option name makes it a further sink",
        )


def _keeps_place(there: SinkSpec, changed: SinkSpec, job: str) -> bool:
    """Whether the outcomes so far count for the sink as changed; posts are gone in any case."""
    return is_same_place(there, changed, job) or {kind_of(there), kind_of(changed)} == {WEBHOOK}


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


def unlike_sinks(registry: Registry, job: Job, given: Sequence[SinkSpec]) -> list[str]:
    """Return the names of given sinks that a job does not have, or has with other options."""
    with registry.read() as db:
        there = {found.name: _spec(found.sink) for found in deliveries.of_job(db, job.id)}
    named = [(delivery_name(sink, job.name), sink) for sink in given]
    return [
        name
        for name, sink in named
        if name not in there or _changed(there[name], _as_stored(sink), job.name) != there[name]
    ]


def _as_stored(sink: SinkSpec) -> SinkSpec:
    return _spec(msgspec.json.encode(sink))
