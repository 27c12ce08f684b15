"""Deliveries: outcomes on their way to sinks. Claimed like batches, fenced by the epoch.

A delivery that waits is no work: it is taken up when its job ends, and, where it streams, when its
job has recorded outcomes that it has not passed on. It runs from then until its sink has them all.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.dml import ReturningUpdate

from orchestrator.domain.delivering import delivery_name
from orchestrator.domain.errors import ClaimLost
from orchestrator.domain.model import Delivery, DeliveryState, Job, JobState
from orchestrator.domain.spec import SinkSpec
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.registry import claims, events
from orchestrator.registry.bulk import among
from orchestrator.registry.tables import deliveries, jobs

LAST_ID = (1 << 63) - 1
"""Behind every outcome of its stamp."""

S = DeliveryState
_COLUMNS = claims.columns_of(deliveries)
_AT_WORK = deliveries.c.state.in_((literal_column("'waiting'"), literal_column("'running'")))
"""The very words of the partial index: SQLite proves nothing of bound parameters."""

_RECORDED = (
    select(jobs.c.stamp)
    .where(jobs.c.id == deliveries.c.job_id)
    .correlate(deliveries)
    .scalar_subquery()
)
_HAS_WORK = and_(
    _AT_WORK,
    or_(
        deliveries.c.state == S.RUNNING,
        and_(deliveries.c.stream, deliveries.c.after_stamp < _RECORDED),
    ),
)
_OF_JOB = (
    select(*_COLUMNS).where(deliveries.c.job_id == bindparam("the_job")).order_by(deliveries.c.id)
)
_FURTHEST_DUE = select(func.max(deliveries.c.due_at)).where(_AT_WORK)


class _Sinks(msgspec.Struct):
    """What of a job's spec is read here."""

    sinks: tuple[SinkSpec, ...] = ()


_sinks = msgspec.json.Decoder(_Sinks).decode


def _read(row: RowMapping) -> Delivery:
    return Delivery(**{**row, "state": S(row["state"])})


def get(db: Connection, delivery_id: int) -> Delivery:
    """Return one delivery."""
    query = select(*_COLUMNS).where(deliveries.c.id == delivery_id)
    return _read(db.execute(query).mappings().one())


def of_job(db: Connection, job_id: int) -> list[Delivery]:
    """Return the deliveries of a job, in the order they were asked for."""
    return [_read(row) for row in db.execute(_OF_JOB, {"the_job": job_id}).mappings()]


def of_jobs(db: Connection, job_ids: Sequence[int]) -> dict[int, list[Delivery]]:
    """Return the deliveries of some jobs, by job, in the order they were asked for."""
    query = select(*_COLUMNS).where(among(db, deliveries.c.job_id, job_ids))
    found: dict[int, list[Delivery]] = {}
    for row in db.execute(query.order_by(deliveries.c.id)).mappings():
        found.setdefault(row["job_id"], []).append(_read(row))
    return found


def page(db: Connection, *, after: int = 0, limit: int = 50) -> list[Delivery]:
    """Return deliveries of all jobs, in the order they were asked for."""
    query = select(*_COLUMNS).where(deliveries.c.id > after).order_by(deliveries.c.id).limit(limit)
    return [_read(row) for row in db.execute(query).mappings()]


def held(db: Connection) -> list[Delivery]:
    """Return the deliveries that a person must decide on."""
    query = select(*_COLUMNS).where(deliveries.c.state == S.HELD).order_by(deliveries.c.id)
    return [_read(row) for row in db.execute(query).mappings()]


def find(db: Connection, job_id: int, name: str) -> Delivery | None:
    """Return the delivery of a job by its name, if there is one."""
    where = deliveries.c.job_id == job_id, deliveries.c.name == name
    row = db.execute(select(*_COLUMNS).where(*where)).mappings().first()
    return _read(row) if row else None


def add(db: Connection, job: Job, sink: SinkSpec, *, now: datetime) -> None:
    """Enter a delivery of a job; of one that has ended it is due at once."""
    ended = job.state in JOB_FINAL
    db.execute(
        insert(deliveries).values(
            job_id=job.id,
            name=delivery_name(sink, job.name),
            sink=msgspec.json.encode(sink).decode(),
            stream=sink.stream,
            state=S.RUNNING if ended else S.WAITING,
            due_at=now,
            created_at=now,
        )
    )


