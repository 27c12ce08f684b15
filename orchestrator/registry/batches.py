"""Batches: read, claimed, moved. Every move is guarded by state and epoch, and leaves an event."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Update,
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

from orchestrator.domain.auditing import GIVEN_UP_FROM
from orchestrator.domain.errors import ClaimLost
from orchestrator.domain.model import Batch, BatchState
from orchestrator.domain.transitions import SETTLED, Event, after
from orchestrator.registry import claims, events
from orchestrator.registry.bulk import among
from orchestrator.registry.tables import batches, workers

_COLUMNS = claims.columns_of(batches)

_PAST = (
    "state_at",
    "create_began_at",
    "unknown_since",
    "revoked_at",
    "looked_at",
    "changed_at",
    "gone_since",
    "cancel_asked_at",
    "cancel_sent_at",
)
"""Columns that say when something happened, by our own clock."""

_LONGEST_WINDOW = timedelta(days=8)
"""Longer than any provider's completion window, and our patience after it."""

OPEN = batches.c.state != literal_column("'closed'")
"""The very words of the partial indexes: SQLite proves nothing of a bound parameter, and would
read every batch there ever was."""

_ENDED = tuple(SETTLED | {BatchState.PARKED})


_ONE = select(*_COLUMNS).where(batches.c.id == bindparam("the_id"))
_OF_JOB = (
    select(*_COLUMNS)
    .where(batches.c.job_id == bindparam("the_job"), batches.c.number > bindparam("after"))
    .order_by(batches.c.number)
    .limit(bindparam("most"))
)
_AT_PROVIDER = batches.c.provider == bindparam("the_provider"), OPEN
_LIVE = (
    select(*_COLUMNS)
    .where(*_AT_PROVIDER, batches.c.state == BatchState.LIVE)
    .order_by(batches.c.id)
)
_HAS_LIVE = select(batches.c.id).where(*_AT_PROVIDER, batches.c.state == BatchState.LIVE).limit(1)
_OLDEST_UNSETTLED = select(func.min(batches.c.planned_at)).where(
    *_AT_PROVIDER, batches.c.state.not_in(tuple(SETTLED))
)
_FURTHEST_DUE = select(func.max(batches.c.due_at)).where(OPEN)
_COUNT_IN_FLIGHT = select(func.count()).where(*_AT_PROVIDER, batches.c.state.not_in(_ENDED))
_COUNT_UNFINISHED = select(func.count()).where(
    batches.c.job_id == bindparam("the_job"), batches.c.state.not_in(tuple(SETTLED))
)
_REMOTE_FILES = select(
    func.count(batches.c.input_file_id)
    + func.count(batches.c.output_file_id)
    + func.count(batches.c.error_file_id),
    func.coalesce(func.sum(batches.c.bytes), 0)
    + func.coalesce(func.sum(batches.c.output_bytes), 0)
    + func.coalesce(func.sum(batches.c.error_bytes), 0),
).where(*_AT_PROVIDER, batches.c.input_file_id.is_not(None))
_MINE = batches.c.id == bindparam("the_id"), batches.c.epoch == bindparam("the_epoch")
_MINE_IN_STATE = (*_MINE, batches.c.state == bindparam("the_state"))
_RELEASE = update(batches).where(*_MINE).values(owner=None, due_at=bindparam("next_at"))


def _read(row: RowMapping) -> Batch:
    return Batch(**{**row, "state": BatchState(row["state"])})


def get(db: Connection, batch_id: int) -> Batch:
    """Return one batch."""
    return _read(db.execute(_ONE, {"the_id": batch_id}).mappings().one())


def find(db: Connection, *, job_id: int, number: int) -> Batch | None:
    """Return the batch of a job by its number, if there is one."""
    where = and_(batches.c.job_id == job_id, batches.c.number == number)
    row = db.execute(select(*_COLUMNS).where(where)).mappings().first()
    return _read(row) if row else None


def find_remote(db: Connection, remote_id: str) -> Batch | None:
    """Return the batch whose remote batch has this id: the latest one that follows it."""
    query = select(*_COLUMNS).where(batches.c.remote_id == remote_id)
    row = db.execute(query.order_by(batches.c.id.desc()).limit(1)).mappings().first()
    return _read(row) if row else None


