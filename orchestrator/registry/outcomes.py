"""Records as users see them: found by key, listed, traced, and read in ranges for exports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select
from sqlalchemy.engine import RowMapping

from orchestrator.domain.filters import Filter
from orchestrator.registry.bulk import among
from orchestrator.registry.requests import request_id
from orchestrator.registry.tables import batches, failures, jobs, payloads, requests, responses
from orchestrator.registry.where import ATTEMPTS, record_tests

_FOUND = 10
_KEY = func.coalesce(requests.c.key, requests.c.custom_id)


class Listed(NamedTuple):
    """A record in a list. `cause` and `message` tell of its last failed attempt, if any."""

    id: int
    job: str
    key: str
    state: str
    model: str
    batch: int | None
    attempts: int
    cause: str | None
    message: str | None
    tokens_in: int | None
    tokens_out: int | None
    recorded_at: datetime | None


class Sourced(NamedTuple):
    """A record and where it stands; `record` is its source row as JSON text."""

    id: int
    state: str
    batch_id: int | None
    model: str
    record: str
    key: str


class Answered(NamedTuple):
    """What an export tells of a response; `source` says whether a line, a twin or the cache."""

    request_id: int
    batch_id: int
    source: str
    body: str
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None


class Failed(NamedTuple):
    """What an export tells of a failed attempt."""

    request_id: int
    batch_id: int
    cause: str
    code: str
    message: str
    tokens_in: int | None
    tokens_out: int | None


def span(job_id: int, first: int, count: int) -> tuple[int, int]:
    """Return the first and last id of `count` requests of a job from its `first`-th on."""
    begin = request_id(job_id, first)
    return begin, begin + count - 1


def find_key(
    db: Connection, key: str, custom_ids: Sequence[str], *, job_id: int | None = None
) -> list[tuple[int, int]]:
    """Return job and request ids of records with this key, newest job first, ten at most.

    `custom_ids` are the ids that such a record may travel under: they are what is indexed.
    """
    query = (
        select(requests.c.job_id, requests.c.id)
        .where(
            requests.c.custom_id.in_(custom_ids),
            or_(requests.c.custom_id == key, requests.c.key == key),
        )
        .order_by(requests.c.job_id.desc())
        .limit(_FOUND)
    )
    # The index begins with the job: naming all of them lets the database seek in each.
    owners = [job_id] if job_id is not None else select(jobs.c.id)
    return [(row.job_id, row.id) for row in db.execute(query.where(requests.c.job_id.in_(owners)))]


def page(
    db: Connection,
    where: Filter = (),
    *,
    job_id: int | None = None,
    after: int | None = None,
    newest: bool = False,
    limit: int = 50,
) -> list[Listed]:
    """Return records in source order, or newest first, behind one id; pages are cut by id."""
    tried, answer, batch = failures.alias(), responses.alias(), batches.alias()
    last = (
        select(func.max(failures.c.id))
        .where(failures.c.request_id == requests.c.id)
        .correlate(requests)
        .scalar_subquery()
    )
    query = (
        select(
            requests.c.id,
            jobs.c.name,
            _KEY,
            requests.c.state,
            requests.c.model,
            batch.c.number,
            ATTEMPTS,
            tried.c.cause,
            tried.c.message,
            func.coalesce(answer.c.tokens_in, tried.c.tokens_in),
            func.coalesce(answer.c.tokens_out, tried.c.tokens_out),
            func.coalesce(answer.c.recorded_at, tried.c.recorded_at),
        )
        .select_from(requests)
        .join(jobs, jobs.c.id == requests.c.job_id)
        .outerjoin(batch, batch.c.id == requests.c.batch_id)
        .outerjoin(answer, answer.c.request_id == requests.c.id)
        .outerjoin(tried, tried.c.id == last)
        .where(*record_tests(where, db.dialect.name))
    )
    cut = _cut(query, job_id=job_id, after=after, newest=newest)
    return [Listed(*row) for row in db.execute(cut.limit(limit))]


def _cut(query: Select[Any], *, job_id: int | None, after: int | None, newest: bool) -> Select[Any]:
    if job_id is not None:
        first, _ = span(job_id, 0, 1)
        query = query.where(requests.c.id.between(first, first | 0xFFFFFFFF))
    if after is not None:
        query = query.where(requests.c.id < after if newest else requests.c.id > after)
    return query.order_by(requests.c.id.desc() if newest else requests.c.id)


def count(db: Connection, job_id: int, where: Filter) -> int:
    """Count a job's records that match; it scans them."""
    query = (
        select(func.count())
        .select_from(requests)
        .join(jobs, jobs.c.id == requests.c.job_id)
        .where(requests.c.job_id == job_id, *record_tests(where, db.dialect.name))
    )
    return int(db.execute(query).scalar_one())


