"""The kill test: daemons on one PostgreSQL, killed, stopped and cut off while they work."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import pytest
from fleet.havoc import Plan
from fleet.kill_test import kill_test

SMALL = {"records": 200, "a_batch": 20, "daemons": 2, "seconds": 6.0, "pause": 0.5}
LARGE = {"records": 20_000, "a_batch": 100, "daemons": 8, "seconds": 60.0, "pause": 1.2}


@pytest.mark.fault("T01", "T04", "T05", "T06", "T09", "Q02", "Q03", "P13")
def test_a_fleet_under_fire_gives_every_record_one_outcome_and_pays_nothing_twice(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    thorough = pytestconfig.getoption("--thorough")
    plan = Plan(seed=secrets.randbelow(1 << 32), **(LARGE if thorough else SMALL))
    sys.stderr.write(f"{plan}\n")  # shown if it fails
    found = kill_test(tmp_path, plan)
    assert found.ended
    assert found.verified == 0
    assert found.statuses == [0] * plan.daemons, "each ended by itself on TERM"
    assert found.fleet.toll.left == [], "nobody ended but by our hand"
    assert found.bugs == []
    assert found.outcomes["succeeded"] > 0.9 * plan.records
    assert found.outcomes.keys() <= {"succeeded", "failed"}
    assert found.fleet.toll.blows.total() >= (20 if thorough else 1)
    if thorough:
        assert found.takeovers > 0, "somebody's work was taken over"
        told = found.logged["claim_lost"] + found.logged["lease_lost"]
        assert told > 0, "and he was told when he came back"
