"""The list of boundaries is made from the code and from runs: a new one can't be forgotten."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from crash import sites
from crash.boundaries import Kind
from crash.cases import discovered, every_case
from crash.lab import Lab
from crash.scenarios import SCENARIOS

OUT_OF_REACH: Mapping[str, str] = {
    "orchestrator.api.control:_run": "a rehearsal, which is rolled back and never commits",
    "orchestrator.app:App.context": "a process's first look at its registry, before any work",
    "orchestrator.engine.feeding:_later": "a bug in feeding, which no fault of the world is",
    "orchestrator.service.work:_Lease.begin": "leases belong to real processes: the kill tests",
    "orchestrator.service.work:_Lease._keep": "a thread beside the work: the tests of leases",
    "orchestrator.service.work:_Lease.end": "leases belong to real processes: the kill tests",
    "orchestrator.engine.call_rate:wait_for_turn": "the provider of a configured process calls it",
}
"""Places that commit and no scenario passes, each with the reason."""


def test_every_failpoint_in_the_code_is_passed_by_a_scenario() -> None:
    passed = set().union(*(outcome.names for outcome in discovered().values()))
    assert sites.failpoints() == passed


def test_a_failpoint_says_its_name_where_it_stands() -> None:
    assert sites.unnamed_failpoints() == []


def test_every_place_that_commits_is_passed_by_a_scenario_or_excused_with_a_reason() -> None:
    passed = {case.boundary.name for case in every_case() if case.boundary.kind is Kind.COMMIT}
    assert sites.commit_sites() - passed == set(OUT_OF_REACH)
    assert passed <= sites.commit_sites()


def test_there_are_enough_boundaries_and_cases_to_speak_of_a_matrix() -> None:
    cases, there = every_case(), every_case("postgresql")
    assert len(cases) > 600
    assert sum(len(case.modes) for case in cases) > 2_400
    assert sum(len(case.modes) for case in there) > 1_200


def test_no_kind_of_boundary_is_left_out_on_postgresql() -> None:
    kinds = [
        {(case.scenario, case.boundary.kind, case.boundary.name) for case in every_case(dialect)}
        for dialect in ("sqlite", "postgresql")
    ]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_a_fault_of_ours_a_scenario_meets_what_it_is_for_and_ends_well(name: str) -> None:
    outcome = discovered()[name]
    assert outcome.wrong == []
    assert outcome.errors == []
    assert {*SCENARIOS[name].meets} <= outcome.events


@pytest.mark.parametrize("name", SCENARIOS)
def test_both_databases_pass_the_same_boundaries(labs: dict[str, Lab], name: str) -> None:
    there = labs["postgresql"].discover(SCENARIOS[name])
    assert there.wrong == []
    assert [b.label for b in there.boundaries] == [b.label for b in discovered()[name].boundaries]
