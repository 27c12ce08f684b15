"""The lifecycles are whole: every state reachable, every way ends, nothing leaves a final state."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.domain import transitions as t
from orchestrator.domain.errors import IllegalTransition
from orchestrator.domain.model import Batch, BatchState, JobState

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def a_batch(**changes: object) -> Batch:
    batch = Batch(
        id=1,
        job_id=1,
        number=1,
        provider="kimi",
        state=BatchState.PLANNED,
        requests=10,
        bytes=1000,
        token="0" * 32,
        planned_at=NOON,
        due_at=NOON,
        state_at=NOON,
    )
    return batch.with_(**changes)


def reachable(start: BatchState) -> set[BatchState]:
    found, ahead = {start}, [start]
    while ahead:
        for state in set(t.TRANSITIONS[ahead.pop()].values()) - found:
            found.add(state)
            ahead.append(state)
    return found


def test_every_batch_state_is_in_the_table_and_reachable_from_planned() -> None:
    assert set(t.TRANSITIONS) == set(BatchState) == reachable(BatchState.PLANNED)


def test_every_batch_state_can_still_end() -> None:
    for state in BatchState:
        assert reachable(state) & t.FINAL, state


def test_closed_is_the_only_end_of_a_batch() -> None:
    assert frozenset({BatchState.CLOSED}) == t.FINAL


def test_every_job_state_is_in_the_table_and_can_end() -> None:
    assert set(t.JOB_TRANSITIONS) == set(JobState)
    assert JobState.CANCELLED in t.JOB_TRANSITIONS[JobState.CANCELLING].values()


def test_a_batch_is_made_once_only_out_of_a_committed_intent() -> None:
    makers = {state for state, moves in t.TRANSITIONS.items() if t.Created in moves}
    assert makers == {BatchState.CREATING}
    into_creating = {state for state, moves in t.TRANSITIONS.items() if t.CreateBegan in moves}
    assert into_creating == {BatchState.UPLOADED}


def test_an_unanswered_create_goes_back_to_the_start_only_by_renewal() -> None:
    back = {
        kind
        for kind, to in t.TRANSITIONS[BatchState.CREATE_UNKNOWN].items()
        if to in {BatchState.BUILT, BatchState.UPLOADED, BatchState.CREATING}
    }
    assert back == {t.Renewed}


def test_an_event_that_the_state_does_not_take_is_refused_with_what_it_takes() -> None:
    with pytest.raises(IllegalTransition, match="planned batch cannot take Uploaded; it takes"):
        t.advance(BatchState.PLANNED, t.Uploaded(input_file_id="f"))


def test_renewal_forgets_the_old_upload_and_its_token() -> None:
    batch = a_batch(
        state=BatchState.CREATE_UNKNOWN, input_file_id="file-1", revoked_at=NOON, looks=3
    )
    event = t.Renewed(token="1" * 32, spare_tokens="0" * 32, renewals=1)
    renewed = t.after(batch, event, NOON, NOON)
    assert renewed.state is BatchState.BUILT
    assert renewed.input_file_id is None
    assert renewed.revoked_at is None
    assert (renewed.token, renewed.looks, renewed.renewals) == ("1" * 32, 0, 1)


def test_request_words_are_final_but_for_the_owners_retry() -> None:
    assert t.REQUEST_TRANSITIONS[t.R.SUCCEEDED] == frozenset()
    assert t.REQUEST_TRANSITIONS[t.R.CANCELLED] == frozenset()
    assert t.REQUEST_TRANSITIONS[t.R.FAILED] == {t.R.PENDING}
