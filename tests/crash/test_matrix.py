"""Every boundary, every mode, both databases: nothing lost, nothing paid twice, nothing stuck.

By default a sample is run; `pytest tests/crash --thorough -n 2` runs the whole matrix: all of it on
SQLite, a third of some scenarios on PostgreSQL (`cases.RARE_ON_POSTGRESQL`). A failure names the
scenario, the boundary and the mode; `--replay` runs that one case alone:

    pytest tests/crash --replay sqlite/plain/57/unacknowledged
"""

from __future__ import annotations

import pytest

from crash.boundaries import Mode, Strike
from crash.cases import Case, every_case, sample
from crash.lab import Lab
from crash.scenarios import SCENARIOS

DIALECTS = ("sqlite", "postgresql")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    replay = metafunc.config.getoption("--replay", default=None)
    thorough = metafunc.config.getoption("--thorough")
    if replay:
        dialect, scenario, nth, mode = replay.split("/")
        cases = [
            (dialect, Case(case.scenario, case.boundary, (Mode(mode),)))
            for case in every_case()
            if case.scenario == scenario and case.boundary.nth == int(nth)
        ]
    else:
        cases = [(d, case) for d in DIALECTS for case in (every_case(d) if thorough else sample())]
    ids = [f"{dialect}-{case.name}" for dialect, case in cases]
    metafunc.parametrize(("dialect", "case"), cases, ids=ids)


@pytest.mark.fault("B01", "B03", "B04", "B05", "B06", "B07", "U01", "U02", "U03", "C01", "C02")
@pytest.mark.fault("C03", "C04", "D06", "D08", "P01", "Q02", "Q03", "Q04", "R01", "R12", "A01")
def test_a_fault_at_a_boundary_changes_no_outcome_and_costs_nothing(
    labs: dict[str, Lab], dialect: str, case: Case
) -> None:
    failed = []
    for mode in case.modes:
        outcome = labs[dialect].run(SCENARIOS[case.scenario], Strike(case.boundary.nth, mode))
        if outcome.wrong:
            failed.append(_told(dialect, case, mode, outcome.wrong, outcome.errors))
    assert not failed, "\n".join(failed)


def _told(dialect: str, case: Case, mode: Mode, wrong: object, errors: object) -> str:
    replay = f"{dialect}/{case.scenario}/{case.boundary.nth}/{mode}"
    lines = "".join(f"\n    {line}" for line in wrong)  # type: ignore[attr-defined]
    return f"{mode} at {case.name}: {errors}{lines}\n  replay: pytest tests/crash --replay {replay}"
