"""What must hold after every commit, at every deletion, and in the end."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from support.books import disagreements

from orchestrator.sandbox.books import Books
from orchestrator.spool import Spool
from simulation.faults import HOUR
from simulation.workers import START

if TYPE_CHECKING:
    from simulation.world import World

_BOOKS = """
SELECT j.name, j.waiting, sum(r.state = 'pending'), j.in_flight, sum(r.state = 'assigned'),
       j.succeeded, sum(r.state = 'succeeded'), j.failed, sum(r.state = 'failed'),
       j.expired, sum(r.state = 'expired'), j.cancelled, sum(r.state = 'cancelled'),
       j.records, count(*)
FROM jobs j JOIN requests r ON r.job_id = j.id GROUP BY j.id"""

_STRAYS = """
SELECT count(*) FROM requests r LEFT JOIN batches b ON b.id = r.batch_id
WHERE r.state = 'assigned' AND coalesce(b.state, 'closed') IN ('reconciled', 'superseded', 'closed')
"""

_OVERDUE = """
SELECT 'batch ' || id, state, due_at FROM batches WHERE state <> 'closed' AND due_at > ?
UNION ALL
SELECT 'job ' || name, state, due_at FROM jobs
WHERE state IN ('running', 'cancelling') AND due_at > ?
UNION ALL
SELECT 'account', gate, refresh_due_at FROM accounts WHERE refresh_due_at > ?
"""

_NEXT_DUE = """
SELECT min(due) FROM (
    SELECT min(due_at) AS due FROM batches WHERE state <> 'closed'
    UNION ALL SELECT min(due_at) FROM jobs WHERE state IN ('running', 'cancelling')
    UNION ALL SELECT max(min(refresh_due_at, audit_due_at),
                         CASE gate WHEN 'open' THEN '' ELSE coalesce(until, '') END)
              FROM accounts)"""

_INPUT_OF = """
SELECT b.id, b.state, EXISTS (
    SELECT 1 FROM events e WHERE e.batch_id = b.id AND e.kind = 'create_unanswered')
FROM batches b WHERE b.input_file_id = ?"""

_RESULT_OF = "SELECT id, state FROM batches WHERE output_file_id = ? OR error_file_id = ?"

_OPEN = """
SELECT (SELECT count(*) FROM batches WHERE state NOT IN ('closed', 'parked'))
     + (SELECT count(*) FROM jobs j WHERE state IN ('registering', 'running', 'cancelling')
        AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.job_id = j.id AND b.state = 'parked'))"""

_USED = "SELECT remote_id FROM batches WHERE remote_id IS NOT NULL"

_INCIDENTS = "SELECT remote_id FROM strays WHERE verdict = 'extra'"

_WAYS = {
    "lines spoilt": "SELECT count(*) FROM failures WHERE code NOT LIKE 'batch_%'",
    "batch rejected": "SELECT count(*) FROM batches WHERE remote_status = 'failed'",
    "batch expired": "SELECT count(*) FROM batches WHERE remote_status = 'expired'",
}
"""How often faults that are the provider's ways, drawn inside it, have struck."""

_SETTLED = frozenset({"reconciled", "superseded", "closed"})


