"""What a tick costs: does it depend on what is due, or on what was ever done?

    python bench/tick_cost.py                 both databases
    python bench/tick_cost.py --databases sqlite --turns 5

Each turn ticks registries of 100 and of 10,000 batches, in turn, ten batches due in each: seconds
of that tick, of one that finds nothing due, and the ratio between the two sizes. `history`: all
other batches have ended. `live`: they all run at the provider, which is not asked before its time.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.crowd import fill
from support.databases import Databases
from support.world import START, World, shipped_profile

from orchestrator.registry import accounts
from orchestrator.registry.session import Registry

SMALL, LARGE, DUE = 100, 10_000, 10
LIMIT = 2.0


def main() -> None:
    """Tick both sizes in turn and print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="orc-bench-"))
    databases = Databases(folder)
    worst = 0.0
    try:
        for dialect in args.databases.split(","):
            for kind in ("history", "live"):
                worst = max(worst, compare(databases, folder, dialect, kind, args.turns))
    finally:
        databases.close()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"worst ratio {worst:.2f}, limit {LIMIT:.1f}")
    sys.exit(worst > LIMIT)


def compare(databases: Databases, folder: Path, dialect: str, kind: str, turns: int) -> float:
    """Return the median ratio of the due tick."""
    worlds = {}
    for size in (SMALL, LARGE):
        place = folder / f"{dialect}-{kind}-{size}"
        place.mkdir()
        registry = Registry(databases.fresh(dialect))
        fill(registry, now=START, batches=size, live=size if kind == "live" else 0)
        worlds[size] = a_world(registry, place)
    due: dict[int, list[float]] = {SMALL: [], LARGE: []}
    idle: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for turn in range(turns + 1):
        for size, world in worlds.items():
            first, second = measure(world, f"turn-{turn}")
            if turn:  # the first one warms up
                due[size].append(first)
                idle[size].append(second)
    for world in worlds.values():
        world.registry.close()
    ratios = [large / small for small, large in zip(due[SMALL], due[LARGE], strict=True)]
    rest = [large / small for small, large in zip(idle[SMALL], idle[LARGE], strict=True)]
    ratio, resting = statistics.median(ratios), statistics.median(rest)
    print(
        f"{dialect:10} {kind:8} {DUE} due of {SMALL}: {told(due[SMALL])}, of {LARGE:,}: "
        f"{told(due[LARGE])}, ratio {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"nothing due: {told(idle[SMALL])}, {told(idle[LARGE])}, ratio {resting:.2f}",
        flush=True,
    )
    return ratio


def a_world(registry: Registry, place: Path) -> World:
    """Return a world whose provider has room for as many batches and files as there are."""
    world = World(registry, place)
    profile = shipped_profile("sandbox")
    limits = msgspec.structs.replace(profile.limits, files=None)
    world.profiles["sandbox"] = msgspec.structs.replace(profile, limits=limits)
    world.providers.in_flight = 10 * LARGE
    world.requests_per_batch = 10
    world.boot()
    quiet(world)
    return world


def measure(world: World, name: str) -> tuple[float, float]:
    """Time a tick with ten batches due (built, uploaded, created), then one without any."""
    world.submit(10 * DUE, name=name)
    started = time.perf_counter()
    report = world.tick()
    due = time.perf_counter() - started
    assert report.planned == DUE, report
    quiet(world)
    started = time.perf_counter()
    report = world.tick()
    idle = time.perf_counter() - started
    assert report.idle, report
    end(world, name)
    return due, idle


def quiet(world: World) -> None:
    """Let nobody be listed or looked over for a while: what is measured is our own cost."""
    later = world.clock.now() + timedelta(minutes=30)

    def work(db: sa.Connection) -> None:
        accounts.ensure(db, "sandbox", later)
        accounts.change(db, "sandbox", refresh_due_at=later, audit_due_at=later, audited_at=START)

    world.registry.write(work)


def end(world: World, name: str) -> None:
    """Let the measured batches have ended, so that each turn begins alike."""

    def work(db: sa.Connection) -> None:
        job = db.execute(sa.text("SELECT id FROM jobs WHERE name = :name"), {"name": name}).scalar()
        db.execute(sa.text("UPDATE batches SET state = 'closed' WHERE job_id = :job"), {"job": job})
        db.execute(sa.text("UPDATE jobs SET state = 'finished' WHERE id = :job"), {"job": job})

    world.registry.write(work)


def told(seconds: list[float]) -> str:
    """Return the median in milliseconds."""
    return f"{statistics.median(seconds) * 1000:,.1f} ms"


if __name__ == "__main__":
    main()
