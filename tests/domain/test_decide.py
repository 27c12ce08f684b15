"""Decisions as tables: time and facts go in, the next step comes out."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.decide import Rest, Step, Wait, gate_allows, look_counts, next_step
from orchestrator.domain.model import Account, Batch, BatchState, Gate
from orchestrator.domain.pacing import Pace, back_off, next_look

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
PACE = Pace()
S = BatchState


def a_batch(state: BatchState, **changes: object) -> Batch:
    batch = Batch(
        id=1,
        job_id=1,
        number=1,
        provider="kimi",
        state=state,
        requests=10,
        bytes=1000,
        token="0" * 32,
        planned_at=NOON,
        due_at=NOON,
        state_at=NOON,
    )
    return dataclasses.replace(batch, **changes)  # type: ignore[arg-type]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def decided(batch: Batch, now: datetime = NOON, *, can_revoke: bool = True) -> Step | str:
    decision = next_step(batch, now, PACE, can_revoke=can_revoke)
    return decision if isinstance(decision, Step) else type(decision).__name__.lower()


@pytest.mark.parametrize(
    ("state", "step"),
    [
        (S.PLANNED, Step.BUILD),
        (S.BUILT, Step.UPLOAD),
        (S.UPLOADING, Step.FIND_UPLOAD),
        (S.UPLOAD_UNKNOWN, Step.FIND_UPLOAD),
        (S.UPLOADED, Step.CREATE),
        (S.CREATING, Step.ADOPT),
        (S.LIVE, "wait"),
        (S.REMOTE_DONE, Step.COLLECT),
        (S.COLLECTED, Step.RECONCILE),
        (S.RECONCILED, Step.CLEAN_UP),
        (S.SUPERSEDED, Step.CLEAN_UP),
        (S.PARKED, "wait"),
        (S.CLOSED, "rest"),
    ],
)
def test_each_state_has_its_step(state: BatchState, step: Step | str) -> None:
    assert decided(a_batch(state)) == step


@pytest.mark.parametrize(
    ("seconds", "looks", "revoked", "can_revoke", "step"),
    [
        (0, 0, None, True, Step.ADOPT),
        (60, 3, None, True, Step.ADOPT),
        (179, 9, None, True, Step.ADOPT),
        (181, 2, None, True, Step.ADOPT),
        (181, 3, None, True, Step.REVOKE),
        (181, 3, None, False, Step.GIVE_UP),
        (181, 0, 181, True, Step.ADOPT),
        (400, 0, 181, True, Step.ADOPT),
        (400, 1, 181, True, Step.RENEW),
    ],
)
def test_an_unanswered_create_is_looked_for_settled_revoked_and_only_then_renewed(
    seconds: float, looks: int, revoked: float | None, can_revoke: bool, step: Step
) -> None:
    batch = a_batch(
        S.CREATE_UNKNOWN,
        unknown_since=NOON,
        looks=looks,
        revoked_at=None if revoked is None else at(revoked),
    )
    assert decided(batch, at(seconds), can_revoke=can_revoke) == step


@pytest.mark.parametrize(("began", "counts"), [(181, False), (360, False), (361, True)])
def test_only_a_look_that_outwaits_the_lists_lag_allows_another_create(
    began: float, counts: bool
) -> None:
    batch = a_batch(S.CREATE_UNKNOWN, unknown_since=NOON, revoked_at=at(181))
    assert look_counts(batch, at(began), PACE) is counts
    assert look_counts(batch.with_(revoked_at=None), at(began), PACE)


def test_a_create_that_was_renewed_too_often_is_given_up() -> None:
    batch = a_batch(
        S.CREATE_UNKNOWN, unknown_since=NOON, looks=2, revoked_at=NOON, renewals=PACE.renewals_max
    )
    assert decided(batch, at(60)) == Step.GIVE_UP


@given(
    state=st.sampled_from(BatchState),
    seconds=st.floats(0, 1e7),
    looks=st.integers(0, 9),
    revoked=st.none() | st.floats(0, 1e6),
    unknown=st.none() | st.floats(0, 1e6),
    renewals=st.integers(0, 5),
    can_revoke=st.booleans(),
)
def test_nothing_is_sent_anew_before_the_input_file_is_revoked(
    state: BatchState,
    seconds: float,
    looks: int,
    revoked: float | None,
    unknown: float | None,
    renewals: int,
    can_revoke: bool,
) -> None:
    batch = a_batch(
        state,
        looks=looks,
        renewals=renewals,
        revoked_at=None if revoked is None else at(revoked),
        unknown_since=None if unknown is None else at(unknown),
    )
    decision = next_step(batch, at(seconds), PACE, can_revoke=can_revoke)
    assert isinstance(decision, Step | Wait | Rest)
    if decision is Step.RENEW:
        assert batch.revoked_at is not None
        assert batch.looks >= 1
    if decision is Step.CREATE:
        assert state is S.UPLOADED
    if state in {S.CREATING, S.CREATE_UNKNOWN}:
        assert decision in {Step.ADOPT, Step.REVOKE, Step.RENEW, Step.GIVE_UP}


def test_a_batch_far_past_its_deadline_is_cancelled_then_given_to_a_person() -> None:
    batch = a_batch(S.LIVE, remote_id="b", deadline_at=at(100))
    assert decided(batch, at(99)) == "wait"
    assert decided(batch, at(101)) == Step.CANCEL
    asked = dataclasses.replace(batch, cancel_sent_at=at(101))
    assert decided(asked, at(200)) == "wait"
    assert decided(asked, at(101 + PACE.overdue_seconds + 1)) == Step.LOST


def test_a_batch_the_provider_does_not_know_is_asked_for_over_a_day() -> None:
    batch = a_batch(S.LIVE, remote_id="b", gone_since=NOON)
    assert decided(batch, at(3600)) == Step.ASK
    assert decided(batch, at(PACE.gone_seconds)) == Step.LOST


def test_nothing_unsent_is_sent_for_a_job_that_is_being_cancelled() -> None:
    for state in (S.PLANNED, S.BUILT, S.UPLOADED):
        assert next_step(a_batch(state), NOON, PACE, can_revoke=True, withdrawn=True) is (
            Step.WITHDRAW
        )


def test_a_closed_gate_lets_a_probe_through_when_its_time_has_come() -> None:
    account = Account(provider="kimi", gate=Gate.CLOSED, until=at(300), refresh_due_at=NOON)
    assert not gate_allows(account, at(299))
    assert gate_allows(account, at(300))


@given(tries=st.integers(0, 10_000), spread=st.floats(0, 1, exclude_max=True))
def test_back_off_grows_and_stays_bounded(tries: int, spread: float) -> None:
    wait = back_off(tries, PACE, spread).total_seconds()
    assert PACE.back_off_min / 2 <= wait <= PACE.back_off_max


@given(age=st.floats(0, 7 * 86_400), done=st.integers(0, 100))
def test_a_live_batch_is_looked_at_within_its_bounds(age: float, done: int) -> None:
    batch = a_batch(
        S.LIVE, remote_created_at=NOON, remote_total=100, remote_completed=done, remote_failed=0
    )
    wait = (next_look(batch, at(age), PACE) - at(age)).total_seconds()
    assert PACE.poll_min - 0.001 <= wait <= PACE.poll_max + 0.001
