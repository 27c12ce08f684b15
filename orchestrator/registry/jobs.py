"""Jobs: registered, counted, moved. The books are kept with the row, in the same transaction."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime

from sqlalchemy import (
    Connection,
    Update,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.engine import RowMapping

from orchestrator.domain.errors import ClaimLost
from orchestrator.domain.model import Books, Job, JobState
from orchestrator.domain.transitions import JOB_FINAL, JobEvent, advance_job
from orchestrator.registry import deliveries, events, stages
from orchestrator.registry.bulk import insert_once
from orchestrator.registry.tables import events as events_table
from orchestrator.registry.tables import jobs, payloads, requests, responses

_BOOKS = tuple(field.name for field in fields(Books))
AT_WORK = jobs.c.state.in_((literal_column("'running'"), literal_column("'cancelling'")))
"""The very words of the partial index: SQLite proves nothing of bound parameters."""

_OPEN = jobs.c.state.in_(tuple(set(JobState) - JOB_FINAL))
_ONE = select(jobs).where(jobs.c.id == bindparam("the_id"))
_LOCKED = _ONE.with_for_update()
_NAMED = select(jobs).where(jobs.c.name == bindparam("the_name"))
_ACTIVE = select(jobs).where(_OPEN).order_by(jobs.c.id)
_PROVIDERS = select(jobs.c.provider).where(_OPEN).distinct()
_DUE = (
    select(jobs)
    .where(AT_WORK, jobs.c.due_at <= bindparam("by"))
    .order_by(jobs.c.due_at, jobs.c.id)
    .limit(bindparam("most"))
)
_DUE_ONE = _DUE.where(jobs.c.id == bindparam("the_id"))
_NEXT_DUE = select(func.min(jobs.c.due_at)).where(AT_WORK)
_FURTHEST_DUE = select(func.max(jobs.c.due_at)).where(AT_WORK)
_STAMP = (
    update(jobs)
    .where(jobs.c.id == bindparam("the_id"))
    .values(stamp=jobs.c.stamp + 1)
    .returning(jobs.c.stamp)
)
_SET_DUE = update(jobs).where(jobs.c.id == bindparam("the_id")).values(due_at=bindparam("when"))


def _read(row: RowMapping) -> Job:
    values = dict(row)
    books = Books(**{name: values.pop(name) for name in _BOOKS})
    return Job(**{**values, "state": JobState(values["state"]), "books": books})


def get(db: Connection, job_id: int) -> Job:
    """Return one job."""
    return _read(db.execute(_ONE, {"the_id": job_id}).mappings().one())


def find(db: Connection, name: str) -> Job | None:
    """Return the job of this name, if there is one."""
    row = db.execute(_NAMED, {"the_name": name}).mappings().first()
    return _read(row) if row else None


def starting_with(db: Connection, prefix: str, limit: int = 10) -> list[Job]:
    """Return jobs whose names begin with `prefix`, by name."""
    query = select(jobs).where(func.substr(jobs.c.name, 1, len(prefix)) == prefix)
    return [_read(row) for row in db.execute(query.order_by(jobs.c.name).limit(limit)).mappings()]


def last(db: Connection) -> Job | None:
    """Return the job that was submitted last."""
    row = db.execute(select(jobs).order_by(jobs.c.id.desc()).limit(1)).mappings().first()
    return _read(row) if row else None


def page(db: Connection, *, after: int = 0, limit: int = 50, newest: bool = False) -> list[Job]:
    """Return jobs in the order they were submitted, after one id; or the newest ones."""
    order = jobs.c.id.desc() if newest else jobs.c.id
    query = select(jobs).where(jobs.c.id > after).order_by(order).limit(limit)
    found = [_read(row) for row in db.execute(query).mappings()]
    return found[::-1] if newest else found


def names(db: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Return the names of some jobs."""
    query = select(jobs.c.id, jobs.c.name).where(jobs.c.id.in_(ids))
    return {row.id: row.name for row in db.execute(query)}


