"""Every fault that the sandbox knows, twice in a row, in every call that a job makes."""

from __future__ import annotations

import pytest
from support.world import World

from crash.lab import Lab
from crash.scenarios import Scenario
from crash.scripts import plain
from orchestrator.sandbox.faults import Fault, Op

CALLS: tuple[Op, ...] = ("upload", "list_files", "content", "delete", "create", "list", "retrieve")
FAULTS = [fault for fault in Fault if fault is not Fault.UNAUTHORIZED]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "dialect" in metafunc.fixturenames:
        thorough = metafunc.config.getoption("--thorough")
        metafunc.parametrize("dialect", ["sqlite", "postgresql"] if thorough else ["sqlite"])


@pytest.mark.fault("U01", "U02", "U04", "C01", "C02", "C08", "C09", "P01", "D01", "D02")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("op", CALLS)
def test_any_fault_of_any_call_is_outlived(
    labs: dict[str, Lab], dialect: str, op: Op, fault: Fault
) -> None:
    def order(world: World) -> None:
        world.sandbox.inject(op, fault, times=2)

    outcome = labs[dialect].run(Scenario(name="calls", begin=order, script=plain, per_batch=3))
    assert outcome.errors == []
    assert outcome.wrong == []
