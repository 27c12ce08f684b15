"""The lifecycle in a real database: whatever several workers do to a batch, in any order.

Only declared edges are taken, a stale epoch never writes, each move leaves one event, and what is
closed stays closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import UnionType
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from orchestrator.domain.errors import ClaimLost, IllegalTransition
from orchestrator.domain.model import Batch, BatchState
from orchestrator.domain.transitions import FINAL, TRANSITIONS, Event
from orchestrator.registry import batches, jobs, tables, workers
from orchestrator.registry.session import Registry

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
LONG = timedelta(days=30_000)
"""Longer than any test: leases are judged by the database's own clock where there is one."""

CAP = timedelta(hours=1)
NAMES = ("ann", "bob", "cy")
_REMOTE = frozenset({BatchState.LIVE, BatchState.REMOTE_DONE, BatchState.COLLECTED})

EVENTS = sorted(
    {kind for moves in TRANSITIONS.values() for kind in moves}, key=lambda kind: kind.__name__
)
_numbers = itertools.count(1)


@dataclass
class Row:
    """What a batch must look like in the database."""

    state: BatchState
    epoch: int
    due_at: datetime
    owner: str | None = None
    remote: bool = False
    moves: int = 0


def made(kind: type[Event], now: datetime) -> Event:
    """Return an event of this kind with a value of the right type in each field."""
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        wanted = hints[field.name]
        if isinstance(wanted, UnionType):
            wanted = get_args(wanted)[0]
        values[field.name] = {datetime: now, int: 1, str: f"{next(_numbers):032x}"}[wanted]
    for name, word in {"parked_from": "creating", "code": "ORC5201"}.items():
        if name in values:
            values[name] = word
    if "remote_status" in values:
        values["remote_status"] = "in_progress"
    return kind(**values)