def active(db: Connection) -> list[Job]:
    """Return the jobs that still have open records."""
    return [_read(row) for row in db.execute(_ACTIVE).mappings()]


def providers_at_work(db: Connection) -> set[str]:
    """Return the providers for which a job has open records."""
    return set(db.execute(_PROVIDERS).scalars())


def due(db: Connection, now: datetime, *, job_id: int | None = None, limit: int = 100) -> list[Job]:
    """Return the jobs that may need a move of their own."""
    query = _DUE if job_id is None else _DUE_ONE
    rows = db.execute(query, {"by": now, "most": limit, "the_id": job_id}).mappings()
    return [_read(row) for row in rows]


def next_due(db: Connection) -> datetime | None:
    """Return when the next job is due."""
    return db.execute(_NEXT_DUE).scalar_one_or_none()


def furthest_due(db: Connection) -> datetime | None:
    """Return the furthest due time of a job."""
    return db.execute(_FURTHEST_DUE).scalar_one_or_none()


def clamp(db: Connection, now: datetime, furthest: datetime) -> None:
    """Make jobs due whose time is further away than any wait: a clock was set back."""
    where = jobs.c.due_at > furthest, AT_WORK
    db.execute(update(jobs).where(*where).values(due_at=now))


def lock(db: Connection, job_id: int) -> Job:
    """Return the job, locked until the transaction ends."""
    return _read(db.execute(_LOCKED, {"the_id": job_id}).mappings().one())


def add(
    db: Connection,
    *,
    name: str,
    provider: str,
    spec: str,
    digest: str,
    shape: str = "",
    series: str = "",
    source_digest: str = "",
    growing: bool = False,
    now: datetime,
    actor: str,
) -> Job | None:
    """Insert a job that is being registered; None if its name is taken.

    `growing`: an earlier stage of its workflow will feed it.
    """
    values = {
        "name": name,
        "provider": provider,
        "spec": spec,
        "digest": digest,
        "shape": shape,
        "series": series,
        "source_digest": source_digest,
        "growing": growing,
        "state": JobState.REGISTERING,
        "due_at": now,
        "created_at": now,
    }
    if not insert_once(db, jobs, "name", values):
        return None
    job = find(db, name)
    if job is not None:
        events.record(db, "submitted", at=now, actor=actor, job_id=job.id, provider=provider)
    return job


def forget(db: Connection, job: Job) -> None:
    """Remove a job that was never registered whole; nothing of it was ever sent. Again is harmless.

    Raises ClaimLost if it has been registered after all.
    """
    if db.execute(select(jobs.c.id).where(jobs.c.id == job.id)).first() is None:
        return
    locked = lock(db, job.id)
    if locked.state is not JobState.REGISTERING:
        raise ClaimLost(f"job {job.name} is {locked.state} by now")
    mine = requests.c.job_id == job.id
    for table in (payloads, responses):
        theirs = table.c.request_id.in_(select(requests.c.id).where(mine))
        db.execute(delete(table).where(theirs))
    db.execute(delete(requests).where(mine))
    db.execute(delete(events_table).where(events_table.c.job_id == job.id))
    db.execute(delete(jobs).where(jobs.c.id == job.id))


def grow(db: Connection, job_id: int, *, at: int, count: int) -> None:
    """Count `count` more registered records, if exactly `at` were registered before.

    Raises ClaimLost when another submission of the same job is at work.
    """
    written = db.execute(
        update(jobs)
        .where(jobs.c.id == job_id, jobs.c.state == JobState.REGISTERING, jobs.c.records == at)
        .values(records=jobs.c.records + count, waiting=jobs.c.waiting + count)
    )
    if written.rowcount != 1:
        raise ClaimLost(f"job {job_id} is being registered by another process")


def count(db: Connection, job_id: int, **added: int) -> None:
    """Add to a job's books and totals: one move of requests, told in one UPDATE.

    The CHECK constraint refuses what would not add up.
    """
    changes = {name: delta for name, delta in added.items() if delta}
    if changes:
        plus = {f"plus_{name}": delta for name, delta in changes.items()}
        db.execute(_counting(tuple(changes)), {"the_id": job_id, **plus})


