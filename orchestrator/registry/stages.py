"""Stages of workflows: declared, claimed like batches, fed, held. Guarded by their epochs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    delete,
    func,
    literal_column,
    select,
    update,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.dml import ReturningUpdate

from orchestrator.domain.errors import ClaimLost
from orchestrator.domain.feeding import WAIVED
from orchestrator.domain.model import Job, JobState, Stage, StageState
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.registry import claims, events
from orchestrator.registry.bulk import insert_once
from orchestrator.registry.tables import stages

S = StageState
_COLUMNS = claims.columns_of(stages)
_AT_WORK = stages.c.state.in_((literal_column("'waiting'"), literal_column("'feeding'")))
"""The very words of the partial index: SQLite proves nothing of bound parameters."""


def _read(row: RowMapping) -> Stage:
    return Stage(**{**row, "state": StageState(row["state"])})


def find(db: Connection, name: str) -> Stage | None:
    """Return the stage of this name, if there is one."""
    row = db.execute(select(*_COLUMNS).where(stages.c.name == name)).mappings().first()
    return _read(row) if row else None


def get(db: Connection, stage_id: int) -> Stage:
    """Return one stage."""
    query = select(*_COLUMNS).where(stages.c.id == stage_id)
    return _read(db.execute(query).mappings().one())


def lock(db: Connection, stage: Stage) -> Stage:
    """Return a claimed stage as it stands, locked until the transaction ends.

    Raises ClaimLost if another worker or a person has taken it over.
    """
    mine = stages.c.id == stage.id, stages.c.epoch == stage.epoch
    row = db.execute(select(*_COLUMNS).where(*mine).with_for_update()).mappings().first()
    if row is None:
        raise ClaimLost(f"stage {stage.name} is no longer under epoch {stage.epoch}")
    return _read(row)


def of_workflow(db: Connection, workflow: str) -> list[Stage]:
    """Return the stages of a workflow in the order they were declared."""
    return _all(db, select(*_COLUMNS).where(stages.c.workflow == workflow))


def of_job(db: Connection, job_id: int) -> Stage | None:
    """Return the stage that feeds a job, if one does."""
    found = _all(db, select(*_COLUMNS).where(stages.c.job_id == job_id))
    return found[0] if found else None


def behind(db: Connection, upstream: str) -> list[Stage]:
    """Return the stages that take the outcomes of a job."""
    return _all(db, select(*_COLUMNS).where(stages.c.upstream == upstream))


def unfed(db: Connection) -> list[Stage]:
    """Return the stages that have not got every record yet."""
    return _all(db, select(*_COLUMNS).where(stages.c.state != S.FED))


def held(db: Connection) -> list[Stage]:
    """Return the stages that a person must decide on."""
    return _all(db, select(*_COLUMNS).where(stages.c.state == S.HELD))


def workflows(db: Connection) -> list[str]:
    """Return the names of all workflows."""
    query = select(stages.c.workflow).group_by(stages.c.workflow)
    return list(db.execute(query.order_by(func.min(stages.c.id))).scalars())


def _all(db: Connection, query: Select[Any]) -> list[Stage]:
    return [_read(row) for row in db.execute(query.order_by(stages.c.id)).mappings()]


def add(
    db: Connection,
    *,
    workflow: str,
    name: str,
    upstream: str,
    spec: str,
    digest: str,
    stream: bool,
    now: datetime,
    actor: str,
) -> bool:
    """Declare a stage, due at once; False if its name is taken by another one."""
    values = {
        "workflow": workflow,
        "name": name,
        "upstream": upstream,
        "spec": spec,
        "digest": digest,
        "stream": stream,
        "state": S.WAITING,
        "due_at": now,
        "created_at": now,
    }
    if not insert_once(db, stages, "name", values):
        return False
    data = {"stage": name, "workflow": workflow, "upstream": upstream}
    events.record(db, "stage_declared", at=now, actor=actor, data=data)
    return True


def replace(
    db: Connection,
    stage: Stage,
    *,
    workflow: str,
    upstream: str,
    spec: str,
    digest: str,
    stream: bool,
    now: datetime,
    actor: str,
) -> None:
    """Declare a stage that has not begun anew; whoever works on it finds its writes refused."""
    take_over(
        db,
        stage,
        workflow=workflow,
        upstream=upstream,
        spec=spec,
        digest=digest,
        stream=stream,
        state=S.WAITING,
        due_at=now,
        code=None,
        reason=None,
        tries=0,
    )
    data = {"stage": stage.name, "workflow": workflow, "upstream": upstream}
    events.record(db, "stage_replaced", at=now, actor=actor, data=data)


def take_over(db: Connection, stage: Stage, **values: Any) -> None:  # noqa: ANN401 - columns
    """Change a stage by hand. Raises ClaimLost if it was claimed since it was read."""
    mine = stages.c.id == stage.id, stages.c.epoch == stage.epoch
    changed = {**values, "owner": None, "epoch": stages.c.epoch + 1}
    if db.execute(update(stages).where(*mine).values(**changed)).rowcount != 1:
        raise ClaimLost(f"stage {stage.name} is being worked on right now")


def forget(db: Connection, stage: Stage) -> None:
    """Remove a stage that has not begun."""
    db.execute(delete(stages).where(stages.c.id == stage.id, stages.c.job_id.is_(None)))


def follow(db: Connection, job: Job, state: JobState, *, now: datetime) -> None:
    """Keep the stages behind a job in step as it moves to `state`; part of that very move.

    Begun or ended, they are looked at at once; cancelled, so is the stage that feeds it. Reopened,
    it will have outcomes once more: what was fed as they came is fed again, and what was held for
    the lack of them waits for them.
    """
    mine = stages.c.upstream == job.name
    if state in JOB_FINAL or job.state is JobState.REGISTERING:
        wake(db, job.name, now)
    elif state is JobState.CANCELLING:
        own = update(stages).where(stages.c.job_id == job.id, _AT_WORK)
        db.execute(own.values(due_at=now))
    elif job.state in JOB_FINAL:
        fed = update(stages).where(mine, stages.c.state == S.FED, stages.c.stream)
        db.execute(fed.values(state=S.FEEDING, due_at=now, finished_at=None))
        lacking = stages.c.state == S.HELD, stages.c.code.in_(tuple(WAIVED))
        again = update(stages).where(mine, *lacking)
        db.execute(again.values(state=S.WAITING, due_at=now, code=None, reason=None))


def wake(db: Connection, upstream: str, now: datetime) -> None:
    """Make the stages behind a job due, whoever holds them."""
    where = stages.c.upstream == upstream, _AT_WORK
    db.execute(update(stages).where(*where).values(due_at=now))


def wake_streams(db: Connection, upstream: str, now: datetime) -> None:
    """Make the stages due that take a job's outcomes as they come: it may have new ones."""
    where = stages.c.upstream == upstream, _AT_WORK, stages.c.stream
    db.execute(update(stages).where(*where).values(due_at=now))