def follow(db: Connection, job: Job, state: JobState, *, now: datetime) -> None:
    """Keep the deliveries of a job in step as it moves to `state`; part of that very move.

    Registered, it has those that its spec asks for. Ended, they all have work. Reopened, they are
    not done any more: what is asked again comes with a new stamp.
    """
    if job.state is JobState.REGISTERING and state is JobState.RUNNING:
        for sink in _sinks(job.spec).sinks:
            add(db, job, sink, now=now)
        return
    mine = deliveries.c.job_id == job.id
    if state in JOB_FINAL:
        ended = update(deliveries).where(mine, deliveries.c.state == S.WAITING)
        db.execute(ended.values(state=S.RUNNING, due_at=now))
    elif job.state in JOB_FINAL:
        again = update(deliveries).where(mine, deliveries.c.state == S.DONE)
        db.execute(again.values(state=S.WAITING, due_at=now, finished_at=None))


def is_due(db: Connection, now: datetime, *, job_id: int | None = None) -> bool:
    """Whether a delivery has work; a look is cheaper than a claim."""
    query = select(deliveries.c.id).where(_HAS_WORK, deliveries.c.due_at <= now)
    if job_id is not None:
        query = query.where(deliveries.c.job_id == job_id)
    return db.execute(query.limit(1)).first() is not None


def claim(
    db: Connection,
    *,
    worker: str,
    now: datetime,
    limit: int,
    busy: Sequence[int] = (),
    job_id: int | None = None,
) -> list[Delivery]:
    """Take up to `limit` deliveries that have work for `worker`, raising each one's epoch.

    One whose owner's lease is over is anybody's. `busy`: ids this worker has lost just now.
    """
    statement = _claiming(db.dialect.name, job_id is not None)
    taken = claims.take(
        db, statement, worker=worker, now=now, limit=limit, busy=busy, the_job=job_id
    )
    return [_read(row) for row in taken]


@functools.cache
def _claiming(dialect: str, one_job: bool) -> ReturningUpdate[Any]:
    its = (deliveries.c.job_id == bindparam("the_job"),) if one_job else ()
    return claims.claiming(dialect, deliveries, _HAS_WORK, *its, state=S.RUNNING)


def advance(
    db: Connection, delivery: Delivery, *, stamp: int, request: int, rows: int, memo: str
) -> Delivery:
    """Note that the sink has every outcome up to (`stamp`, `request`), `rows` more of them.

    Raises ClaimLost if the delivery is not ours any more.
    """
    values = {
        "after_stamp": stamp,
        "after_id": request,
        "rows": delivery.rows + rows,
        "memo": memo,
        "tries": 0,
        "code": None,
        "reason": None,
    }
    _change(db, delivery, values)
    return delivery.with_(**values)


def note_memo(
    db: Connection, delivery: Delivery, memo: str, *, rows: int | None = None
) -> Delivery:
    """Keep what a sink notes before its cursor moves. Raises ClaimLost, as `advance`."""
    values = {"memo": memo, "rows": delivery.rows if rows is None else rows}
    _change(db, delivery, values)
    return delivery.with_(**values)


def wait(db: Connection, delivery: Delivery, *, now: datetime) -> None:
    """Give a claim back: there is nothing to pass on as yet."""
    _change(db, delivery, {"state": S.WAITING, "owner": None, "due_at": now, "tries": 0})


def pause(db: Connection, delivery: Delivery, *, due_at: datetime) -> None:
    """Give a claim back in the middle of the work."""
    _change(db, delivery, {"owner": None, "due_at": due_at})


def put_off(
    db: Connection, delivery: Delivery, *, due_at: datetime, code: str, reason: str, tries: int
) -> None:
    """Give a claim back because the sink did not take a chunk: it is offered again."""
    values = {"owner": None, "due_at": due_at, "code": code, "reason": reason, "tries": tries}
    _change(db, delivery, values)


def hold(
    db: Connection, delivery: Delivery, *, code: str, reason: str, now: datetime, actor: str
) -> None:
    """Leave a delivery to a person, as its sink refuses; the event tells why."""
    values = {"state": S.HELD, "owner": None, "code": code, "reason": reason, "due_at": now}
    _change(db, delivery, values)
    _record(db, "delivery_held", delivery, now, actor, code=code, reason=reason)


