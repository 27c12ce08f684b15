"""What must hold over all rows, each as one query for the rows that break it: for `verify` only.

Every query is one statement, so that it sees one moment, and gives back a few examples and a count;
memory does not grow with the registry. Those over requests or answers read all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    and_,
    func,
    not_,
    null,
    or_,
    select,
)

from orchestrator.domain.model import (
    Batch,
    BatchState,
    Job,
    JobState,
    RequestState,
    StageState,
    StrayVerdict,
)
from orchestrator.domain.transitions import SETTLED
from orchestrator.registry import batches as batch_rows
from orchestrator.registry.bulk import among
from orchestrator.registry.events import Entry
from orchestrator.registry.jobs import AT_WORK
from orchestrator.registry.sharing import UNSENT
from orchestrator.registry.tables import (
    accounts,
    batches,
    events,
    failures,
    jobs,
    payloads,
    quarantine,
    requests,
    responses,
    stages,
    strays,
    workers,
)
from orchestrator.registry.workers import lease_time

SHOWN = 3
"""Examples given of rows that break a law."""

_ON_THEIR_WAY = (
    BatchState.PLANNED,
    BatchState.BUILT,
    BatchState.UPLOADING,
    BatchState.UPLOADED,
    BatchState.CREATING,
    BatchState.LIVE,
    BatchState.UPLOAD_UNKNOWN,
    BatchState.CREATE_UNKNOWN,
)
_NAMING = (
    BatchState.BUILT,
    BatchState.UPLOADING,
    BatchState.UPLOAD_UNKNOWN,
    BatchState.COLLECTED,
)
_RECORDED = (BatchState.RECONCILED, BatchState.CLOSED)
_SETTLED = tuple(SETTLED)
_RELEASED = timedelta(minutes=10)
_KEY = func.coalesce(requests.c.key, requests.c.custom_id)
_AT_ONCE = 500


class Subject(NamedTuple):
    """A row that breaks a law, as users know it: a batch, a record, a remote id."""

    job: str | None
    number: int | None
    text: str | None

    def __str__(self) -> str:
        batch = f"b{self.number:02d}" if self.number is not None else None
        place = "/".join(part for part in (self.job, batch) if part)
        return ": ".join(part for part in (place, self.text) if part)


class Law(NamedTuple):
    """One thing that must hold.

    `breaches` selects the rows that break it, of one job or of all, in the columns of Subject.
    """

    invariant: str
    words: str
    breaches: Callable[[int | None], Select[Any]]


def broken(db: Connection, law: Law, job_id: int | None) -> tuple[int, list[Subject]]:
    """Return how many rows break a law, and the first few."""
    query = law.breaches(job_id)
    found = [Subject(*row) for row in db.execute(query.limit(SHOWN + 1))]
    if len(found) <= SHOWN:
        return len(found), found
    count = db.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    return int(count), found[:SHOWN]


def _subjects(
    number: ColumnElement[Any] | None = None, text: ColumnElement[Any] | None = None
) -> Select[Any]:
    none = null()
    return select(
        jobs.c.name.label("job"),
        (none if number is None else number).label("number"),
        (none if text is None else text).label("text"),
    )


def _of(query: Select[Any], job: int | None) -> Select[Any]:
    return query if job is None else query.where(jobs.c.id == job)


def _of_batches(job: int | None, *tests: ColumnElement[bool]) -> Select[Any]:
    query = _subjects(batches.c.number).select_from(batches).join(jobs, _owner(batches))
    return _of(query.where(*tests).order_by(batches.c.id), job)


def _of_requests(job: int | None, *tests: ColumnElement[bool]) -> Select[Any]:
    query = _subjects(text=_KEY).select_from(requests).join(jobs, _owner(requests))
    return _of(query.where(*tests), job)


def _owner(table: Table) -> ColumnElement[bool]:
    return jobs.c.id == table.c.job_id


def _miscounted(job: int | None) -> Select[Any]:
    return _of_batches(job, batches.c.cursor != batches.c.succeeded + batches.c.failed)


def _odd_lines(job: int | None) -> Select[Any]:
    kept = select(func.count()).where(quarantine.c.batch_id == batches.c.id).scalar_subquery()
    recorded = batches.c.state.in_(_RECORDED), batches.c.cursor > 0
    return _of_batches(job, *recorded, batches.c.odd != kept)


def _astray(job: int | None) -> Select[Any]:
    unsettled = select(batches.c.id).where(
        batches.c.id == requests.c.batch_id, batches.c.state.not_in(_SETTLED)
    )
    return _of_requests(job, requests.c.state == RequestState.ASSIGNED, ~unsettled.exists())


def _members(job: int | None) -> Select[Any]:
    mine = requests.c.batch_id == batches.c.id, requests.c.state == RequestState.ASSIGNED
    count = select(func.count()).where(*mine).scalar_subquery()
    # One taken in from the provider may hold lines of records that have their outcome already.
    taken_in = select(strays.c.remote_id).where(strays.c.batch_id == batches.c.id).exists()
    on_its_way = batches.c.state.in_(_ON_THEIR_WAY), ~taken_in
    return _of_batches(job, *on_its_way, batches.c.requests != count)


def _shared_remote_ids(job: int | None) -> Select[Any]:
    other = batches.alias("other")
    same = and_(
        not_(batch_rows.was_given_up(other)),
        other.c.provider == batches.c.provider,
        other.c.remote_id == batches.c.remote_id,
        other.c.id != batches.c.id,
    )
    query = _subjects(batches.c.number, batches.c.remote_id).select_from(batches)
    query = query.join(jobs, _owner(batches))
    query = query.where(
        not_(batch_rows.was_given_up(batches)), select(other.c.id).where(same).exists()
    )
    return _of(query.order_by(batches.c.id), job)


def _adopted(job: int | None) -> Select[Any]:
    """Select strays that are said to have been taken in by a row that does not follow them."""
    query = (
        select(strays.c.job_name.label("job"), null().label("number"), strays.c.remote_id)
        .select_from(strays)
        .outerjoin(batches, batches.c.id == strays.c.batch_id)
        .outerjoin(jobs, _owner(batches))
        .where(
            strays.c.verdict == StrayVerdict.ADOPTED,
            or_(batches.c.remote_id.is_(None), batches.c.remote_id != strays.c.remote_id),
        )
    )
    return _of(query, job)


def _extra_and_used(job: int | None) -> Select[Any]:
    used = and_(batches.c.provider == strays.c.provider, batches.c.remote_id == strays.c.remote_id)
    query = _subjects(batches.c.number, strays.c.remote_id).select_from(strays)
    query = query.join(batches, used).join(jobs, _owner(batches))
    return _of(query.where(strays.c.verdict == StrayVerdict.EXTRA), job)


def _leaderless(job: int | None) -> Select[Any]:
    """Select twins that wait for a request that will never have a word for them."""
    leader = requests.alias("leader")
    goes_ahead = or_(leader.c.twin_of.is_(None), leader.c.stamp.is_not(None))
    known = select(leader.c.id).where(
        leader.c.id == requests.c.twin_of, leader.c.job_id == requests.c.job_id, goes_ahead
    )
    waiting = requests.c.state == RequestState.PENDING, requests.c.twin_of.is_not(None)
    return _of_requests(job, *waiting, ~known.exists())


def _other_words(job: int | None) -> Select[Any]:
    """Select records that hold the answer of a request that has asked for something else."""
    leader, own, theirs = requests.alias("leader"), payloads, payloads.alias("theirs")
    same = select(leader.c.id).join(theirs, theirs.c.request_id == leader.c.id)
    same = same.where(leader.c.id == requests.c.twin_of, theirs.c.body == own.c.body)
    query = (
        _subjects(text=_KEY)
        .select_from(requests)
        .join(jobs, _owner(requests))
        .join(own, own.c.request_id == requests.c.id)
        .where(requests.c.twin_of.is_not(None), ~same.exists())
    )
    return _of(query, job)


def _no_such_file(table: Table) -> ColumnElement[bool]:
    """Whether a row names a file of its batch that was never collected."""
    return or_(
        and_(table.c.source == "output", batches.c.output_sha256.is_(None)),
        and_(table.c.source == "error", batches.c.error_sha256.is_(None)),
    )


def _of_answers(job: int | None, table: Table, wrong: ColumnElement[bool]) -> Select[Any]:
    query = (
        _subjects(batches.c.number, _KEY)
        .select_from(table)
        .join(requests, requests.c.id == table.c.request_id)
        .join(batches, batches.c.id == table.c.batch_id)
        .join(jobs, _owner(requests))
        .where(or_(wrong, _no_such_file(table), _of_another_job(table)))
    )
    return _of(query, job)


def _of_another_job(table: Table) -> ColumnElement[bool]:
    """Whether a row names a batch of another job, which only an answer used again may."""
    own = table.c.source.not_in(UNSENT) & requests.c.twin_of.is_(None)
    return own & (batches.c.job_id != requests.c.job_id)


def _responses(job: int | None) -> Select[Any]:
    named = responses.c.source.in_(("output", "error", *UNSENT))
    return _of_answers(job, responses, or_(~named, responses.c.line < 1))


def _failures(job: int | None) -> Select[Any]:
    named = failures.c.source.in_(("output", "error", "none"))
    return _of_answers(
        job,
        failures,
        or_(~named, failures.c.line < 0, failures.c.job_id != requests.c.job_id),
    )


def _answered(job: int | None) -> Select[Any]:
    """Select requests that succeeded without a response, or have one and did not succeed."""
    answer = select(responses.c.request_id).where(responses.c.request_id == requests.c.id).exists()
    succeeded = requests.c.state == RequestState.SUCCEEDED
    return _of_requests(job, or_(and_(succeeded, ~answer), and_(~succeeded, answer)))


def _unexplained(job: int | None) -> Select[Any]:
    closed = requests.c.state.in_((RequestState.FAILED, RequestState.EXPIRED))
    mine = failures.c.request_id == requests.c.id
    final = select(failures.c.id).where(mine, failures.c.final).exists()
    return _of_requests(job, closed, ~final)


def _fed_records(job: int | None) -> Select[Any]:
    query = _subjects(text=stages.c.name).select_from(stages)
    query = query.join(jobs, jobs.c.id == stages.c.job_id)
    return _of(query.where(stages.c.rows != jobs.c.records).order_by(stages.c.id), job)


def _grows_alone(job: int | None) -> Select[Any]:
    fed = stages.c.job_id == jobs.c.id, stages.c.state != StageState.FED
    open_states = (JobState.RUNNING, JobState.PAUSED)
    alone = ~select(stages.c.id).where(*fed).exists()
    return _of(_subjects().where(jobs.c.growing, jobs.c.state.in_(open_states), alone), job)


LAWS: tuple[Law, ...] = (
    Law("I1", "records counted by a stage = its job's", _fed_records),
    Law("I11", "a job that grows is fed by a stage", _grows_alone),
    Law("I1", "answers counted by a batch = succeeded + failed", _miscounted),
    Law("I1", "odd lines counted by a batch = its rows in quarantine", _odd_lines),
    Law("I2", "each assigned record travels in exactly one unsettled batch", _astray),
    Law("I2", "a batch on its way has as many members as requests", _members),
    Law("I3", "no two rows follow one remote batch", _shared_remote_ids),
    Law("I3", "each stray that was taken in is followed by its row", _adopted),
    Law("I3", "no extra remote batch is followed by a row", _extra_and_used),
    Law("I5", "each response names a batch of its job, a collected file and a line", _responses),
    Law("I5", "each failure names a batch of its job, a collected file and a line", _failures),
    Law("I2", "a record that waits for an equal one waits for one that is asked", _leaderless),
    Law("I5", "a record has the answer of an equal one only if their requests are", _other_words),
    Law("I6", "a record has a response exactly when it succeeded", _answered),
    Law("I6", "each failed or expired record has its final failure", _unexplained),
)
"""Every law that needs nothing but the rows."""


def timely(furthest: datetime) -> tuple[Law, ...]:
    """Return the laws of due times: nothing open is put off beyond `furthest`."""

    def of_jobs(job: int | None) -> Select[Any]:
        return _of(_subjects().select_from(jobs).where(AT_WORK, jobs.c.due_at > furthest), job)

    def of_batches(job: int | None) -> Select[Any]:
        return _of_batches(job, batch_rows.OPEN, batches.c.due_at > furthest)

    return (
        Law("I11", "each job at work is looked at again within the cap", of_jobs),
        Law("I11", "each batch that has not ended is looked at again within the cap", of_batches),
    )


def released(db: Connection, now: datetime) -> Law:
    """Return the law that nobody works on a batch that has ended."""
    alive = select(workers.c.id).where(workers.c.lease_until > lease_time(db, now))

    def held(job: int | None) -> Select[Any]:
        ended = batches.c.state == BatchState.CLOSED, batches.c.state_at < now - _RELEASED
        return _of_batches(job, *ended, batches.c.owner.in_(alive))

    return Law("I8", "no closed batch is held by a worker that is alive", held)


def allowance(db: Connection, job_id: int) -> int:
    """Count the batches of a job whose members may travel once more than the policy says.

    A person has released them, they never ran, or they were taken in from the provider.
    """
    taken_in = select(strays.c.remote_id).where(strays.c.batch_id == batches.c.id).exists()
    excused = or_(batches.c.parked_from.is_not(None), batches.c.remote_status == "failed", taken_in)
    query = select(func.count()).select_from(batches).where(batches.c.job_id == job_id, excused)
    return int(db.execute(query).scalar_one())


def bounded(attempts: int, rounds: int) -> tuple[Law, ...]:
    """Return the laws of one job's policy."""

    def refused(job: int | None) -> Select[Any]:
        return _of_requests(job, requests.c.refusals > attempts)

    def travelled(job: int | None) -> Select[Any]:
        return _of_requests(job, requests.c.rounds > rounds)

    return (
        Law("I12", "no record was refused more often than its job's policy allows", refused),
        Law("I12", "no record travelled in more batches than its job's policy allows", travelled),
    )


