"""The filter language as SQL: conditions of `domain.filters` over jobs, batches, records, events.

Every value of a user is a bound parameter. Comparisons are exact about case on both databases,
but for words in an error, which are found whatever their case.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    and_,
    case,
    cast,
    false,
    func,
    not_,
    or_,
    select,
    type_coerce,
)

from orchestrator.domain.filters import (
    Compares,
    Condition,
    Filter,
    Matches,
    Pattern,
    Says,
    Since,
    Tagged,
    Until,
)
from orchestrator.domain.model import BatchState, RequestState
from orchestrator.registry.tables import batches, events, failures, jobs, requests, responses

Test = ColumnElement[bool]
Match = Callable[[Pattern, str], Test]

REPORTED = (BatchState.REMOTE_DONE, BatchState.COLLECTED)
"""A member of such a batch is reported: the provider has ended it, we have not recorded it yet."""

_BATCH = re.compile(r"(?:(?P<job>.+)/)?b0*(?P<number>[1-9][0-9]{0,8})")
_GLOB_SIGNS = re.compile(r"[\[?]")
_COMPARE: Mapping[str, Callable[[Any, Any], Test]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class _Ground:
    """What the fields of a filter stand for in one list."""

    matches: Mapping[str, Match]
    numbers: Mapping[str, ColumnElement[Any]]
    moment: ColumnElement[Any]
    words: Sequence[ColumnElement[Any]]


def job_tests(where: Filter, dialect: str) -> list[Test]:
    """Return the conditions over `jobs`."""
    return [_test(_JOBS, condition, dialect) for condition in where]


def batch_tests(where: Filter, dialect: str) -> list[Test]:
    """Return the conditions over `batches` joined with their `jobs`."""
    return [_test(_BATCHES, condition, dialect) for condition in where]


def record_tests(where: Filter, dialect: str) -> list[Test]:
    """Return the conditions over `requests` joined with their `jobs`."""
    return [_test(_RECORDS, condition, dialect) for condition in where]


def event_tests(where: Filter, dialect: str) -> list[Test]:
    """Return the conditions over `events`, outer joined with their `jobs`."""
    return [_test(_EVENTS, condition, dialect) for condition in where]


def failed_ids(db: Connection, job_id: int, where: Filter) -> list[int]:
    """Return the ids of a job's failed and expired requests that match, in source order."""
    closed = (RequestState.FAILED, RequestState.EXPIRED)
    query = (
        select(requests.c.id)
        .join(jobs, jobs.c.id == requests.c.job_id)
        .where(requests.c.job_id == job_id, requests.c.state.in_(closed))
        .where(*record_tests(where, db.dialect.name))
        .order_by(requests.c.id)
    )
    return list(db.execute(query).scalars())


def _test(ground: _Ground, condition: Condition, dialect: str) -> Test:
    match condition:
        case Matches(name, patterns, negated):
            found = or_(*(ground.matches[name](pattern, dialect) for pattern in patterns))
            return _negated(found, negated)
        case Compares(name, sign, number):
            return _COMPARE[sign](ground.numbers[name], number)
        case Since(moment):
            return ground.moment >= moment
        case Until(moment):
            return ground.moment < moment
        case Tagged(name, value, negated):
            return _negated(_tagged(name, value, dialect), negated)
        case Says(words, negated):
            sought = words.lower()
            found = or_(
                *(func.lower(text).contains(sought, autoescape=True) for text in ground.words)
            )
            return _negated(found, negated)


def _negated(test: Test, negated: bool) -> Test:
    # A field without a value matches nothing, so that the opposite of it is true.
    return not_(func.coalesce(test, false())) if negated else test


def _like(column: ColumnElement[Any]) -> Match:
    """Return how a text column is compared with a pattern."""

    def match(pattern: Pattern, dialect: str) -> Test:
        if not pattern.glob:
            return column == pattern.text
        if dialect == "sqlite":
            # LIKE is blind to case there, GLOB is not.
            escaped = _GLOB_SIGNS.sub(lambda sign: f"[{sign[0]}]", pattern.text)
            return column.op("GLOB", is_comparison=True)(escaped)
        return column.like(pattern.like(), escape="!")

    return match


def _tagged(name: str, value: Pattern | None, dialect: str) -> Test:
    if '"' in name:
        return false()  # SQLite's paths have no way to write it
    found = _in_spec(("metadata", name), dialect)
    return found.is_not(None) if value is None else _like(found)(value, dialect)


def _in_spec(path: tuple[str, ...], dialect: str) -> ColumnElement[Any]:
    """Return a text inside the job's declaration."""
    # A cast to JSON would make SQLite read the text as a number.
    spec: ColumnElement[Any] = (
        type_coerce(jobs.c.spec, JSON) if dialect == "sqlite" else cast(jobs.c.spec, JSON)
    )
    found: ColumnElement[Any] = spec[path].as_string()
    return found