def finish(db: Connection, delivery: Delivery, *, now: datetime, actor: str) -> None:
    """Note that the sink has every outcome there is."""
    values = {"state": S.DONE, "owner": None, "finished_at": now, "due_at": now, "tries": 0}
    _change(db, delivery, values)
    _record(db, "delivered", delivery, now, actor, rows=delivery.rows)


def is_done(db: Connection, delivery: Delivery) -> bool:
    """Whether this very claim has ended the delivery."""
    found = get(db, delivery.id)
    return found.state is S.DONE and found.epoch == delivery.epoch


def release(db: Connection, job: Job, *, now: datetime, actor: str) -> list[Delivery]:
    """Let what is held or put off go on at once; return what was held."""
    found = of_job(db, job.id)
    for delivery in found:
        if delivery.state is S.HELD:
            _put_to_work(db, delivery, now)
            _record(db, "delivery_released", delivery, now, actor)
        elif delivery.state is S.RUNNING:
            soon = update(deliveries).where(deliveries.c.id == delivery.id)
            db.execute(soon.values(due_at=now))
    return [delivery for delivery in found if delivery.state is S.HELD]


def restart(
    db: Connection,
    delivery: Delivery,
    *,
    sink: SinkSpec,
    again: bool,
    now: datetime,
    actor: str,
) -> None:
    """Run a delivery once more, by hand: `again` from the first outcome on, else where it stopped.

    `sink` is put in the place of its own. Whoever works on it finds its writes refused.
    """
    fresh = {"after_stamp": 0, "after_id": 0, "rows": 0, "memo": ""} if again else {}
    stored = msgspec.json.encode(sink).decode()
    _put_to_work(db, delivery, now, finished_at=None, sink=stored, **fresh)
    _record(db, "delivery_restarted", delivery, now, actor, again=again)


def _put_to_work(db: Connection, delivery: Delivery, now: datetime, **values: Any) -> None:  # noqa: ANN401 - columns
    db.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery.id)
        .values(
            state=S.RUNNING,
            owner=None,
            epoch=deliveries.c.epoch + 1,
            due_at=now,
            tries=0,
            code=None,
            reason=None,
            **values,
        )
    )


def _change(db: Connection, delivery: Delivery, values: dict[str, Any]) -> None:
    """Set columns of a delivery that is still under the epoch it was read in."""
    mine = deliveries.c.id == delivery.id, deliveries.c.epoch == delivery.epoch
    if db.execute(update(deliveries).where(*mine).values(**values)).rowcount != 1:
        raise ClaimLost(f"delivery {delivery.name} is no longer under epoch {delivery.epoch}")


def _record(
    db: Connection,
    kind: str,
    delivery: Delivery,
    now: datetime,
    actor: str,
    **data: Any,  # noqa: ANN401 - any JSON value
) -> None:
    told = {"sink": delivery.name, **data}
    events.record(db, kind, at=now, actor=actor, job_id=delivery.job_id, data=told)


def next_due(db: Connection, *, worker: str, now: datetime) -> datetime | None:
    """Return when the next delivery that no other living worker holds has work for `worker`."""
    query = _waiting(db.dialect.name)
    return db.execute(query, {"me": worker, "now": now}).scalar_one_or_none()


@functools.cache
def _waiting(dialect: str) -> Select[Any]:
    return select(func.min(deliveries.c.due_at)).where(_HAS_WORK, claims.free(dialect, deliveries))


def furthest_due(db: Connection) -> datetime | None:
    """Return the furthest due time of a delivery."""
    return db.execute(_FURTHEST_DUE).scalar_one_or_none()


def clamp(db: Connection, now: datetime, furthest: datetime) -> None:
    """Make deliveries due whose time is further away than any wait: a clock was set back."""
    where = deliveries.c.due_at > furthest, _AT_WORK
    db.execute(update(deliveries).where(*where).values(due_at=now))


def busy(db: Connection, job_id: int) -> bool:
    """Whether a sink of the job has not got everything yet, and nobody has to decide first."""
    where = deliveries.c.job_id == job_id, _AT_WORK
    return db.execute(select(deliveries.c.id).where(*where).limit(1)).first() is not None