def naming_files(db: Connection, job_id: int | None) -> list[int]:
    """Return the batches whose next step reads a file of the spool."""
    query = select(batches.c.id).where(batch_rows.OPEN, batches.c.state.in_(_NAMING))
    if job_id is not None:
        query = query.where(batches.c.job_id == job_id)
    return list(db.execute(query.order_by(batches.c.id)).scalars())


def in_states(db: Connection, provider: str, states: Collection[BatchState]) -> list[Batch]:
    """Return the batches of a provider that stand in one of these states, oldest first."""
    where = batches.c.provider == provider, batch_rows.OPEN, batches.c.state.in_(states)
    ids = db.execute(select(batches.c.id).where(*where).order_by(batches.c.id)).scalars()
    return [batch_rows.get(db, batch_id) for batch_id in list(ids)]


class Doubled(NamedTuple):
    """A line of a result file that several records hold as their answer."""

    source: str
    line: int
    records: int


def doubled(db: Connection, batch_id: int) -> list[Doubled]:
    """Return lines of a batch's files that stand as the answer of more than one record."""
    query = (
        select(responses.c.source, responses.c.line, func.count())
        .select_from(requests)
        .join(responses, responses.c.request_id == requests.c.id)
        .where(requests.c.batch_id == batch_id, responses.c.batch_id == batch_id)
        .group_by(responses.c.source, responses.c.line)
        .having(func.count() > 1)
        .limit(SHOWN)
    )
    return [Doubled(*row) for row in db.execute(query)]