def of_job(db: Connection, job_id: int, *, after_number: int = 0, limit: int = 50) -> list[Batch]:
    """Return batches of a job in the order of their numbers."""
    wanted = {"the_job": job_id, "after": after_number, "most": limit}
    return [_read(row) for row in db.execute(_OF_JOB, wanted).mappings()]


def page(db: Connection, *, after: int = 0, limit: int = 50) -> list[Batch]:
    """Return batches of all jobs, in the order they were planned."""
    query = select(*_COLUMNS).where(batches.c.id > after).order_by(batches.c.id).limit(limit)
    return [_read(row) for row in db.execute(query).mappings()]


def unfinished(db: Connection, job_id: int) -> list[Batch]:
    """Return the batches of a job that still hold members, by number."""
    query = (
        select(*_COLUMNS)
        .where(batches.c.job_id == job_id, batches.c.state.not_in(tuple(SETTLED)))
        .order_by(batches.c.number)
    )
    return [_read(row) for row in db.execute(query).mappings()]


def parked(db: Connection, job_id: int | None = None) -> list[Batch]:
    """Return the batches that a person must decide on."""
    query = select(*_COLUMNS).where(batches.c.state == BatchState.PARKED).order_by(batches.c.id)
    if job_id is not None:
        query = query.where(batches.c.job_id == job_id)
    return [_read(row) for row in db.execute(query).mappings()]


def take_over(db: Connection, batch: Batch) -> Batch:
    """Raise a batch's epoch for a move by hand: whoever works on it finds its writes refused."""
    written = db.execute(
        update(batches)
        .where(batches.c.id == batch.id, batches.c.epoch == batch.epoch)
        .values(epoch=batches.c.epoch + 1, owner=None)
    )
    if written.rowcount != 1:
        raise ClaimLost(f"batch {batch.id} is being worked on right now")
    return batch.with_(epoch=batch.epoch + 1)


def live(db: Connection, provider: str) -> list[Batch]:
    """Return the batches that the provider works on, oldest first."""
    return [_read(row) for row in db.execute(_LIVE, {"the_provider": provider}).mappings()]


def given_up(db: Connection, provider: str, job_id: int) -> list[str]:
    """Return the remote ids of a job's batches that a person has given up."""
    where = batches.c.job_id == job_id, batches.c.provider == provider, was_given_up(batches)
    return [str(found) for found in db.execute(select(batches.c.remote_id).where(*where)).scalars()]


def was_given_up(table: FromClause) -> ColumnElement[bool]:
    """Return `domain.auditing.was_given_up` as a condition."""
    return and_(
        table.c.state.in_((BatchState.SUPERSEDED, BatchState.CLOSED)),
        table.c.remote_id.is_not(None),
        func.coalesce(table.c.parked_from, "").in_(tuple(GIVEN_UP_FROM)),
        table.c.cursor == 0,
    )


def has_live(db: Connection, provider: str) -> bool:
    """Whether the provider works on a batch."""
    return db.execute(_HAS_LIVE, {"the_provider": provider}).first() is not None


def known(
    db: Connection, provider: str, *, remote_ids: Sequence[str], tokens: Sequence[str]
) -> list[Batch]:
    """Return the batches that one of these remote batches or tokens belongs to, oldest first."""
    query = select(*_COLUMNS).where(
        or_(
            and_(batches.c.provider == provider, batches.c.remote_id.in_(remote_ids)),
            batches.c.token.in_(tokens),
        )
    )
    query = query.order_by(batches.c.id)
    return [_read(row) for row in db.execute(query).mappings()]


def by_spare_token(db: Connection, token: str) -> Batch | None:
    """Return the batch that used `token` for an earlier upload. Scans: for strays only."""
    query = select(*_COLUMNS).where(batches.c.spare_tokens.contains(token, autoescape=True))
    row = db.execute(query.limit(1)).mappings().first()
    return _read(row) if row else None


def tokens(db: Connection, given: Sequence[str]) -> set[str]:
    """Return which of these tokens belong to a batch that has not ended yet."""
    where = batches.c.token.in_(given), OPEN
    return set(db.execute(select(batches.c.token).where(*where)).scalars())


