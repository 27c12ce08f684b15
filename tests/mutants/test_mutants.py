"""Each seeded bug is noticed by the tests that are named beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
CHEAPEST = frozenset({"adopt without revoke", "settle skipped", "no directory fsync"})
"""What runs by default; `--thorough` runs them all."""

SECONDS = 180


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "mutant" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        chosen = [one for one in MUTANTS if thorough or one.name in CHEAPEST]
        metafunc.parametrize("mutant", chosen, ids=[one.name.replace(" ", "-") for one in chosen])


def run(
    selection: Sequence[str], scratch: Path, mutant: Mutant | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a selection of tests in a process of its own, with a bug seeded or without."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    kept |= {"PYTHONPATH": "tests", "PYTHONDONTWRITEBYTECODE": "1"}
    # What a mutant fails on is no example that the true code must be tried with for ever.
    kept["HYPOTHESIS_STORAGE_DIRECTORY"] = str(scratch)
    if mutant is not None:
        kept["ORC_MUTANT"] = mutant.name
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "support.mutating", "--tb=line")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *selection],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_there_are_as_many_mutants_as_the_guide_names_and_no_two_are_the_same() -> None:
    assert len(MUTANTS) == len({mutant.name for mutant in MUTANTS}) == 24
    assert len({mutant.edits for mutant in MUTANTS}) == 24
    assert {one.name for one in MUTANTS} >= CHEAPEST


def test_the_suite_notices(mutant: Mutant, tmp_path: Path) -> None:
    ran = run(mutant.caught_by, tmp_path, mutant)
    assert ran.returncode == pytest.ExitCode.TESTS_FAILED, (
        f"{mutant.name!r} ended {mutant.caught_by} with {ran.returncode}\n{ran.stdout}{ran.stderr}"
    )


def test_what_notices_them_passes_without_them(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    """All selections with `--thorough`, those of the cheapest by default."""
    thorough = pytestconfig.getoption("--thorough")
    chosen = [one for one in MUTANTS if thorough or one.name in CHEAPEST]
    ran = run(sorted({test for mutant in chosen for test in mutant.caught_by}), tmp_path)
    assert ran.returncode == pytest.ExitCode.OK, ran.stdout + ran.stderr