def _in_batch(column: ColumnElement[Any]) -> Match:
    """Return how a batch's id is compared with `b07`, `JOB/b07` or the provider's id."""

    def match(pattern: Pattern, dialect: str) -> Test:
        return column.in_(select(batches.c.id).where(_batch(pattern, dialect)).correlate(None))

    return match


def _batch(pattern: Pattern, dialect: str) -> Test:
    label = None if pattern.glob else _BATCH.fullmatch(pattern.text)
    if label is None:
        return _like(batches.c.remote_id)(pattern, dialect)
    test = batches.c.number == int(label["number"])
    if label["job"]:
        owner = select(jobs.c.id).where(jobs.c.name == label["job"]).correlate(None)
        test = and_(test, batches.c.job_id.in_(owner))
    return or_(test, batches.c.remote_id == pattern.text)


_ENDED_THERE = requests.c.batch_id.in_(
    select(batches.c.id).where(batches.c.state.in_(REPORTED)).correlate(None)
)
_ASSIGNED = requests.c.state == RequestState.ASSIGNED
_RECORD_STATES: Mapping[str, Test] = {
    "open": requests.c.state.in_((RequestState.PENDING, RequestState.ASSIGNED)),
    "waiting": requests.c.state == RequestState.PENDING,
    "in_flight": and_(_ASSIGNED, not_(_ENDED_THERE)),
    "reported": and_(_ASSIGNED, _ENDED_THERE),
    "succeeded": requests.c.state == RequestState.SUCCEEDED,
    "failed": requests.c.state == RequestState.FAILED,
    "expired": requests.c.state == RequestState.EXPIRED,
    "cancelled": requests.c.state == RequestState.CANCELLED,
}


def _record_state(pattern: Pattern, _dialect: str) -> Test:
    if not pattern.glob:
        return _RECORD_STATES[pattern.text]
    named = fnmatch.filter(_RECORD_STATES, pattern.text)
    return or_(*(_RECORD_STATES[name] for name in named)) if named else false()


def _last_failure(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column of the request's last failed attempt."""
    mine = failures.c.request_id == requests.c.id
    query = select(column).where(mine).order_by(failures.c.id.desc()).limit(1)
    return query.correlate(requests).scalar_subquery()


def _response(column: ColumnElement[Any]) -> ColumnElement[Any]:
    query = select(column).where(responses.c.request_id == requests.c.id)
    return query.correlate(requests).scalar_subquery()


ATTEMPTS: ColumnElement[int] = select(func.count()).select_from(failures).where(
    failures.c.request_id == requests.c.id
).correlate(requests).scalar_subquery() + case(
    (requests.c.state.in_((RequestState.ASSIGNED, RequestState.SUCCEEDED)), 1), else_=0
)
"""How many batches a request has travelled in: those it failed in, and the one it is in now or
succeeded in."""

_KEY = func.coalesce(requests.c.key, requests.c.custom_id)


def _model_of_job(pattern: Pattern, dialect: str) -> Test:
    """Match the model that a job declares, and those that its batches have."""
    declared = _like(_in_spec(("model",), dialect))(pattern, dialect)
    sent = select(batches.c.job_id).where(_like(batches.c.model)(pattern, dialect)).correlate(None)
    return or_(declared, jobs.c.id.in_(sent))


_EVERY: Mapping[str, Match] = {"job": _like(jobs.c.name)}
_JOBS = _Ground(
    matches={
        **_EVERY,
        "provider": _like(jobs.c.provider),
        "model": _model_of_job,
        "state": _like(jobs.c.state),
    },
    numbers={"records": jobs.c.records, "failed": jobs.c.failed},
    moment=jobs.c.created_at,
    words=(jobs.c.name,),
)
_BATCHES = _Ground(
    matches={
        **_EVERY,
        "provider": _like(batches.c.provider),
        "model": _like(batches.c.model),
        "state": _like(batches.c.state),
        "batch": _batch,
    },
    numbers={"requests": batches.c.requests},
    moment=batches.c.state_at,
    words=(batches.c.reason,),
)
_RECORDS = _Ground(
    matches={
        **_EVERY,
        "provider": _like(jobs.c.provider),
        "model": _like(requests.c.model),
        "state": _record_state,
        "cause": _like(_last_failure(failures.c.cause)),
        "key": _like(_KEY),
        "batch": _in_batch(requests.c.batch_id),
    },
    numbers={
        "attempts": ATTEMPTS,
        "tokens_in": _response(responses.c.tokens_in),
        "tokens_out": _response(responses.c.tokens_out),
    },
    moment=func.coalesce(_response(responses.c.recorded_at), _last_failure(failures.c.recorded_at)),
    words=(_last_failure(failures.c.code), _last_failure(failures.c.message)),
)
_EVENTS = _Ground(
    matches={
        **_EVERY,
        "provider": _like(func.coalesce(events.c.provider, jobs.c.provider)),
        "model": _model_of_job,
        "event": _like(events.c.kind),
        "batch": _in_batch(events.c.batch_id),
        "worker": _like(events.c.actor),
    },
    numbers={},
    moment=events.c.at,
    words=(events.c.data,),
)