def claim(
    db: Connection, *, worker: str, now: datetime, limit: int, busy: Sequence[int] = ()
) -> list[Stage]:
    """Take up to `limit` due stages for `worker`, raising each one's epoch.

    One whose owner's lease is over is anybody's. `busy`: ids this worker has lost just now.
    """
    statement = _claiming(db.dialect.name)
    taken = claims.take(db, statement, worker=worker, now=now, limit=limit, busy=busy)
    return [_read(row) for row in taken]


@functools.cache
def _claiming(dialect: str) -> ReturningUpdate[Any]:
    return claims.claiming(dialect, stages, _AT_WORK)


def is_due(db: Connection, now: datetime) -> bool:
    """Whether a stage is due; a look is cheaper than a claim."""
    query = select(stages.c.id).where(_AT_WORK, stages.c.due_at <= now)
    return db.execute(query.limit(1)).first() is not None


def next_due(db: Connection, *, worker: str, now: datetime) -> datetime | None:
    """Return when the next stage is due for `worker`."""
    query = _waiting(db.dialect.name)
    return db.execute(query, {"me": worker, "now": now}).scalar_one_or_none()


@functools.cache
def _waiting(dialect: str) -> Select[Any]:
    return select(func.min(stages.c.due_at)).where(_AT_WORK, claims.free(dialect, stages))


def furthest_due(db: Connection) -> datetime | None:
    """Return the furthest due time of a stage."""
    return db.execute(select(func.max(stages.c.due_at)).where(_AT_WORK)).scalar_one_or_none()


def clamp(db: Connection, now: datetime, furthest: datetime) -> None:
    """Make stages due whose time is further away than any wait: a clock was set back."""
    where = stages.c.due_at > furthest, _AT_WORK
    db.execute(update(stages).where(*where).values(due_at=now))


def change(db: Connection, stage: Stage, **values: Any) -> Stage:  # noqa: ANN401 - columns
    """Change a claimed stage. Raises ClaimLost if it is not ours any more."""
    mine = stages.c.id == stage.id, stages.c.epoch == stage.epoch
    if db.execute(update(stages).where(*mine).values(**values)).rowcount != 1:
        raise ClaimLost(f"stage {stage.name} is no longer under epoch {stage.epoch}")
    values.pop("owner", None)
    return stage.with_(**values)


def release(db: Connection, stage: Stage, *, due_at: datetime) -> None:
    """Give a claim back; a claim that is not ours any more is left alone."""
    mine = stages.c.id == stage.id, stages.c.epoch == stage.epoch
    db.execute(update(stages).where(*mine).values(owner=None, due_at=due_at))


def put_off(db: Connection, stage: Stage, *, due_at: datetime, reason: str, code: str) -> None:
    """Give a claim back because something went wrong: it is tried again."""
    tries = stage.tries + 1
    change(db, stage, owner=None, due_at=due_at, reason=reason, code=code, tries=tries)


def hold(
    db: Connection, stage: Stage, *, code: str, reason: str, now: datetime, actor: str
) -> None:
    """Leave a stage to a person; the event tells why. Again is harmless."""
    if lock(db, stage).state is S.HELD:
        return
    change(db, stage, state=S.HELD, owner=None, code=code, reason=reason, due_at=now)
    data = {"stage": stage.name, "code": code, "reason": reason}
    events.record(db, "stage_held", at=now, actor=actor, job_id=stage.job_id, data=data)


def resume(db: Connection, stage: Stage, *, now: datetime, actor: str) -> None:
    """Let a held stage try again. What a person may waive is waived by it."""
    waived = stage.code if stage.code in WAIVED else None
    state = S.WAITING if stage.job_id is None else S.FEEDING
    take_over(db, stage, state=state, due_at=now, code=waived, reason=None, tries=0)
    data = {"stage": stage.name, "was": stage.code}
    events.record(db, "stage_resumed", at=now, actor=actor, job_id=stage.job_id, data=data)


def finish(db: Connection, stage: Stage, *, now: datetime, actor: str) -> None:
    """Note that the stage's job has every record it will have."""
    change(db, stage, state=S.FED, owner=None, finished_at=now, due_at=now, reason=None, tries=0)
    data = {"stage": stage.name, "rows": stage.rows, "passed_over": stage.passed_over or None}
    events.record(db, "stage_fed", at=now, actor=actor, job_id=stage.job_id, data=data)
