"""Bodies that are sent in place of the rendered ones, after an answer that did not fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, select, update

from orchestrator.registry.bulk import among
from orchestrator.registry.tables import payloads, requests

# Bodies are ASCII: their characters are their bytes.
_BODY = func.length(payloads.c.body)
_SENT = func.length(func.coalesce(payloads.c.repair, payloads.c.body))
_SET_BODY = (
    update(payloads)
    .where(payloads.c.request_id == bindparam("the_id"))
    .values(repair=bindparam("the_body"))
)
_SET_SIZE = (
    update(requests)
    .where(requests.c.id == bindparam("the_id"))
    .values(
        size=bindparam("the_size"),
        est_in=requests.c.est_in + (bindparam("the_size") - requests.c.size) // 4,
    )
)


class Repair(NamedTuple):
    """The body that a request is sent with next, and the bytes of its line then."""

    request_id: int
    body: str
    size: int


def first_sizes(db: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return the bytes of these requests' lines as they were rendered, whatever is sent next."""
    query = (
        select(requests.c.id, requests.c.size - _SENT + _BODY)
        .join(payloads, payloads.c.request_id == requests.c.id)
        .where(among(db, requests.c.id, ids))
    )
    return {row[0]: row[1] for row in db.execute(query)}


def bodies(db: Connection, ids: Sequence[int]) -> dict[int, str]:
    """Return the bodies of these requests as they were rendered."""
    query = select(payloads.c.request_id, payloads.c.body).where(
        among(db, payloads.c.request_id, ids)
    )
    return {row[0]: row[1] for row in db.execute(query)}


def write(db: Connection, repairs: Sequence[Repair]) -> None:
    """Let each request be sent with its repaired body; its estimate grows with its size."""
    if not repairs:
        return
    db.execute(_SET_BODY, [{"the_id": each.request_id, "the_body": each.body} for each in repairs])
    db.execute(_SET_SIZE, [{"the_id": each.request_id, "the_size": each.size} for each in repairs])


def clear(db: Connection, ids: Sequence[int]) -> None:
    """Let these requests be sent as they were rendered again."""
    query = (
        select(payloads.c.request_id)
        .where(among(db, payloads.c.request_id, ids), payloads.c.repair.is_not(None))
        .order_by(payloads.c.request_id)
    )
    repaired = list(db.execute(query).scalars())
    if repaired:
        sizes = first_sizes(db, repaired)
        values = [{"the_id": each, "the_size": size} for each, size in sizes.items()]
        db.execute(_SET_SIZE, values)
        db.execute(_SET_BODY, [{"the_id": each, "the_body": None} for each in repaired])
