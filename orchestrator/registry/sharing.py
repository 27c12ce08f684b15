"""Equal requests: one is sent, the others wait for its answer; or an earlier job has it already.

Set-based, over the index of hashes; no body is read. An answer that is passed on keeps where it
came from and when, and has no tokens: it cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    update,
)

from orchestrator.domain.model import OUTCOMES, Job, RequestState
from orchestrator.registry.bulk import among
from orchestrator.registry.requests import request_id
from orchestrator.registry.tables import batches, failures, jobs, requests, responses

TWIN, CACHE = "twin", "cache"
UNSENT = (TWIN, CACHE)
"""What stands as the source of a response that no line brought: no attempt, no cost."""

_PENDING = requests.c.state == literal_column("'pending'")
_NO_TOKENS = frozenset({"tokens_in", "tokens_out", "tokens_cached"})
_LAST = (1 << 32) - 1
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_FREE = and_(_PENDING, requests.c.body_hash.is_not(None), requests.c.twin_of.is_(None))
_leader = requests.alias("leader")
_OPEN_OR_ANSWERED = (RequestState.PENDING, RequestState.ASSIGNED, RequestState.SUCCEEDED)
_BY_HASH = _leader.c.id + 0
"""An id that no index is in the order of: PostgreSQL would walk all ids to meet the first that fits
where the few requests of one hash are all there is to look at."""

_ASKED = _leader.c.twin_of.is_(None)
"""The words of the partial index: who has the answer of another one leads nobody, and a body that
comes a million times stands in it once for each job that shares."""


def pair(db: Connection, job_id: int, chosen: ColumnElement[bool]) -> int:
    """Let each of `chosen` that has an equal one before it, open or answered, wait for that one.

    Returns how many do. One that has failed leads nobody: who comes after it is asked anew.
    """
    first = (
        select(func.min(_BY_HASH))
        .where(
            _leader.c.body_hash == requests.c.body_hash,
            _leader.c.state.in_(_OPEN_OR_ANSWERED),
            _leader.c.id.between(request_id(job_id, 0), request_id(job_id, _LAST)),
            _ASKED,
        )
        .correlate(requests)
    )
    leaders = _for_each_body(db, chosen, first)
    free = db.execute(select(requests.c.id, requests.c.body_hash).where(chosen, _FREE))
    pairs = [(twin, leaders.get(body_hash, twin)) for twin, body_hash in free]
    return _point(db, [(twin, leader) for twin, leader in pairs if leader < twin], {})


def answer_from_earlier(
    db: Connection, job: Job, chosen: ColumnElement[bool], *, since: datetime | None, stamp: int
) -> int:
    """Give each of `chosen` the answer that an earlier job had to an equal request; count them.

    Only answers of the job's own provider, recorded at `since` or later. The latest such job's.
    """
    known = _known_earlier(db, job, chosen, since or _EVER)
    if not known:
        return 0
    asking = among(db, requests.c.body_hash, list(known))
    found = db.execute(select(requests.c.id, requests.c.body_hash).where(chosen, _FREE, asking))
    pairs = [(twin, known[body_hash]) for twin, body_hash in found]
    count = _point(db, pairs, {"state": RequestState.SUCCEEDED, "stamp": stamp})
    _copy_responses(db, CACHE, chosen & (requests.c.twin_of < request_id(job.id, 0)))
    return count


def _known_earlier(
    db: Connection, job: Job, chosen: ColumnElement[bool], since: datetime
) -> dict[str, int]:
    """Return the bodies of `chosen` that have a usable answer, each with who has the latest one."""
    latest = (
        select(func.max(_BY_HASH))
        .join_from(_leader, responses, responses.c.request_id == _leader.c.id)
        .join(batches, batches.c.id == responses.c.batch_id)
        .where(
            _leader.c.body_hash == requests.c.body_hash,
            _leader.c.state == RequestState.SUCCEEDED,
            _leader.c.id < request_id(job.id, 0),
            _ASKED,
            batches.c.provider == job.provider,
            responses.c.recorded_at >= since,
        )
        .correlate(requests)
    )
    return _for_each_body(db, chosen, latest)


def _for_each_body(
    db: Connection, chosen: ColumnElement[bool], found: Select[Any]
) -> dict[str, int]:
    """Return the request that `found` finds for each body of `chosen`, where it finds one.

    Grouped, so that each body is looked for once, however often it stands among them.
    """
    query = select(requests.c.body_hash, found.scalar_subquery()).where(chosen, _FREE)
    rows = db.execute(query.group_by(requests.c.body_hash))
    return {str(body_hash): int(leader) for body_hash, leader in rows if leader}


def _point(db: Connection, pairs: Sequence[tuple[int, int]], also: Mapping[str, Any]) -> int:
    """Point each first of `pairs` at the second, by id: a join would be planned without figures."""
    statement = update(requests).where(requests.c.id == bindparam("twin"), _PENDING)
    if pairs:
        rows = [{"twin": twin, "leader": leader} for twin, leader in pairs]
        db.execute(statement.values(twin_of=bindparam("leader"), **also), rows)
    return len(pairs)


def pass_on(
    db: Connection, twins: ColumnElement[bool], *, stamp: int, limit: int
) -> dict[str, int]:
    """Give up to `limit` waiting `twins` the word of the one they wait for, if it has one.

    Returns how many got which word.
    """
    query = (
        select(_leader.c.state, requests.c.id)
        .join(_leader, _leader.c.id == requests.c.twin_of)
        .where(_PENDING, requests.c.twin_of.is_not(None), _leader.c.state.in_(OUTCOMES), twins)
        .limit(limit)
    )
    found = sorted((str(state), int(twin)) for state, twin in db.execute(query))
    counts: dict[str, int] = {}
    for word, group in groupby(found, itemgetter(0)):
        counts[word] = _close(db, word, [twin for _, twin in group], stamp)
    return counts


def of_leaders_after(job: Job) -> ColumnElement[bool]:
    """Return the condition that a twin's leader got its word after those passed on before."""
    return and_(_leader.c.job_id == job.id, _leader.c.stamp > job.settled)