def unclosed(db: Connection, ids: Sequence[int]) -> set[int]:
    """Return which of these batches may still need their files."""
    where = among(db, batches.c.id, ids), OPEN
    return set(db.execute(select(batches.c.id).where(*where)).scalars())


def owner(db: Connection, batch_id: int) -> str | None:
    """Return the worker that has claimed the batch."""
    query = select(batches.c.owner).where(batches.c.id == batch_id)
    return db.execute(query).scalar_one_or_none()


def oldest_unsettled(db: Connection, provider: str) -> datetime | None:
    """Return when the oldest batch of a provider that holds members was planned."""
    return db.execute(_OLDEST_UNSETTLED, {"the_provider": provider}).scalar_one_or_none()


def due_for_cleaning(db: Connection, provider: str, limit: int) -> list[int]:
    """Return the batches that were reconciled first, whose files the provider still keeps."""
    query = (
        select(batches.c.id)
        .where(batches.c.provider == provider, OPEN, batches.c.state == BatchState.RECONCILED)
        .order_by(batches.c.state_at, batches.c.id)
        .limit(limit)
    )
    return list(db.execute(query).scalars())


def furthest_due(db: Connection) -> datetime | None:
    """Return the furthest due time of a batch."""
    return db.execute(_FURTHEST_DUE).scalar_one_or_none()


def clamp(db: Connection, now: datetime, furthest: datetime) -> None:
    """Bring back times that a clock has left in the future before it was set back.

    What is due later than any wait is due now, and what is said to have happened later than now
    happened now: waits are counted from it.
    """
    where = batches.c.due_at > furthest, OPEN
    db.execute(update(batches).where(*where).values(due_at=now))
    for name in _PAST:
        where = batches.c[name] > now, OPEN
        db.execute(update(batches).where(*where).values({name: now}))
    latest = now + _LONGEST_WINDOW
    where = batches.c.deadline_at > latest, OPEN
    db.execute(update(batches).where(*where).values(deadline_at=latest))


def count_in_flight(db: Connection, provider: str) -> int:
    """Count the batches of a provider that hold members and are not parked."""
    return int(db.execute(_COUNT_IN_FLIGHT, {"the_provider": provider}).scalar_one())


def count_unfinished(db: Connection, job_id: int) -> int:
    """Count the batches of a job that hold members, parked ones too."""
    return int(db.execute(_COUNT_UNFINISHED, {"the_job": job_id}).scalar_one())


def remote_files(db: Connection, provider: str) -> tuple[int, int]:
    """Return count and bytes of our files that the provider still holds, results included."""
    count, size = db.execute(_REMOTE_FILES, {"the_provider": provider}).one()
    return int(count), int(size)


def add(db: Connection, **values: Any) -> Batch:  # noqa: ANN401 - the columns of the table
    """Insert a planned batch and return it."""
    batch_id = db.execute(insert(batches).values(**values)).inserted_primary_key
    assert batch_id is not None  # noqa: S101 - both dialects return the key of a single insert
    return get(db, int(batch_id[0]))


def claim(
    db: Connection,
    *,
    worker: str,
    now: datetime,
    limit: int,
    busy: Sequence[int] = (),
    job_id: int | None = None,
) -> list[Batch]:
    """Take up to `limit` due batches for `worker`, raising each one's epoch.

    A batch whose owner's lease is over is due for anybody. `busy`: ids this worker works on now.
    """
    statement = _claiming(db.dialect.name, job_id is not None)
    taken = claims.take(
        db, statement, worker=worker, now=now, limit=limit, busy=busy, the_job=job_id
    )
    return [_read(row) for row in taken]


@functools.cache
def _claiming(dialect: str, one_job: bool) -> ReturningUpdate[Any]:
    its = (batches.c.job_id == bindparam("the_job"),) if one_job else ()
    return claims.claiming(dialect, batches, OPEN, *its)


def release(db: Connection, batch: Batch, *, due_at: datetime) -> None:
    """Give a claim back; a claim that is not ours any more is left alone."""
    db.execute(_RELEASE, {"the_id": batch.id, "the_epoch": batch.epoch, "next_at": due_at})


def put_off(
    db: Connection, batch: Batch, *, due_at: datetime, reason: str, code: str, tries: int
) -> None:
    """Give a claim back because something did not answer: the state stays what it was."""
    db.execute(
        update(batches)
        .where(batches.c.id == batch.id, batches.c.epoch == batch.epoch)
        .values(owner=None, due_at=due_at, reason=reason, code=code, tries=tries)
    )