@functools.cache
def _counting(names: tuple[str, ...]) -> Update:
    changes = {name: jobs.c[name] + bindparam(f"plus_{name}") for name in names}
    return update(jobs).where(jobs.c.id == bindparam("the_id")).values(**changes)


def next_stamp(db: Connection, job_id: int) -> int:
    """Return the stamp of the outcomes that this transaction records.

    The row stays locked until the transaction ends: stamps rise in the order of commits.
    """
    return int(db.execute(_STAMP, {"the_id": job_id}).scalar_one())


def stop_growing(db: Connection, job_id: int, now: datetime) -> None:
    """Note that a job has every record it will have, and look at it at once."""
    db.execute(update(jobs).where(jobs.c.id == job_id).values(growing=False, due_at=now))


def redirect(db: Connection, job_id: int, *, provider: str, spec: str) -> None:
    """Let further batches of a job go to another provider."""
    db.execute(update(jobs).where(jobs.c.id == job_id).values(provider=provider, spec=spec))


def set_canary(db: Connection, job_id: int, word: str | None) -> None:
    """Say how the first slice of a job stands: passed, failed, accepted; None while it is out."""
    db.execute(update(jobs).where(jobs.c.id == job_id).values(canary=word))


def set_budget(db: Connection, job_id: int, budget: str) -> None:
    """Give a job another budget than it was declared with."""
    db.execute(update(jobs).where(jobs.c.id == job_id).values(budget=budget))


def set_due(db: Connection, job_id: int, due_at: datetime) -> None:
    """Say when the job is looked at again."""
    db.execute(_SET_DUE, {"the_id": job_id, "when": due_at})


def hold(db: Connection, job: Job, *, code: str, reason: str, now: datetime, actor: str) -> None:
    """Say why nothing new is sent for a running job; the same cause again leaves no new event."""
    since = job.held_since if job.hold_code == code else now
    if (job.hold_code, job.hold_reason) != (code, reason):
        values = {"hold_code": code, "hold_reason": reason, "held_since": since}
        db.execute(update(jobs).where(jobs.c.id == job.id).values(values))
    if job.hold_code != code:
        data = {"code": code, "reason": reason}
        events.record(db, "job_held", at=now, actor=actor, job_id=job.id, data=data)


def unhold(db: Connection, job: Job, *, now: datetime, actor: str) -> None:
    """Let a job that was held send again; one that was not is left alone."""
    if job.hold_code is None:
        return
    values = {"hold_code": None, "hold_reason": None, "held_since": None}
    db.execute(update(jobs).where(jobs.c.id == job.id).values(values))
    data = {"code": job.hold_code}
    events.record(db, "job_let_go", at=now, actor=actor, job_id=job.id, data=data)


def move(
    db: Connection, job: Job, event: JobEvent, *, now: datetime, actor: str, why: str = ""
) -> Job:
    """Move `job` by `event` and keep the event, in the caller's transaction.

    Raises IllegalTransition before anything is written, and ClaimLost if somebody else has moved
    the job since it was read.
    """
    state = advance_job(job.state, event)
    finished_at = now if state in JOB_FINAL else None
    written = db.execute(
        update(jobs)
        .where(jobs.c.id == job.id, jobs.c.state == job.state)
        .values(state=state, due_at=now, finished_at=finished_at)
    )
    if written.rowcount != 1:
        raise ClaimLost(f"job {job.name} is no longer {job.state}")
    name = type(event).__name__.removeprefix("Job")
    kind = "job" + "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
    data = {"from": job.state, "to": state, "why": why or None}
    events.record(db, kind, at=now, actor=actor, job_id=job.id, data=data)
    deliveries.follow(db, job, state, now=now)
    stages.follow(db, job, state, now=now)
    return get(db, job.id)
