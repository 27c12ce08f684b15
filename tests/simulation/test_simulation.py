"""Whole weeks under faults, drawn from seeds: nothing lost, nothing paid twice, everything ends.

A run holds 40 seeds, with `--thorough` 300. Each night: `pytest tests/simulation --seeds 10000
--first-seed N`, with another N each time. What fails says which seed it was; the same seed does the
same again, bit for bit: `pytest tests/simulation --seeds 1 --first-seed SEED`.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from simulation.faults import RATES
from simulation.world import Arena, World

BLOCK = 100
"""Seeds of one test: few enough that a block that fails is soon found."""

HABITS = {"list lag", "cancel ignored"}
"""Faults that leave no trace of their own."""

ENOUGH = 40
"""Seeds from which on every kind of fault must have struck."""

FIXED = {
    10: "a late reader told of a bug, because its file had been cleaned up",
    24: "a submission called its own, unacknowledged commit an illegal move",
}
"""Seeds that once failed, and what they had found."""

STORMS: Sequence[tuple[int, Mapping[str, float], str]] = (
    (1, {"applied late": 0.3, "list lag": 110.0}, "paid twice: the list lagged after a revocation"),
    (4, {"crash": 0.02, "pause": 0.02}, "a late writer left its file in the spool for ever"),
    (8, {"console delete": 6, "console cancel": 5, "odd answer": 0.1}, "a cancelled job stuck"),
)
"""Seeds that once failed under a few faults of great strength, and what they had found."""


@dataclass
class Tally:
    """What the seeds of a block went through."""

    fired: Counter[str] = field(default_factory=Counter)
    records: int = 0
    succeeded: int = 0
    failed: list[str] = field(default_factory=list)

    def run(self, arena: Arena, seed: int, rates: Mapping[str, float] | None = None) -> str:
        """Run one seed; return its trace."""
        world = World(arena, seed, rates)
        try:
            world.run()
        except Exception as exc:
            why = "".join(traceback.format_exception(exc, limit=-3))
            again = f"pytest tests/simulation --seeds 1 --first-seed {seed}"
            self.failed.append(f"seed {seed}: {exc}\n{why}  again: {again}")
        finally:
            self.records += world.users.records
            self.succeeded += world.succeeded()
            world.close()
            self.fired += world.faults.fired
        return world.scheduler.trace


@pytest.fixture(scope="module")
def arena() -> Iterator[Arena]:
    made = Arena()
    # A collection over everything that was ever imported, many times a seed, is half of the time.
    gc.collect()
    gc.freeze()
    yield made
    gc.unfreeze()
    made.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "block" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    count = option("--seeds") or (300 if option("--thorough") else ENOUGH)
    first = option("--first-seed")
    blocks = [
        range(start, min(start + BLOCK, first + count))
        for start in range(first, first + count, BLOCK)
    ]
    metafunc.parametrize("block", blocks, ids=[f"{seeds[0]}-{seeds[-1]}" for seeds in blocks])


@pytest.mark.fault("C02", "C03", "C04", "U02", "U03", "U04", "P01", "P06", "P10", "T06", "T07")
def test_weeks_of_faults_end_with_every_record_accounted_for(arena: Arena, block: range) -> None:
    tally = Tally()
    for seed in block:
        tally.run(arena, seed)
    assert not tally.failed, "\n".join(tally.failed)
    # A run in which everything went wrong, or nothing did, would prove nothing.
    assert tally.succeeded > tally.records / 2
    assert len(block) < ENOUGH or set(RATES) - HABITS == set(tally.fired)


@pytest.mark.parametrize("seed", FIXED)
def test_a_seed_that_once_failed_passes(arena: Arena, seed: int) -> None:
    tally = Tally()
    tally.run(arena, seed)
    assert not tally.failed, "\n".join(tally.failed)


@pytest.mark.fault("C04", "T06", "P10")
@pytest.mark.parametrize(("seed", "rates", "found"), STORMS)
def test_a_storm_that_once_did_harm_passes(
    arena: Arena, seed: int, rates: Mapping[str, float], found: str
) -> None:
    tally = Tally()
    tally.run(arena, seed, rates)
    assert not tally.failed, "\n".join([found, *tally.failed])


def test_the_same_seed_does_the_same_again(arena: Arena) -> None:
    traces = {Tally().run(arena, 102) for _ in range(2)}
    folder = Path(__file__).parents[1]
    program = "from simulation.test_simulation import *; print(Tally().run(Arena(), 102))"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(folder)}
    there = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert traces == {there.stdout.strip()}


def test_another_seed_does_something_else(arena: Arena) -> None:
    assert len({Tally().run(arena, seed) for seed in (102, 101)}) == 2