def move(
    db: Connection, batch: Batch, event: Event, *, now: datetime, due_at: datetime, actor: str
) -> Batch:
    """Move `batch` by `event` and keep the event, in the caller's transaction.

    Raises IllegalTransition before anything is written, and ClaimLost if another worker has moved
    or taken over the batch since it was read.
    """
    moved = after(batch, event, now, due_at)
    changes = event.changes()
    times = {"state_at": moved.state_at, "due_at": moved.due_at}
    if not _change(db, batch, {**changes, "state": moved.state, **times}):
        raise ClaimLost(f"batch {batch.id} is no longer {batch.state} under epoch {batch.epoch}")
    events.record(
        db,
        _past_tense(event),
        at=now,
        actor=actor,
        job_id=batch.job_id,
        batch_id=batch.id,
        provider=batch.provider,
        data={**changes, "from": batch.state, "to": moved.state},
    )
    return moved


def _change(db: Connection, batch: Batch, values: Mapping[str, Any]) -> bool:
    """Set columns of a batch that is still in the state and under the epoch it was read in."""
    mine = {"the_id": batch.id, "the_state": batch.state, "the_epoch": batch.epoch}
    new = {f"new_{name}": value for name, value in values.items()}
    return db.execute(_changing(tuple(values)), {**mine, **new}).rowcount == 1


@functools.cache
def _changing(names: tuple[str, ...]) -> Update:
    values = {name: bindparam(f"new_{name}", type_=batches.c[name].type) for name in names}
    return update(batches).where(*_MINE_IN_STATE).values(values)


def note_look(db: Connection, batch: Batch, **seen: Any) -> bool:  # noqa: ANN401 - columns
    """Keep what a look at a live batch showed when its status is the same: no move, no event."""
    return batch.state is BatchState.LIVE and _change(db, batch, seen)


def note_progress(db: Connection, batch: Batch, **added: int) -> Batch:
    """Add to a batch's counters, guarded by its epoch; part of the chunk that they count.

    Raises ClaimLost if the batch is not ours any more.
    """
    mine = {"the_id": batch.id, "the_state": batch.state, "the_epoch": batch.epoch}
    plus = {f"plus_{name}": count for name, count in added.items()}
    written = db.execute(_adding(tuple(added)), {**mine, "the_cursor": batch.cursor, **plus})
    if written.rowcount != 1:
        raise ClaimLost(f"batch {batch.id} is no longer {batch.state} under epoch {batch.epoch}")
    return batch.with_(**{name: getattr(batch, name) + count for name, count in added.items()})


@functools.cache
def _adding(names: tuple[str, ...]) -> Update:
    where = (*_MINE_IN_STATE, batches.c.cursor == bindparam("the_cursor"))
    values = {name: batches.c[name] + bindparam(f"plus_{name}") for name in names}
    return update(batches).where(*where).values(values)


def next_due(db: Connection, *, worker: str, now: datetime) -> datetime | None:
    """Return when the next batch is due for `worker`.

    What other living workers hold is theirs until their leases are over.
    """
    mine = {"me": worker, "now": now}
    first, over = _waiting(db.dialect.name)
    due_at = db.execute(first, mine).scalar_one_or_none()
    over_at = db.execute(over, mine).scalar_one()
    return min((at for at in (due_at, over_at) if at is not None), default=None)


@functools.cache
def _waiting(dialect: str) -> tuple[Select[Any], Select[Any]]:
    """Return what selects the first due time of a free batch, and the first end of a lease."""
    free = OPEN, claims.free(dialect, batches)
    first = select(batches.c.due_at).where(*free).order_by(batches.c.due_at).limit(1)
    return first, select(func.min(workers.c.lease_until)).where(*claims.others(dialect))


def hurry(db: Connection, batch_ids: Iterable[int], now: datetime) -> None:
    """Make batches due at once, whoever holds them."""
    ids = list(batch_ids)
    db.execute(update(batches).where(among(db, batches.c.id, ids)).values(due_at=now))


def _past_tense(event: Event) -> str:
    name = type(event).__name__
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
