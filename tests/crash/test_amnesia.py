"""Amnesia: the registry forgets its last commits, the provider forgets nothing.

A disk that lied about a sync, a replica that took over too early, a backup from an hour ago: the
registry is the one of k commits before, while uploads, batches and deletions stay done. No record
may be lost and no line be paid twice for it; what can't be known any more waits for a person.

A sample by default, a larger one with `--thorough`; every moment and every length at night:

    pytest tests/crash/test_amnesia.py --forget-every 1 -n 2
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.books import disagreements
from support.world import World

from crash.boundaries import Boundary, Crash, Kind, Watcher
from crash.lab import Lab, Outcome, small_chunks
from crash.memory import put_back, remember
from crash.scenarios import SCENARIOS, Scenario
from orchestrator.domain.errors import OrchestratorError
from orchestrator.failpoints import watched

FORGOTTEN = range(1, 21)
"""How many commits are forgotten."""

PARKED = ("ORC5201", "ORC5203", "ORC5204", "ORC5205", "ORC5206", "ORC5207", "ORC5209")
"""A batch may wait for a person where the provider's files are deleted already."""


class Recorder(Watcher):
    """Remembers the registry as it was after one commit, and lets the process die after another."""

    def __init__(self, world: World, *, keep: int, die_at: int) -> None:
        super().__init__()
        self._registry = world.registry
        self._keep, self._die_at = keep, die_at
        self._commits = 0
        self.kept = remember(self._registry)

    def at_end(self, boundary: Boundary) -> None:
        if boundary.kind is Kind.COMMIT:
            self._commits += 1
            if self._commits == self._keep:
                self.kept = remember(self._registry)
            if self._commits == self._die_at:
                raise Crash


def commits_of(lab: Lab, scenario: Scenario) -> int:
    """Return how many commits a run without any fault makes."""
    return sum(b.kind is Kind.COMMIT for b in lab.discover(scenario).boundaries)


def forget(lab: Lab, scenario: Scenario, *, at: int, count: int) -> Outcome:
    """Die after commit `at`, put the registry back by `count` commits, and go on from there."""
    world = lab.world(scenario)
    with small_chunks():
        scenario.begin(world)
        recorder = Recorder(world, keep=at - count, die_at=at)
        with pytest.raises(Crash), watched(recorder):
            scenario.script(world)
        put_back(world.registry, recorder.kept)
        outcome = Outcome(wrong=())
        for _ in range(3):
            world.boot()
            try:
                scenario.script(world)
                break
            except OrchestratorError as error:
                outcome.errors.append(f"{type(error).__name__}: {error.message}")
        scenario.finish(world)
        # Uploads that no row remembers are removed when they are a day old.
        world.clock.seconds += 90_000
        world.tick()
    outcome.wrong = disagreements(world, parked=PARKED)
    return outcome


def cases(lab: Lab, scenario: Scenario, *, every: int) -> Sequence[tuple[int, int]]:
    """Return pairs of where the process dies and how much is forgotten, `every`-th of all."""
    last = commits_of(lab, scenario)
    pairs = [(at, k) for at in range(1, last + 1) for k in FORGOTTEN if k <= at]
    return pairs[::every]


@pytest.mark.fault("B09", "Q05", "Q06")
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
@pytest.mark.parametrize("name", ["plain", "uploads", "creates", "gates", "bad-line", "console"])
def test_a_registry_that_forgets_its_last_commits_loses_nothing_and_pays_nothing_twice(
    labs: dict[str, Lab], request: pytest.FixtureRequest, dialect: str, name: str
) -> None:
    lab, scenario = labs[dialect], SCENARIOS[name]
    asked = request.config.getoption("--forget-every", default=None)
    every = asked or (31 if request.config.getoption("--thorough") else 293)
    failed = []
    for at, count in cases(lab, scenario, every=every):
        outcome = forget(lab, scenario, at=at, count=count)
        if outcome.wrong:
            told = "".join(f"\n    {line}" for line in outcome.wrong)
            failed.append(f"{name}: dead after commit {at}, {count} forgotten{told}")
    assert not failed, "\n".join(failed)
