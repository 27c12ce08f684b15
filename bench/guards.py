"""What the guards cost: prepare and reconcile with audit trail and guards, and without them.

    python bench/guards.py                        100,000 records, both databases
    python bench/guards.py 20000 --databases sqlite --turns 5

Without: no event is inserted, a move of a batch or its cursor is written by id alone (no state, no
epoch), and a request changes its state whatever it was. They are patched away in this bench only;
nothing in the product turns them off. Each turn runs both; prints the ratio of the times, and of
our own processor time, which a busy machine disturbs less (PostgreSQL's is not in it).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy as sa

sys.path[:0] = [str(Path(__file__).parent.parent / "tests"), str(Path(__file__).parent)]

from reconcile import forge
from support.databases import Databases
from support.world import World

from orchestrator.domain.model import BatchState
from orchestrator.domain.transitions import after
from orchestrator.engine.steps.prepare import prepare
from orchestrator.engine.steps.reconcile import reconcile
from orchestrator.registry import batches, events, jobs, requests
from orchestrator.registry.bulk import among
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import batches as batches_table
from orchestrator.registry.tables import requests as requests_table

LIMIT = 1.15
BATCH = 10_000


def main() -> None:
    """Run with and without, in turns, on each database."""
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=int, nargs="?", default=100_000)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="orc-bench-"))
    databases = Databases(folder)
    worst = 0.0
    try:
        for dialect in args.databases.split(","):
            worst = max(worst, compare(databases, folder, dialect, args.records, args.turns))
    finally:
        databases.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"worst ratio {worst:.2f}, limit {LIMIT:.2f}")
    sys.exit(worst > LIMIT)


def compare(databases: Databases, folder: Path, dialect: str, records: int, turns: int) -> float:
    """Return the median ratio of guarded to bare."""
    kinds = {"guarded": nullcontext, "bare": bare}
    took: dict[str, list[tuple[float, float, float]]] = {kind: [] for kind in kinds}
    for turn in range(turns):
        # Whoever is first in a turn finds a colder disk: they take it in turns too.
        for kind in sorted(kinds, reverse=bool(turn % 2)):
            place = folder / f"{dialect}-{turn}-{kind}"
            place.mkdir()
            took[kind].append(measure(databases.fresh(dialect), place, records, kinds[kind]))
            shutil.rmtree(place)
    pairs = list(zip(took["guarded"], took["bare"], strict=True))
    ratios = [sum(with_[:2]) / sum(without[:2]) for with_, without in pairs]
    processor = statistics.median(with_[2] / without[2] for with_, without in pairs)
    print(
        f"{dialect:10} {records:,} records: guarded {told(took['guarded'])}, bare "
        f"{told(took['bare'])}, ratio {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}), of our processor time {processor:.2f}",
        flush=True,
    )
    return statistics.median(ratios)


def measure(url: str, place: Path, records: int, kind: Any) -> tuple[float, float, float]:
    """Return the seconds of prepare and of reconcile, and the processor's of both."""
    registry = Registry(url)
    registry.take_charge()
    world = World(registry, place)
    world.requests_per_batch = BATCH
    world.boot()
    world.submit(records, prompt="{text} " + "x" * 100)
    with kind():
        started, busy = time.perf_counter(), time.process_time()
        prepare(world.context, world.job())
        planning, worked = time.perf_counter() - started, time.process_time() - busy
    forge(world, "labels")
    ready = [batch for batch in world.batches() if batch.state is BatchState.COLLECTED]
    assert len(ready) == -(-records // BATCH)
    with kind():
        started, busy = time.perf_counter(), time.process_time()
        for batch in ready:
            with registry.read() as db:
                job = jobs.get(db, batch.job_id)
            reconcile(world.context, batch, job)
        reconciling = time.perf_counter() - started
        worked += time.process_time() - busy
    assert world.job().books.succeeded == records, world.job().books
    registry.close()
    return planning, reconciling, worked


def told(times: list[tuple[float, float, float]]) -> str:
    """Return the medians in seconds: prepare + reconcile."""
    planning, reconciling, _ = (statistics.median(column) for column in zip(*times, strict=True))
    return f"{planning:.2f} + {reconciling:.2f} s"


@contextmanager
def bare() -> Iterator[None]:
    """Patch away audit trail and guards."""

    def no_event(*_: object, **__: object) -> None:
        return None

    def move(db: sa.Connection, batch: Any, event: Any, *, now: Any, due_at: Any, **_: Any) -> Any:
        moved = after(batch, event, now, due_at)
        db.execute(
            sa.update(batches_table)
            .where(batches_table.c.id == batch.id)
            .values(
                **event.changes(), state=moved.state, state_at=moved.state_at, due_at=moved.due_at
            )
        )
        return moved

    def note_progress(db: sa.Connection, batch: Any, **added: int) -> Any:
        sums = {name: getattr(batch, name) + count for name, count in added.items()}
        db.execute(sa.update(batches_table).where(batches_table.c.id == batch.id).values(sums))
        return batch.with_(**sums)

    def close(db: sa.Connection, _batch_id: int, ids: Any, word: Any) -> int:
        given = among(db, requests_table.c.id, ids)
        return db.execute(sa.update(requests_table).where(given).values(state=word)).rowcount

    def assign(db: sa.Connection, batch_id: int, ids: Any) -> int:
        given = among(db, requests_table.c.id, ids)
        changes = {"state": "assigned", "batch_id": batch_id, "rounds": requests_table.c.rounds + 1}
        return db.execute(sa.update(requests_table).where(given).values(changes)).rowcount

    patches = [
        mock.patch.object(events, "record", no_event),
        mock.patch.object(batches, "move", move),
        mock.patch.object(batches, "note_progress", note_progress),
        mock.patch.object(requests, "close", close),
        mock.patch.object(requests, "assign", assign),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


if __name__ == "__main__":
    main()
