"""Requests: registered, assigned to batches, given back, closed. Set-based, in key order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal_column,
    select,
    update,
)

from orchestrator.domain.intake import Request
from orchestrator.domain.model import OPEN_REQUESTS, RequestState
from orchestrator.domain.packing import SizedRequest
from orchestrator.registry.bulk import among, insert_rows
from orchestrator.registry.tables import jobs, payloads, requests

_SEQ_BITS = 32


class Member(NamedTuple):
    """A request as a batch knows it."""

    id: int
    custom_id: str
    rounds: int
    refusals: int
    est_in: int = 0
    est_out: int | None = None


_OF_BATCH = requests.c.batch_id == bindparam("the_batch")
_ASSIGNED = requests.c.state == RequestState.ASSIGNED
_WAITING = (
    requests.c.job_id == bindparam("the_job"),
    requests.c.state == literal_column("'pending'"),
    requests.c.twin_of.is_(None),
)
"""The very words of the partial index: SQLite proves nothing of bound parameters."""

_SIZED = requests.c.id, requests.c.size, requests.c.est_in, requests.c.est_out
_FIRST_MODEL = (
    select(requests.c.model).where(*_WAITING).order_by(requests.c.model, requests.c.id).limit(1)
)
_PENDING = (
    select(*_SIZED)
    .where(
        *_WAITING, requests.c.model == bindparam("the_model"), requests.c.id < bindparam("below")
    )
    .order_by(requests.c.id)
    .limit(bindparam("most"))
)
_AHEAD = (
    requests.c.id >= bindparam("first"),
    requests.c.id < bindparam("below"),
)
"""A range of ids is of one job: without naming it, the way is over these alone."""

_FIRST_MODEL_BELOW = (
    select(requests.c.model)
    .where(*_AHEAD, *_WAITING[1:])
    .order_by(requests.c.model, requests.c.id)
    .limit(1)
)
_OPEN_BELOW = (
    select(requests.c.id).where(*_AHEAD, requests.c.state.in_(tuple(OPEN_REQUESTS))).limit(1)
)
_MEMBERS = (
    select(*(requests.c[name] for name in Member._fields)).where(_OF_BATCH).order_by(requests.c.id)
)
_LINES = (
    select(requests.c.id, requests.c.custom_id, func.coalesce(payloads.c.repair, payloads.c.body))
    .join(payloads, payloads.c.request_id == requests.c.id)
    .where(_OF_BATCH, requests.c.id > bindparam("after"))
    .order_by(requests.c.id)
    .limit(bindparam("most"))
)
_SIZES = select(*_SIZED).where(_OF_BATCH, _ASSIGNED).order_by(requests.c.id)
_GIVE_BACK = update(requests).where(_OF_BATCH, _ASSIGNED).values(state=RequestState.PENDING)


class Line(NamedTuple):
    """What one line of an input file is made of."""

    id: int
    custom_id: str
    body: str


class Place(NamedTuple):
    """Where a request stands now, and in which batch it travels or last travelled."""

    id: int
    state: str
    batch_id: int | None
    model: str


def request_id(job_id: int, seq: int) -> int:
    """Return the id of a job's request: requests of a job lie side by side, in source order."""
    return (job_id << _SEQ_BITS) | seq


def seq_of(request: int) -> int:
    """Return a request's place in its job, counted from 0."""
    return request & ((1 << _SEQ_BITS) - 1)


_REGISTERED = (
    "id",
    "job_id",
    "custom_id",
    "key",
    "state",
    "model",
    "size",
    "rounds",
    "refusals",
    "est_in",
    "est_out",
    "body_hash",
)
_KEPT = ("request_id", "position", "record", "body")


def register(db: Connection, job_id: int, chunk: Sequence[Request]) -> None:
    """Insert a chunk of rendered requests and their payloads, in order."""
    first, pending = request_id(job_id, 0), RequestState.PENDING.value
    rows = [
        (
            first | item.seq,
            job_id,
            item.custom_id,
            None if item.key == item.custom_id else item.key,
            pending,
            item.model,
            item.size,
            0,
            0,
            item.est_in,
            item.est_out,
            item.body_hash,
        )
        for item in chunk
    ]
    insert_rows(db, requests, _REGISTERED, rows)
    bodies = [(first | i.seq, i.position, i.record.decode(), i.body.decode()) for i in chunk]
    insert_rows(db, payloads, _KEPT, bodies)


def first_pending_model(db: Connection, job_id: int, *, below: int | None = None) -> str | None:
    """Return the model of the next requests to pack, of ids below one; None when none waits."""
    if below is not None:
        ahead = {"first": request_id(job_id, 0), "below": below}
        return db.execute(_FIRST_MODEL_BELOW, ahead).scalar_one_or_none()
    return db.execute(_FIRST_MODEL, {"the_job": job_id}).scalar_one_or_none()


def open_below(db: Connection, job_id: int, below: int) -> bool:
    """Whether a request of a job, of ids below one, has no outcome yet."""
    ahead = {"first": request_id(job_id, 0), "below": below}
    return db.execute(_OPEN_BELOW, ahead).first() is not None


def pending(
    db: Connection, job_id: int, model: str, limit: int, *, below: int | None = None
) -> list[SizedRequest]:
    """Return up to `limit` waiting requests of one model, of ids below one, in source order."""
    end = request_id(job_id + 1, 0) if below is None else below
    wanted = {"the_job": job_id, "the_model": model, "most": limit, "below": end}
    return [SizedRequest(*row) for row in db.execute(_PENDING, wanted)]


def assign(db: Connection, batch_id: int, ids: Sequence[int]) -> int:
    """Make pending requests members of a batch; return how many were."""
    written = db.execute(
        update(requests)
        .where(among(db, requests.c.id, ids), requests.c.state == RequestState.PENDING)
        .values(state=RequestState.ASSIGNED, batch_id=batch_id, rounds=requests.c.rounds + 1)
    )
    return written.rowcount


