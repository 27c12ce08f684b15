"""At most one remote batch of a batch ever runs: over every state that daemons, a provider that
loses, delays and lags, people and time can bring about together.

What it rests on is stated by switching it off: then a second one runs, and the shortest way there
is told. What turns out to carry nothing is said as well.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from exploring import Space, explore
from submission_model import PACE, Assumptions, Model, State

from orchestrator.domain.decide import Step
from orchestrator.domain.model import Batch, BatchState
from orchestrator.domain.pacing import Pace

HOLD = Assumptions()
TIMELESS = Pace(
    settle_seconds=0, settle_looks=1, revoke_seconds=0, renewals_max=1, back_off_min=1, cap=1
)


def twice(_model: Model, state: State) -> bool:
    """Whether two remote batches run: both are billed, whatever is done then."""
    return sum(remote.runs for remote in state.remotes) > 1


def settled(model: Model, state: State) -> bool:
    """Whether the batch follows the remote one that runs, if one does, or waits for a person."""
    row = model.row(state)
    if row.state is BatchState.PARKED:
        return True
    running = [remote.id for remote in state.remotes if remote.runs]
    return row.state is BatchState.LIVE and running in ([], [row.remote_id])


def search(assumed: Assumptions = HOLD, **world: Any) -> Space:
    return explore(Model(assumed, **world), wrong=twice, done=settled)


def without(*names: str) -> Assumptions:
    return replace(HOLD, **dict.fromkeys(names, False))


def assert_tells(trace: list[str], *said: str) -> None:
    """Each of these is said, in this order, in a story that begins at the beginning."""
    assert trace[0] == "A claims the built batch, to upload it"
    assert all(
        re.match(r"[ABC] [a-z]+s\b|time passes$|the late |somebody |a ", one) for one in trace
    )
    ahead = iter(trace)
    for part in said:
        assert any(part in one for one in ahead), f"{part!r} is not in its place in {trace}"


@pytest.mark.fault("C02", "C03", "C04", "T01", "T06", "U02", "U03")
def test_nothing_that_can_happen_makes_two_batches_run_or_loses_one() -> None:
    space = search(lag=int(PACE.settle_seconds), hurried=True)
    assert space.trace == []
    assert space.stuck == [], "from here the batch neither lives nor is parked, ever"
    assert space.states > 10_000


@pytest.mark.fault("C04", "T06")
@pytest.mark.parametrize(
    ("off", "said"),
    [
        (
            "deleted_file_is_refused",
            ["request is still under way", "deletes file t0", "Renewed", "batch-t1-0 runs"],
        ),
        (
            "lag_is_bounded",
            ["batch-t0-0 runs", "deletes file t0", "lists batches: nothing", "batch-t1-0 runs"],
        ),
        (
            "one_file_one_create",
            ["leaves file t0", "Renewed: create_unknown -> uploaded", "batch-t0-1 runs"],
        ),
        (
            "intent_before_send",
            ["keeps CreateBegan to itself", "batch-t0-0 runs", "B takes over", "batch-t0-1 runs"],
        ),
        ("no_post_is_repeated", ["a proxy sends it again", "late create"]),
        ("a_no_is_a_no", ["refused", "late create", "batch-t0-1 runs"]),
    ],
)
def test_two_batches_run_once_an_assumption_is_given_up(off: str, said: list[str]) -> None:
    assert_tells(search(without(off)).trace, *said)


def test_two_batches_run_once_writes_are_not_fenced() -> None:
    world: dict[str, Any] = {"pace": TIMELESS, "lag": 0, "calm": True}
    assert search(**world).trace == []
    trace = search(without("writes_are_fenced"), **world).trace
    assert_tells(
        trace, "B takes over", "t0-0 runs", "A deletes", "B commits LookedInVain", "t1-0 runs"
    )


@pytest.mark.fault("C04")
def test_a_list_that_lags_longer_than_the_settle_time_lets_two_batches_run() -> None:
    trace = search(lag=int(PACE.settle_seconds) + 1, calm=True).trace
    assert_tells(trace, "the late create", "deletes file t0", "lists batches: nothing", "t1-0 runs")


@pytest.mark.fault("T06")
def test_the_lease_check_saves_calls_but_carries_nothing() -> None:
    space = search(without("lease_is_checked"), calm=True)
    assert space.trace == space.stuck == []
    assert space.states > 5_000


def test_settling_before_the_revoke_saves_renewals_but_carries_nothing() -> None:
    def at_once(batch: Batch, decision: Any) -> Any:
        unsettled = batch.state is BatchState.CREATE_UNKNOWN and batch.revoked_at is None
        return Step.REVOKE if unsettled and decision is Step.ADOPT else decision

    space = search(change=at_once, calm=True)
    assert space.trace == space.stuck == []
    assert space.states > 5_000


@pytest.mark.parametrize(
    "off",
    [(), ("deleted_file_is_refused", "lag_is_bounded", "one_file_one_create")],
    ids=lambda off: "none_trusted" if off else "all_hold",
)
def test_where_a_create_cannot_be_revoked_no_list_and_no_file_has_to_be_trusted(
    off: tuple[str, ...],
) -> None:
    space = search(without(*off), can_revoke=False)
    assert space.trace == space.stuck == []
    assert space.states > 3_000


@pytest.mark.parametrize("off", ["intent_before_send", "no_post_is_repeated", "a_no_is_a_no"])
def test_parking_does_not_make_up_for_what_every_call_rests_on(off: str) -> None:
    assert_tells(search(without(off), can_revoke=False).trace, "batch-t0-0", "batch-t0-1")


def _renew_without_revoke(_batch: Batch, decision: Any) -> Any:
    return Step.RENEW if decision is Step.REVOKE else decision


def _renew_without_another_look(batch: Batch, decision: Any) -> Any:
    return Step.RENEW if decision is Step.ADOPT and batch.revoked_at else decision


def _create_anew_without_a_look(batch: Batch, decision: Any) -> Any:
    unknown = batch.state is BatchState.CREATE_UNKNOWN
    return Step.RENEW if decision is Step.ADOPT and unknown else decision


@pytest.mark.parametrize(
    "mistake",
    [_renew_without_revoke, _renew_without_another_look, _create_anew_without_a_look],
    ids=lambda mistake: mistake.__name__.strip("_"),
)
def test_a_wrong_decision_of_the_engine_is_found(mistake: Any) -> None:
    assert_tells(search(change=mistake).trace, "batch-t0-0 runs", "Renewed", "batch-t1-0 runs")


def test_a_state_that_leads_nowhere_is_found() -> None:
    def never_look(_batch: Batch, decision: Any) -> Any:
        return None if decision is Step.ADOPT else decision

    space = search(change=never_look, calm=True)
    assert space.trace == []
    assert space.stuck
    assert all(any("CreateBegan" in one for one in story) for story in space.stuck)


def test_it_holds_for_more_renewals_daemons_and_looks(pytestconfig: pytest.Config) -> None:
    """Three renewals here; with `--thorough` three daemons and the pace of the defaults too."""
    thrice = msgspec.structs.replace(PACE, renewals_max=3)
    defaults = Pace(
        settle_seconds=6, settle_looks=3, revoke_seconds=1, renewals_max=3, back_off_min=1, cap=8
    )
    worlds: list[dict[str, Any]] = [
        {"pace": msgspec.structs.replace(TIMELESS, renewals_max=3), "lag": 0, "calm": True}
    ]
    if pytestconfig.getoption("--thorough"):
        worlds += [{"daemons": 3, "pace": thrice}, {"pace": defaults, "lag": 6, "calm": True}]
    for world in worlds:
        space = search(**world)
        assert space.trace == space.stuck == []
        assert space.states > 2_000