class Invariants:
    """The judge of one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._remote_seen = 0

    def check(self) -> None:
        """Check what must hold after every commit; cheap."""
        world, db = self._world, self._world.monitor
        for row in db.execute(_BOOKS):
            told, counted = row[1::2], row[2::2]
            if told != counted:
                world.broken(f"the books of {row[0]} say {told}, its rows say {counted}")
        (strays,) = db.execute(_STRAYS).fetchone()
        if strays:
            world.broken(f"{strays} assigned requests travel in no open batch")
        # One hour for a clock that jumped, some minutes for what takes long.
        latest = self._text(START + timedelta(seconds=world.scheduler.now + self._cap()))
        for row in db.execute(_OVERDUE, (latest, latest, latest)):
            world.broken(f"{row[0]} ({row[1]}) is due at {row[2]}, past the cap: {latest}")
        self._check_remote()

    def _cap(self) -> float:
        jumped = HOUR * max(1, self._world.faults.times("clock jump"))
        return self._world.pace.cap + jumped + 600

    def _check_remote(self) -> None:
        batches = self._world.sandbox._account.batches
        if len(batches) == self._remote_seen or self._world.faults.has("post repeated"):
            return
        self._remote_seen = len(batches)
        tokens = Counter((batch.metadata or {}).get("orc_token") for batch in batches.values())
        for token, count in tokens.items():
            if count > 1:
                self._world.broken(f"token {token} stands on {count} remote batches")

    def check_deletion(self, file_id: str) -> None:
        """Check that a remote file is no longer needed when it is deleted."""
        db = self._world.monitor
        for batch, state, unanswered in db.execute(_INPUT_OF, (file_id,)):
            if state not in {*_SETTLED, "parked"} and not unanswered:
                self._world.broken(f"the input of batch {batch} is deleted while it is {state}")
        for batch, state in db.execute(_RESULT_OF, (file_id, file_id)):
            if state not in _SETTLED:
                self._world.broken(f"a result of batch {batch} is deleted while it is {state}")

    def next_due(self) -> datetime | None:
        """Return when a tick may find something to do at the earliest."""
        (due,) = self._world.monitor.execute(_NEXT_DUE).fetchone()
        return None if due is None else datetime.fromisoformat(due).replace(tzinfo=UTC)

    def at_rest(self) -> bool:
        """Whether everything has ended, or waits for a person."""
        return self._world.monitor.execute(_OPEN).fetchone() == (0,)

    def count_ways(self) -> None:
        """Count the faults that only show in what the provider has answered."""
        world = self._world
        for kind, query in _WAYS.items():
            if world.faults.has(kind):
                world.faults.fired[kind] += world.monitor.execute(query).fetchone()[0]

    def is_littered(self) -> bool:
        """Whether a file of ours is left at the provider, or on a machine's disk."""
        world = self._world
        remote = world.sandbox._all_files(START.timestamp() + world.scheduler.now)
        return bool(remote) or any(Spool(path, owner="").batch_files() for path in world.spools())

    def check_end(self, *, ended: bool) -> None:
        """Compare everything when the faults are over and time enough has passed.

        `ended`: a person has decided on what was parked, so that everything must have ended.
        """
        world = self._world
        used = {row[0] for row in world.monitor.execute(_USED)}
        extras = world.sandbox.extras(used)
        view = Compared(world, world.sandbox.books_without(extras))
        found = list(disagreements(view, ended=ended))  # type: ignore[arg-type] - looks like one
        for spool in world.spools() if ended else ():
            found += [f"files of batch {n} are left" for n in Spool(spool, owner="").batch_files()]
        if ended:
            found += self._unrecorded(extras)
        if found:
            world.broken("at the end:\n  " + "\n  ".join(found))
        world.tell_failure()

    def _unrecorded(self, extras: list[str]) -> list[str]:
        """Return what is wrong with the remote batches that only a repeated POST has made."""
        world = self._world
        known = {row[0] for row in world.monitor.execute(_INCIDENTS)}
        now = START.timestamp() + world.scheduler.now
        found = []
        for extra in extras:
            batch = world.sandbox._account.batches[extra]
            if extra not in known:
                found.append(f"the second batch of a repeated POST, {extra}, is no incident")
            if not world.sandbox._runs.standing(batch, now).stage.final:
                found.append(f"the second batch of a repeated POST, {extra}, was not cancelled")
        return found

    @staticmethod
    def _text(when: datetime) -> str:
        return when.replace(tzinfo=None).isoformat(" ", "microseconds")


class Compared:
    """The world as the comparison of the books wants to see it."""

    def __init__(self, world: World, books: Books) -> None:
        self.registry = world.registry
        self.pace = world.pace
        self.sandbox = _Remote(world, books)
        self.context = _Spooled(Spool(world.machines[0].spool, owner="books"))
        self.clock = _TrueClock(world)


class _Remote:
    def __init__(self, world: World, books: Books) -> None:
        self.draws = world.sandbox.draws
        self._all_files = world.sandbox._all_files
        self._books = books

    def books(self) -> Books:
        return self._books


class _TrueClock:
    def __init__(self, world: World) -> None:
        self._scheduler = world.scheduler

    def now(self) -> datetime:
        return START + timedelta(seconds=self._scheduler.now)


class _Spooled:
    def __init__(self, spool: Spool) -> None:
        self.spool = spool