def members(db: Connection, batch_id: int) -> list[Member]:
    """Return who travels, or last travelled, in a batch, in source order."""
    return [Member(*row) for row in db.execute(_MEMBERS, {"the_batch": batch_id})]


def lines(db: Connection, batch_id: int, *, after: int, limit: int) -> list[Line]:
    """Return what the next lines of a batch's input file are made of, in source order."""
    wanted = {"the_batch": batch_id, "after": after, "most": limit}
    return [Line(*row) for row in db.execute(_LINES, wanted)]


def close(
    db: Connection, batch_id: int, ids: Sequence[int], word: RequestState, *, stamp: int
) -> int:
    """Give assigned requests of a batch their final word; return how many took it.

    `stamp` is this transaction's, from `jobs.next_stamp`.
    """
    if not ids:
        return 0
    written = db.execute(
        update(requests)
        .where(
            among(db, requests.c.id, ids),
            requests.c.state == RequestState.ASSIGNED,
            requests.c.batch_id == batch_id,
        )
        .values(state=word, stamp=stamp)
    )
    return written.rowcount


def burn(db: Connection, batch_id: int, ids: Sequence[int]) -> None:
    """Count a refusal of each of these requests."""
    if ids:
        db.execute(
            update(requests)
            .where(among(db, requests.c.id, ids), requests.c.batch_id == batch_id)
            .values(refusals=requests.c.refusals + 1)
        )


def give_back(db: Connection, batch_id: int) -> int:
    """Let every member that has no final word wait for another batch; return how many."""
    written = db.execute(_GIVE_BACK, {"the_batch": batch_id})
    return written.rowcount


def unsend(db: Connection, batch_id: int) -> int:
    """Let the members of a batch that was never made wait again; the round does not count."""
    written = db.execute(
        update(requests)
        .where(requests.c.batch_id == batch_id, requests.c.state == RequestState.ASSIGNED)
        .values(state=RequestState.PENDING, rounds=requests.c.rounds - 1)
    )
    return written.rowcount


def hand_over(db: Connection, batch_id: int, heir: int, ids: Sequence[int]) -> int:
    """Let some members of a batch that never ran travel in `heir` instead; return how many."""
    written = db.execute(
        update(requests)
        .where(
            among(db, requests.c.id, ids),
            requests.c.batch_id == batch_id,
            requests.c.state == RequestState.ASSIGNED,
        )
        .values(batch_id=heir)
    )
    return written.rowcount


def sizes(db: Connection, batch_id: int) -> list[SizedRequest]:
    """Return a batch's members and the bytes of their lines, in source order."""
    return [SizedRequest(*row) for row in db.execute(_SIZES, {"the_batch": batch_id})]


def failed_ids(db: Connection, job_id: int, conditions: Sequence[ColumnElement[bool]]) -> list[int]:
    """Return the failed and expired requests of a job that meet `conditions`."""
    query = (
        select(requests.c.id)
        .join(jobs, jobs.c.id == requests.c.job_id)
        .where(
            requests.c.job_id == job_id,
            requests.c.state.in_((RequestState.FAILED, RequestState.EXPIRED)),
            *conditions,
        )
    )
    return list(db.execute(query.order_by(requests.c.id)).scalars())


def cancel_pending(db: Connection, job_id: int, *, stamp: int) -> int:
    """Close every waiting request of a job as cancelled; return how many. `stamp` as in `close`."""
    written = db.execute(
        update(requests)
        .where(requests.c.job_id == job_id, requests.c.state == RequestState.PENDING)
        .values(state=RequestState.CANCELLED, stamp=stamp)
    )
    return written.rowcount


def reopen(db: Connection, ids: Sequence[int]) -> dict[str, int]:
    """Make failed and expired requests pending again, all fresh; return counts by state."""
    reopened: dict[str, int] = {}
    for word in (RequestState.FAILED, RequestState.EXPIRED):
        written = db.execute(
            update(requests)
            .where(among(db, requests.c.id, ids), requests.c.state == word)
            .values(state=RequestState.PENDING, refusals=0, rounds=0, twin_of=None, stamp=None)
        )
        reopened[word.value] = written.rowcount
    return reopened


def places(db: Connection, job_id: int, custom_ids: Sequence[str]) -> list[Place]:
    """Return where a job's requests with these custom_ids stand now, in source order."""
    query = (
        select(requests.c.id, requests.c.state, requests.c.batch_id, requests.c.model)
        .where(requests.c.job_id == job_id, among(db, requests.c.custom_id, custom_ids))
        .order_by(requests.c.id)
    )
    return [Place(*row) for row in db.execute(query)]


def known(db: Connection, job_id: int, custom_ids: Sequence[str]) -> set[str]:
    """Return which of these custom_ids a job has already."""
    if not custom_ids:
        return set()
    where = requests.c.job_id == job_id, among(db, requests.c.custom_id, custom_ids)
    return set(db.execute(select(requests.c.custom_id).where(*where)).scalars())


def find(db: Connection, job_id: int, custom_id: str) -> int | None:
    """Return the id of a job's request by its custom_id."""
    where = and_(requests.c.job_id == job_id, requests.c.custom_id == custom_id)
    return db.execute(select(requests.c.id).where(where)).scalar_one_or_none()


def counts_by_state(db: Connection, job_id: int) -> dict[str, int]:
    """Recount a job's requests from its rows: for `verify` only, it scans them all."""
    query = (
        select(requests.c.state, func.count())
        .where(requests.c.job_id == job_id)
        .group_by(requests.c.state)
    )
    return {str(state): int(count) for state, count in db.execute(query)}
