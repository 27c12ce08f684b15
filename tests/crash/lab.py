"""Where cases are run: one registry a database and process, emptied between the cases."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.books import disagreements
from support.databases import Databases, spare_round_trips
from support.world import World

from crash.boundaries import Boundary, Crash, Saboteur, Strike, Watcher
from crash.memory import empty
from crash.scenarios import Scenario
from orchestrator.domain.errors import OrchestratorError
from orchestrator.engine import registration, sharing
from orchestrator.engine.context import Told
from orchestrator.engine.steps import build, deliver, feed, reconcile, validation
from orchestrator.failpoints import watched
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import events
from orchestrator.sinks import sql, stream_files
from orchestrator.sources import files

LIVES = 6
"""How often the same commands are given again after an error or a crash, at most."""


@contextmanager
def small_chunks() -> Iterator[None]:
    """Let a handful of records be several chunks of everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "CHUNK", 2)
        patch.setattr(sharing, "CHUNK", 1)
        patch.setattr(build, "_CHUNK", 1)
        patch.setattr(feed, "CHUNK", 2)
        patch.setattr(feed, "MOST", 1)
        patch.setattr(reconcile, "CHUNK", 1)
        patch.setattr(validation, "CHUNK", 1)
        patch.setattr(reconcile, "_ODD_AT_ONCE", 1)
        patch.setattr(files, "BUFFER_BYTES", 32)
        patch.setattr(sql, "CHUNK", 2)
        patch.setattr(stream_files, "CHUNK", 2)
        patch.setattr(deliver, "CHUNKS", 1)
        yield


def sweep(world: World) -> None:
    """Let a day pass when files are left over: uploads that came too late are removed only then."""
    for _ in range(2):
        if not any(
            file.name.startswith("orc-") for file in world.sandbox._all_files(world.clock.seconds)
        ):
            return
        world.clock.seconds += 90_000
        world.settle()


@dataclass
class Outcome:
    """What became of one case: what contradicts what, and the errors that commands ended with."""

    wrong: Sequence[str]
    errors: list[str] = field(default_factory=list)
    boundaries: Sequence[Boundary] = ()
    names: set[str] = field(default_factory=set)
    events: set[str] = field(default_factory=set)


class Lab:
    """Runs scenarios on one database, each in a world of its own."""

    def __init__(self, databases: Databases, dialect: str) -> None:
        self.dialect = dialect
        self._registry = Registry(databases.fresh(dialect), sync=False)
        spare_round_trips(self._registry)
        memory = Path("/dev/shm")
        self._folder = Path(
            tempfile.mkdtemp(prefix="orc-", dir=memory if memory.is_dir() else None)
        )
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._registry.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def world(self, scenario: Scenario) -> World:
        """Return a fresh world for a scenario; the one before is gone."""
        self._empty()
        for old in self._folder.iterdir():
            shutil.rmtree(old)
        folder = self._folder / str(next(self._numbers))
        folder.mkdir()
        world = World(self._registry, folder, temper=scenario.temper)
        world.pace = scenario.pace
        world.requests_per_batch = scenario.per_batch
        world.boot()
        return world

    def discover(self, scenario: Scenario) -> Outcome:
        """Run a scenario without any fault of ours, and record what it passes."""
        world = self.world(scenario)
        outcome = self._play(world, scenario, Watcher())
        with self._registry.read() as db:
            outcome.events = {*db.execute(sa.select(events.c.kind).distinct()).scalars()}
        return outcome

    def run(self, scenario: Scenario, *strikes: Strike) -> Outcome:
        """Run a scenario with faults; crash and boot as often as they ask for.

        One must strike: another may lie behind the end of what becomes of the run then, or behind
        the end of a call in which that one strikes.
        """
        world = self.world(scenario)
        outcome = self._play(world, scenario, Saboteur(world, *strikes))
        if strikes and all(strike.struck is None for strike in strikes):
            outcome.wrong = [*outcome.wrong, f"never struck: {strikes[0]}"]
        return outcome

    def _play(self, world: World, scenario: Scenario, watcher: Watcher) -> Outcome:
        outcome = Outcome(wrong=())
        bugs: list[str] = []

        def listen(told: Told) -> None:
            if type(told.error) is OrchestratorError:
                bugs.append(f"{told.error.message}: {told.error.__cause__!r}")

        world.tell = listen
        with small_chunks():
            scenario.begin(world)
            for _ in range(LIVES):
                try:
                    with watched(watcher):
                        scenario.script(world)
                    break
                except Crash:
                    outcome.errors.append("crash")
                except OrchestratorError as error:
                    outcome.errors.append(f"{type(error).__name__}: {error.message}")
                world.boot()
            scenario.finish(world)
            sweep(world)
        outcome.wrong = [*bugs, *disagreements(world, parked=scenario.parked, twins=scenario.twins)]
        outcome.boundaries, outcome.names = watcher.passed, watcher.names
        return outcome

    def _empty(self) -> None:
        with self._registry.connect() as db, db.begin():
            empty(db)