def _close(db: Connection, word: str, twins: Sequence[int], stamp: int) -> int:
    mine = among(db, requests.c.id, twins)
    if word == RequestState.SUCCEEDED:
        _copy_responses(db, TWIN, mine)
    elif word in {RequestState.FAILED, RequestState.EXPIRED}:
        _copy_failures(db, mine)
    written = db.execute(update(requests).where(mine, _PENDING).values(state=word, stamp=stamp))
    return written.rowcount


def _copy_responses(db: Connection, source: str, twins: ColumnElement[bool]) -> None:
    given = {"request_id": requests.c.id, "source": literal(source)}
    join = responses.c.request_id == requests.c.twin_of
    _copy(db, responses, given, select(requests.c.id).join(responses, join).where(twins))


def _copy_failures(db: Connection, twins: ColumnElement[bool]) -> None:
    """Copy the failure that closed the leader: the last final one."""
    other = failures.alias("other")
    of_leader = other.c.request_id == requests.c.twin_of, other.c.final
    last = select(func.max(other.c.id)).where(*of_leader).correlate(requests).scalar_subquery()
    given = {"request_id": requests.c.id}
    rows = select(requests.c.id).join(failures, failures.c.id == last).where(twins)
    _copy(db, failures, given, rows)


def _copy(
    db: Connection, table: Table, given: Mapping[str, ColumnElement[Any]], rows: Select[Any]
) -> None:
    """Insert what `rows` joins of `table` once more: with the columns `given`, without tokens."""
    columns = [column for column in table.c if column.name != "id"]
    values = [given.get(c.name, _kept(c)) for c in columns]
    chosen = rows.with_only_columns(*values).order_by(requests.c.id)
    db.execute(insert(table).from_select([column.name for column in columns], chosen))


def _kept(column: Column[Any]) -> ColumnElement[Any]:
    return null() if column.name in _NO_TOKENS else column


def answers_at_hand(
    db: Connection, provider: str, hashes: Sequence[str], *, since: datetime | None
) -> dict[str, datetime]:
    """Return which of these requests a job has had answered by `provider`, and when last."""
    query = (
        select(requests.c.body_hash, func.max(responses.c.recorded_at))
        .join(responses, responses.c.request_id == requests.c.id)
        .join(batches, batches.c.id == responses.c.batch_id)
        .where(
            among(db, requests.c.body_hash, hashes),
            requests.c.state == RequestState.SUCCEEDED,
            requests.c.twin_of.is_(None),
            batches.c.provider == provider,
            responses.c.recorded_at >= (since or _EVER),
        )
        .group_by(requests.c.body_hash)
    )
    return {str(body_hash): at for body_hash, at in db.execute(query)}


def note_settled(db: Connection, job_id: int, stamp: int) -> None:
    """Note that every outcome up to `stamp` was passed on."""
    db.execute(update(jobs).where(jobs.c.id == job_id).values(settled=stamp))


def seqs(job_id: int, first: int, count: int) -> ColumnElement[bool]:
    """Return the condition that a request is one of `count` of a job from its `first`-th on."""
    begin = request_id(job_id, first)
    return requests.c.id.between(begin, begin + count - 1)


def these(db: Connection, ids: Sequence[int]) -> ColumnElement[bool]:
    """Return the condition that a request is one of these."""
    return among(db, requests.c.id, ids)
