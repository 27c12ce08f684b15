"""The first records of a job, counted: what a canary has brought. A few queries over its ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from orchestrator.registry.requests import request_id
from orchestrator.registry.tables import failures, requests, responses

_AT_ONCE = 500


class Told(NamedTuple):
    """Tokens of the answers that tell them, and how many do."""

    answers: int
    tokens_in: int
    tokens_out: int


def span(job_id: int, records: int) -> tuple[int, int]:
    """Return the first id of a job and the one behind its first records."""
    return request_id(job_id, 0), request_id(job_id, records)


def states(db: Connection, job_id: int, records: int) -> dict[str, int]:
    """Count the first records of a job by state."""
    first, end = span(job_id, records)
    query = select(requests.c.state, func.count()).where(
        requests.c.id >= first, requests.c.id < end
    )
    return {str(state): int(count) for state, count in db.execute(query.group_by("state"))}


def causes(db: Connection, job_id: int, records: int) -> dict[str, int]:
    """Count the first records that did not succeed by the cause of their last failure."""
    first, end = span(job_id, records)
    last = (
        select(func.max(failures.c.id))
        .join(requests, requests.c.id == failures.c.request_id)
        .where(requests.c.id >= first, requests.c.id < end, requests.c.state == "failed")
        .group_by(failures.c.request_id)
    )
    query = select(failures.c.cause, func.count()).where(failures.c.id.in_(last))
    return {cause: int(count) for cause, count in db.execute(query.group_by(failures.c.cause))}


def told(db: Connection, job_id: int, records: int) -> Told:
    """Add up the tokens of the first records' answers."""
    first, end = span(job_id, records)
    query = select(
        func.count(responses.c.tokens_out),
        func.coalesce(func.sum(responses.c.tokens_in), 0),
        func.coalesce(func.sum(responses.c.tokens_out), 0),
    ).where(responses.c.request_id >= first, responses.c.request_id < end)
    return Told(*(int(value) for value in db.execute(query).one()))


def bodies(db: Connection, job_id: int, records: int) -> Iterator[str]:
    """Yield the answers of the first records, some at a time."""
    first, end = span(job_id, records)
    while True:
        query = (
            select(responses.c.request_id, responses.c.body)
            .where(responses.c.request_id >= first, responses.c.request_id < end)
            .order_by(responses.c.request_id)
            .limit(_AT_ONCE)
        )
        found = db.execute(query).all()
        yield from (row.body for row in found)
        if len(found) < _AT_ONCE:
            return
        first = found[-1].request_id + 1