def batches_with_events(db: Connection, job_id: int | None) -> Iterator[tuple[Batch, list[Entry]]]:
    """Yield each batch with its events in order, a few hundred batches at a time."""
    after = 0
    while True:
        if job_id is None:
            page = batch_rows.page(db, after=after, limit=_AT_ONCE)
        else:
            page = batch_rows.of_job(db, job_id, after_number=after, limit=_AT_ONCE)
        if not page:
            return
        told = _events_of(db, [batch.id for batch in page])
        for batch in page:
            yield batch, told.get(batch.id, [])
        after = page[-1].id if job_id is None else page[-1].number


def _events_of(db: Connection, ids: list[int]) -> dict[int, list[Entry]]:
    query = select(events).where(among(db, events.c.batch_id, ids))
    rows = db.execute(query.order_by(events.c.batch_id, events.c.id)).mappings()
    grouped = groupby((Entry(**row) for row in rows), attrgetter("batch_id"))
    return {batch_id: list(found) for batch_id, found in grouped}


def events_of_job(db: Connection, job: Job) -> Iterator[Entry]:
    """Yield a job's own events in order; those of its batches stand with them."""
    own = events.c.job_id == job.id, events.c.batch_id.is_(None)
    after = 0
    while True:
        query = select(events).where(*own, events.c.id > after).order_by(events.c.id)
        page = [Entry(**row) for row in db.execute(query.limit(_AT_ONCE)).mappings()]
        yield from page
        if len(page) < _AT_ONCE:
            return
        after = page[-1].id


_TOLD = (events, batches, accounts, strays, jobs, workers, failures)
"""Tables whose texts are our own words, or the provider's about us: no prompts, no answers."""


def texts(db: Connection) -> Iterator[tuple[str, str]]:
    """Yield every text in the tables that hold no prompt or answer, with the table's name."""
    for table in _TOLD:
        columns = [column for column in table.c if _is_text(column)]
        query = select(*columns).execution_options(yield_per=_AT_ONCE)
        for row in db.execute(query):
            for value in row:
                if value:
                    yield table.name, str(value)


def _is_text(column: ColumnElement[Any]) -> bool:
    return isinstance(column.type, String) and column.name != "body"
