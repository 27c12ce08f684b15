"""Recount a job from its rows, for `verify` only: these queries scan everything the job has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from orchestrator.domain.model import ChargeKind, RequestState
from orchestrator.domain.transitions import SETTLED
from orchestrator.registry import requests as request_rows
from orchestrator.registry.answers import count_responses
from orchestrator.registry.outcomes import span
from orchestrator.registry.sharing import CACHE, TWIN
from orchestrator.registry.tables import (
    batches,
    charges,
    failures,
    payloads,
    requests,
    responses,
)

_ALL = 1 << 32


@dataclass(frozen=True, kw_only=True)
class Recount:
    """Counts of rows.

    `strays`: assigned requests whose batch is settled or missing. `shared`, `cached`: answers that
    are those of an equal request, of the same job and of an earlier one.
    """

    by_state: dict[str, int]
    payloads: int
    responses: int
    shared: int
    cached: int
    responses_of_succeeded: int
    unexplained: int
    batches: int
    batch_succeeded: int
    members: int
    strays: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    charged_in: int
    charged_out: int
    charged_cached: int


def recount(db: Connection, job_id: int) -> Recount:
    """Return the counts of one job, all of one moment."""
    first, last = span(job_id, 0, _ALL)
    mine = requests.c.job_id == job_id
    ours = responses.c.request_id.between(first, last)
    failed = failures.c.job_id == job_id
    unfinished = select(batches.c.id).where(
        batches.c.job_id == job_id, batches.c.state.not_in(tuple(SETTLED))
    )
    assigned = and_(mine, requests.c.state == RequestState.ASSIGNED)
    travelling = _count(db, requests, assigned, requests.c.batch_id.in_(unfinished))
    return Recount(
        by_state=request_rows.counts_by_state(db, job_id),
        payloads=_count(db, payloads, payloads.c.request_id.between(first, last)),
        responses=count_responses(db, first, last),
        shared=_count(db, responses, ours, responses.c.source == TWIN),
        cached=_count(db, responses, ours, responses.c.source == CACHE),
        responses_of_succeeded=_one(
            db,
            select(func.count())
            .select_from(requests)
            .join(responses, responses.c.request_id == requests.c.id)
            .where(mine, requests.c.state == RequestState.SUCCEEDED),
        ),
        unexplained=_count(
            db,
            requests,
            mine,
            requests.c.state.in_((RequestState.FAILED, RequestState.EXPIRED)),
            ~_closed_by_a_failure(),
        ),
        batches=_count(db, batches, batches.c.job_id == job_id),
        batch_succeeded=_sum(db, batches.c.succeeded, batches.c.job_id == job_id),
        members=travelling,
        strays=_count(db, requests, assigned) - travelling,
        tokens_in=_sum(db, responses.c.tokens_in, ours) + _sum(db, failures.c.tokens_in, failed),
        tokens_out=_sum(db, responses.c.tokens_out, ours) + _sum(db, failures.c.tokens_out, failed),
        tokens_cached=_sum(db, responses.c.tokens_cached, ours) + _wasted_cached(db, job_id),
        charged_in=_sum(db, charges.c.tokens_in, charges.c.job_id == job_id),
        charged_out=_sum(db, charges.c.tokens_out, charges.c.job_id == job_id),
        charged_cached=_sum(db, charges.c.tokens_cached, charges.c.job_id == job_id),
    )


def _closed_by_a_failure() -> ColumnElement[bool]:
    mine = failures.c.request_id == requests.c.id
    return select(failures.c.id).where(mine, failures.c.final).exists()


def _count(db: Connection, table: Any, *tests: ColumnElement[bool]) -> int:  # noqa: ANN401 - a Table
    return _one(db, select(func.count()).select_from(table).where(*tests))


def _sum(db: Connection, column: ColumnElement[Any], test: ColumnElement[bool]) -> int:
    return _one(db, select(func.coalesce(func.sum(column), 0)).where(test))


def _one(db: Connection, query: Select[Any]) -> int:
    return int(db.execute(query).scalar_one())


def _wasted_cached(db: Connection, job_id: int) -> int:
    """Sum the cached tokens of failed attempts: their rows don't say them, the ledger does."""
    failed = (charges.c.job_id == job_id, charges.c.kind != ChargeKind.ANSWERED)
    return _sum(db, charges.c.tokens_cached, and_(*failed))
