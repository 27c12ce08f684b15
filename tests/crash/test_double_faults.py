"""Two faults in one run: the second one meets the recovery from the first.

A sample, the longer the better; the same number always gives the same pairs. Every night:

    pytest tests/crash --thorough --double-faults 2000 -n 2

A failure names scenario, boundaries and modes; `--double-faults` with a number above that of the
failing pair and `-k pair-NUMBER-` runs it again.
"""

from __future__ import annotations

import random

import pytest

from crash.boundaries import Strike
from crash.cases import discovered
from crash.lab import Lab
from crash.scenarios import SCENARIOS

FEW, MORE = 6, 60
DIALECTS = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "pair" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        asked = metafunc.config.getoption("--double-faults", default=None)
        count = asked if asked is not None else MORE if thorough else FEW
        metafunc.parametrize("pair", range(count), ids=[f"pair-{n}-" for n in range(count)])


def test_two_faults_in_one_run_change_no_outcome_and_cost_nothing(
    labs: dict[str, Lab], pair: int
) -> None:
    drawn = random.Random(pair)
    name = drawn.choice(sorted(SCENARIOS))
    length = len(discovered()[name].boundaries)
    first = drawn.randrange(length)
    # Close to the first one more often than far from it: recovery is short.
    second = first + 1 + min(drawn.randrange(length), drawn.randrange(length))
    strikes = [Strike(first, pick=drawn.randrange(100)), Strike(second, pick=drawn.randrange(100))]
    outcome = labs[DIALECTS[pair % 2]].run(SCENARIOS[name], *strikes)
    told = [f"{s.mode} at {s.struck.label if s.struck else s.nth}" for s in strikes]
    assert not outcome.wrong, f"{name}, {' and '.join(told)}: {outcome.errors} {outcome.wrong}"
