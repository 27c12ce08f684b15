"""A range of a job's records as a few long texts, joined by the database: for exports of millions.

A row a record costs the interpreter several objects each, and its lock at every step. A chunk that
is one row is read without either, while another thread decodes the chunk before it.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from orchestrator.domain.model import RequestState
from orchestrator.registry.sharing import UNSENT
from orchestrator.registry.tables import failures, payloads, requests, responses


class JoinedRange(NamedTuple):
    """So many `rows`, in source order. All but that and the models are JSON arrays.

    `odd`: the ids of those that were not simply answered: an open or failed one, one that was
    tried before, one without usage. What the other arrays hold for them says not all.
    """

    rows: int
    first_model: str
    last_model: str
    ids: str
    odd: str
    records: str | bytes
    keys: str | bytes
    bodies: str | bytes
    batches: str
    tokens_in: str
    tokens_out: str
    tokens_cached: str


def joined_range(db: Connection, first: int, last: int) -> JoinedRange | None:
    """Return the requests from one id to another; None if there is none."""
    row = db.execute(_query(db.dialect.name), {"first": first, "last": last}).one()
    return JoinedRange._make(row) if row[0] else None


@functools.cache
def _query(dialect: str) -> Select[Any]:
    """Return the query: the order of a subquery is the one in which its rows are joined.

    The range is named for each table: PostgreSQL draws no such conclusion from equal columns.
    """
    key = func.coalesce(requests.c.key, requests.c.custom_id)
    quoted = func.json_quote(key) if dialect == "sqlite" else cast(func.to_json(key), Text)
    rows = (
        select(
            requests.c.id,
            requests.c.model,
            payloads.c.record,
            quoted.label("key"),
            func.coalesce(responses.c.body, "null").label("body"),
            responses.c.batch_id,
            responses.c.tokens_in,
            responses.c.tokens_out,
            responses.c.tokens_cached,
            _is_odd().label("odd"),
        )
        .join(payloads, payloads.c.request_id == requests.c.id)
        .outerjoin(
            responses,
            and_(responses.c.request_id == requests.c.id, _in_range(responses.c.request_id)),
        )
        .where(_in_range(requests.c.id), _in_range(payloads.c.request_id))
        .order_by(requests.c.id)
        .subquery()
    )
    binary = dialect == "sqlite"
    return select(
        func.count(),
        func.min(rows.c.model),
        func.max(rows.c.model),
        _array(rows.c.id),
        func.coalesce(_array(case((rows.c.odd, rows.c.id))), "[]"),
        _array(rows.c.record, binary=binary),
        _array(rows.c.key, binary=binary),
        _array(rows.c.body, binary=binary),
        *(_numbers(rows.c[name]) for name in ("batch_id", *_TOKENS)),
    )


_TOKENS = ("tokens_in", "tokens_out", "tokens_cached")


def _is_odd() -> ColumnElement[bool]:
    tried = select(failures.c.request_id).where(_in_range(failures.c.request_id))
    return or_(
        requests.c.state != RequestState.SUCCEEDED.value,
        responses.c.tokens_in.is_(None),
        responses.c.tokens_out.is_(None),
        responses.c.tokens_cached > responses.c.tokens_in,
        responses.c.source.in_(UNSENT),
        requests.c.id.in_(tried),
    )


def _in_range(column: ColumnElement[int]) -> ColumnElement[bool]:
    return column.between(bindparam("first"), bindparam("last"))


def _numbers(column: ColumnElement[Any]) -> ColumnElement[str]:
    return _array(func.coalesce(column, 0))


def _array(column: ColumnElement[Any], *, binary: bool = False) -> ColumnElement[Any]:
    """Return the JSON array of all values; as bytes, where that spares the driver a decoding."""
    array = literal("[") + func.aggregate_strings(cast(column, Text), ",") + literal("]")
    return cast(array, LargeBinary) if binary else array