def sourced(db: Connection, first: int, last: int, where: Filter = ()) -> list[Sourced]:
    """Return the records of a range of ids that match, in source order."""
    # For both tables: PostgreSQL does not conclude a range of one from equal ids in the other.
    which = and_(*(c.between(first, last) for c in (requests.c.id, payloads.c.request_id)))
    return _sourced(db, which, where)


def answered(db: Connection, first: int, last: int) -> list[Answered]:
    """Return the responses of a range of requests, in source order."""
    return _answered(db, responses.c.request_id.between(first, last))


def failed(db: Connection, first: int, last: int) -> list[Failed]:
    """Return the failed attempts of a range of requests, each request's in their order."""
    return _failed(db, failures.c.request_id.between(first, last))


class Stamped(NamedTuple):
    """The place of an outcome in the order in which they were recorded; `size` is its line's."""

    stamp: int
    id: int
    size: int


def stamped(db: Connection, job_id: int, after: tuple[int, int], limit: int) -> list[Stamped]:
    """Return a job's outcomes behind a stamp and id, in that order."""
    stamp, request = after
    behind = or_(requests.c.stamp > stamp, requests.c.id > request)
    query = (
        select(requests.c.stamp, requests.c.id, requests.c.size)
        .where(requests.c.job_id == job_id, requests.c.stamp >= stamp, behind)
        .order_by(requests.c.stamp, requests.c.id)
        .limit(limit)
    )
    return list(map(Stamped._make, _rows(db, query)))


def told(db: Connection, ids: Sequence[int]) -> tuple[list[Sourced], list[Answered], list[Failed]]:
    """Return these records with their responses and failed attempts, all in source order."""
    return (
        _sourced(db, among(db, requests.c.id, ids), ()),
        _answered(db, among(db, responses.c.request_id, ids)),
        _failed(db, among(db, failures.c.request_id, ids)),
    )


def _sourced(db: Connection, which: ColumnElement[bool], where: Filter) -> list[Sourced]:
    query = (
        select(
            requests.c.id,
            requests.c.state,
            requests.c.batch_id,
            requests.c.model,
            payloads.c.record,
            _KEY,
        )
        .join(payloads, payloads.c.request_id == requests.c.id)
        .where(which)
        .order_by(requests.c.id)
    )
    if where:
        query = query.join(jobs, jobs.c.id == requests.c.job_id)
        query = query.where(*record_tests(where, db.dialect.name))
    return list(map(Sourced._make, _rows(db, query)))


def _answered(db: Connection, which: ColumnElement[bool]) -> list[Answered]:
    columns = [responses.c[name] for name in Answered._fields]
    query = select(*columns).where(which).order_by(responses.c.request_id)
    return list(map(Answered._make, _rows(db, query)))


def _failed(db: Connection, which: ColumnElement[bool]) -> list[Failed]:
    columns = [failures.c[name] for name in Failed._fields]
    query = select(*columns).where(which).order_by(failures.c.request_id, failures.c.id)
    return list(map(Failed._make, _rows(db, query)))


def key_of(db: Connection, request: int) -> tuple[int, str]:
    """Return the job of a request, and the key of its record."""
    row = db.execute(select(requests.c.job_id, _KEY).where(requests.c.id == request)).one()
    return int(row[0]), str(row[1])


class Trace(NamedTuple):
    """Everything the registry knows of one record; JSON columns are text, times are UTC."""

    request: RowMapping
    payload: RowMapping
    failures: Sequence[RowMapping]
    response: RowMapping | None


def trace(db: Connection, request: int) -> Trace:
    """Return one record with its source row, request, failed attempts and response."""
    of = requests.c.id == request
    return Trace(
        request=db.execute(select(requests).where(of)).mappings().one(),
        payload=_one(db, select(payloads).where(payloads.c.request_id == request)),
        failures=db.execute(
            select(failures).where(failures.c.request_id == request).order_by(failures.c.id)
        )
        .mappings()
        .all(),
        response=db.execute(select(responses).where(responses.c.request_id == request))
        .mappings()
        .first(),
    )


def _one(db: Connection, query: Select[Any]) -> RowMapping:
    return db.execute(query).mappings().one()


def source_rows(db: Connection, first: int, last: int) -> list[str]:
    """Return the source rows of a range of requests as JSON text, in source order."""
    query = select(payloads.c.record).where(payloads.c.request_id.between(first, last))
    return [row[0] for row in _rows(db, query.order_by(payloads.c.request_id))]


def _rows(db: Connection, query: Select[Any]) -> list[tuple[Any, ...]]:
    """Return the driver's own tuples: of numbers and texts, which need no conversion."""
    with db.execute(query) as result:
        cursor = result.cursor
        return list(cursor.fetchall()) if cursor is not None else []