class Lifecycle(RuleBasedStateMachine):
    """Two batches of a job of their own, three workers, and rows as they must be."""

    registry: Registry
    claims = Bundle("claims")

    @initialize()
    def plan(self) -> None:
        self.now = NOON
        self.worked = {name: f"{name}-{next(_numbers)}" for name in NAMES}
        self.alive = set(NAMES)
        number = next(_numbers)

        def work(db: sa.Connection) -> tuple[int, list[Batch]]:
            job = jobs.add(
                db,
                name=f"job-{number}",
                provider="kimi",
                spec="{}",
                digest="",
                now=NOON,
                actor="test",
            )
            assert job is not None
            made = [
                batches.add(
                    db,
                    job_id=job.id,
                    number=count,
                    provider="kimi",
                    state=BatchState.PLANNED,
                    model="m",
                    requests=1,
                    bytes=1,
                    token=f"{next(_numbers):032x}",
                    planned_at=NOON,
                    due_at=NOON,
                    state_at=NOON,
                )
                for count in (1, 2)
            ]
            for name in NAMES:
                workers.begin(
                    db,
                    worker=self.worked[name],
                    kind="test",
                    host="here",
                    pid=1,
                    version="0",
                    now=NOON,
                    lease=LONG,
                )
            return job.id, made

        self.job_id, planned = self.registry.write(work)
        self.rows = {
            batch.id: Row(BatchState.PLANNED, batch.epoch, batch.due_at) for batch in planned
        }

    # Time and leases.

    @rule(seconds=st.sampled_from([1, 30, 61, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(name=st.sampled_from(NAMES), alive=st.booleans())
    def a_lease_begins_or_ends(self, name: str, alive: bool) -> None:
        until = NOON + LONG if alive else NOON - LONG
        where = tables.workers.c.id == self.worked[name]
        update = sa.update(tables.workers).where(where).values(lease_until=until)
        self.registry.write(lambda db: db.execute(update))
        (self.alive.add if alive else self.alive.discard)(name)

    # What workers do.

    @rule(target=claims, name=st.sampled_from(NAMES), limit=st.integers(1, 2))
    def claim(self, name: str, limit: int) -> Any:
        free = [number for number, row in self.rows.items() if self._is_free(row, name)]
        free.sort(key=lambda number: (self.rows[number].due_at, number))
        taken = self.registry.write(
            lambda db: batches.claim(
                db, worker=self.worked[name], now=self.now, limit=limit, job_id=self.job_id
            )
        )
        assert [batch.id for batch in taken] == sorted(free[:limit])
        for batch in taken:
            row = self.rows[batch.id]
            assert batch.epoch == row.epoch + 1
            assert batch.state is row.state
            row.epoch, row.owner = batch.epoch, name
        return multiple(*taken)

    def _is_free(self, row: Row, name: str) -> bool:
        if row.state in FINAL or row.due_at > self.now:
            return False
        return row.owner in {None, name} or row.owner not in self.alive

    @rule(
        target=claims,
        batch=consumes(claims),
        data=st.data(),
        lawful=st.integers(0, 4),
        wait=st.integers(0, 90),
    )
    def move(self, batch: Batch, data: st.DataObject, lawful: int, wait: int) -> Any:
        lawfully = sorted(TRANSITIONS[batch.state], key=lambda kind: kind.__name__)
        kinds = lawfully if lawful and lawfully else EVENTS
        kind = data.draw(st.sampled_from(kinds), label="event")
        row = self.rows[batch.id]
        to = TRANSITIONS[batch.state].get(kind)
        event = made(kind, self.now)
        if to in _REMOTE and not (row.remote or "remote_id" in event.values()):
            return batch  # no code path moves a batch there that was never at the provider
        due_at = self.now + timedelta(seconds=wait)

        def work() -> Batch:
            return self.registry.write(
                lambda db: batches.move(db, batch, event, now=self.now, due_at=due_at, actor="test")
            )

        if to is None:
            with pytest.raises(IllegalTransition):
                work()
            return batch
        if (batch.state, batch.epoch) != (row.state, row.epoch):
            with pytest.raises(ClaimLost):
                work()
            return batch
        moved = work()
        assert moved.state is to
        row.state, row.due_at, row.moves = to, due_at, row.moves + 1
        row.remote = row.remote or "remote_id" in event.values()
        return moved

    @rule(batch=consumes(claims), wait=st.integers(-5, 90))
    def release(self, batch: Batch, wait: int) -> None:
        due_at = self.now + timedelta(seconds=wait)
        self.registry.write(lambda db: batches.release(db, batch, due_at=due_at))
        self._given_back(batch, due_at)

    @rule(batch=consumes(claims), wait=st.integers(1, 90))
    def put_off(self, batch: Batch, wait: int) -> None:
        due_at = self.now + timedelta(seconds=wait)
        self.registry.write(
            lambda db: batches.put_off(db, batch, due_at=due_at, reason="-", code="-", tries=1)
        )
        self._given_back(batch, due_at)

    def _given_back(self, batch: Batch, due_at: datetime) -> None:
        row = self.rows[batch.id]
        if batch.epoch == row.epoch:
            row.owner, row.due_at = None, due_at

    @rule(target=claims, batch=claims)
    def take_over_by_hand(self, batch: Batch) -> Any:
        row = self.rows[batch.id]

        def work() -> Batch:
            return self.registry.write(lambda db: batches.take_over(db, batch))

        if batch.epoch != row.epoch:
            with pytest.raises(ClaimLost):
                work()
            return multiple()
        taken = work()
        row.epoch, row.owner = row.epoch + 1, None
        assert taken.epoch == row.epoch
        return taken

    @rule(batch=claims)
    def progress_is_noted(self, batch: Batch) -> None:
        row = self.rows[batch.id]
        with self.registry.read() as db:
            before = batches.get(db, batch.id)

        def work() -> Batch:
            return self.registry.write(
                lambda db: batches.note_progress(db, batch, cursor=1, succeeded=1)
            )

        fits = (batch.state, batch.epoch, batch.cursor) == (row.state, row.epoch, before.cursor)
        if not fits:
            with pytest.raises(ClaimLost):
                work()
        else:
            assert work().cursor == before.cursor + 1
        with self.registry.read() as db:
            assert batches.get(db, batch.id).cursor == before.cursor + fits

    @rule(batch=claims)
    def a_look_is_noted(self, batch: Batch) -> None:
        row = self.rows[batch.id]
        noted = self.registry.write(lambda db: batches.note_look(db, batch, looked_at=self.now))
        assert noted == (row.state is BatchState.LIVE and batch.epoch == row.epoch)

    @rule()
    def somebody_hurries_them(self) -> None:
        self.registry.write(lambda db: batches.hurry(db, self.rows, self.now))
        for row in self.rows.values():
            row.due_at = self.now

    # What must hold after each of these.

    @invariant()
    def rows_are_what_they_must_be(self) -> None:
        with self.registry.read() as db:
            for number, row in self.rows.items():
                batch = batches.get(db, number)
                assert (batch.state, batch.epoch) == (row.state, row.epoch)
                assert batch.due_at == row.due_at <= self.now + CAP
                assert batches.owner(db, number) == (self.worked[row.owner] if row.owner else None)

    @invariant()
    def each_move_left_one_event_along_a_declared_edge(self) -> None:
        table = tables.events
        query = sa.select(table.c.batch_id, table.c.kind, table.c.data).order_by(table.c.id)
        with self.registry.read() as db:
            told = db.execute(query.where(table.c.batch_id.in_(list(self.rows)))).all()
        for number, row in self.rows.items():
            at = BatchState.PLANNED
            mine = [entry for entry in told if entry.batch_id == number]
            assert len(mine) == row.moves
            for entry in mine:
                data = msgspec.json.decode(entry.data)
                assert data["from"] == at
                assert data["to"] in TRANSITIONS[at].values()
                at = BatchState(data["to"])
            assert at is row.state


Choose = Callable[..., settings]


@pytest.mark.fault("P13", "T06")
@pytest.mark.parametrize(("dialect", "few", "many"), [("sqlite", 40, 150), ("postgresql", 10, 30)])
def test_the_lifecycle_holds_whatever_workers_do_in_whatever_order(
    databases: Any, often: Choose, dialect: str, few: int, many: int
) -> None:
    registry = Registry(databases.fresh(dialect), sync=False)

    class Here(Lifecycle):
        pass

    Here.registry = registry
    try:
        run_state_machine_as_test(Here, settings=often(few, many, steps=50))
    finally:
        registry.close()
