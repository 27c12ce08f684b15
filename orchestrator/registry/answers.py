"""Answers: responses, failures and odd lines, recorded in the transaction that counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from orchestrator.registry.bulk import among, insert_rows
from orchestrator.registry.tables import failures, quarantine, responses


class ResponseRow(NamedTuple):
    """A success. `latency` is in seconds from the batch's creation to the answer."""

    request_id: int
    batch_id: int
    source: str
    line: int
    status_code: int | None
    body: str
    tokens_in: int | None
    tokens_out: int | None
    tokens_cached: int | None
    finish_reason: str
    provider_request_id: str
    latency: float | None
    recorded_at: Any


class FailureRow(NamedTuple):
    """A failed attempt. `source` is "output", "error", or "none" for a member without a line."""

    request_id: int
    job_id: int
    batch_id: int
    cause: str
    final: bool
    source: str
    line: int
    status_code: int | None
    code: str
    message: str
    body: str | None
    tokens_in: int | None
    tokens_out: int | None
    provider_request_id: str
    latency: float | None
    recorded_at: Any


class OddRow(NamedTuple):
    """A line that no request could take; `raw` is its beginning, `length` its whole size."""

    batch_id: int
    source: str
    line: int
    reason: str
    raw: bytes
    length: int
    recorded_at: Any


def record_responses(db: Connection, rows: Sequence[ResponseRow]) -> None:
    """Insert successes, in key order."""
    insert_rows(db, responses, ResponseRow._fields, rows)


def record_failures(db: Connection, rows: Sequence[FailureRow]) -> None:
    """Insert failed attempts, in key order; one a request and batch."""
    insert_rows(db, failures, FailureRow._fields, rows)


def record_odd(db: Connection, rows: Sequence[OddRow]) -> None:
    """Keep odd lines; one that is kept already is passed over."""
    insert_rows(db, quarantine, OddRow._fields, rows, ignore="batch_id, source, line")


def count_odd(db: Connection, batch_id: int) -> int:
    """Count the odd lines of a batch."""
    where = quarantine.c.batch_id == batch_id
    return int(db.execute(select(func.count()).where(where)).scalar_one())


def count_failures(db: Connection, job_id: int, batch_id: int, cause: str) -> int:
    """Count the failed attempts of a batch with one cause: it looks at those of its job."""
    of_job = (failures.c.job_id == job_id, failures.c.cause == cause)
    where = (*of_job, failures.c.batch_id == batch_id)
    return int(db.execute(select(func.count()).where(*where)).scalar_one())


def count_answered(db: Connection, ids: Sequence[int]) -> int:
    """Count which of these requests have a response."""
    where = among(db, responses.c.request_id, ids)
    return int(db.execute(select(func.count()).where(where)).scalar_one())


def count_responses(db: Connection, first: int, last: int) -> int:
    """Count responses of the requests from one id to another: for `verify`, it scans them."""
    where = responses.c.request_id.between(first, last)
    return int(db.execute(select(func.count()).where(where)).scalar_one())
