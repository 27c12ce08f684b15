"""What deserves another try, as a table."""

from __future__ import annotations

import pytest

from orchestrator.domain.model import RequestState
from orchestrator.domain.remote import Answer, RemoteStatus
from orchestrator.domain.retry import Cause, cause_of, cause_of_silence, verdict
from orchestrator.domain.spec import Policy

W = RequestState


@pytest.mark.parametrize(
    ("status", "code", "cause"),
    [
        (400, "content_filter", Cause.REFUSED),
        (400, "invalid_request_error", Cause.REFUSED),
        (404, "resource_not_found_error", Cause.REFUSED),
        (429, "engine_overloaded_error", Cause.OVERLOADED),
        (429, "", Cause.OVERLOADED),
        (400, "engine_overloaded_error", Cause.OVERLOADED),
        (429, "exceeded_current_quota_error", Cause.QUOTA),
        (None, "token_limit_exceeded", Cause.QUOTA),
        (500, "server_error", Cause.SERVER),
        (503, "", Cause.SERVER),
        (408, "", Cause.SERVER),
        (302, "", Cause.SERVER),
        (None, "batch_expired", Cause.EXPIRED),
        (None, "batch_cancelled", Cause.CANCELLED),
        (None, "400", Cause.REFUSED),
        (None, "503", Cause.SERVER),
        (None, "", Cause.SERVER),
        (None, "no_such_code", Cause.REFUSED),
    ],
)
def test_a_failed_line_has_one_cause(status: int | None, code: str, cause: Cause) -> None:
    answer = Answer(custom_id="r", succeeded=False, status_code=status, error_code=code)
    assert cause_of(answer) is cause


def test_a_member_without_a_line_is_explained_by_how_the_batch_ended() -> None:
    assert cause_of_silence(RemoteStatus.EXPIRED) is Cause.EXPIRED
    assert cause_of_silence(RemoteStatus.CANCELLED) is Cause.CANCELLED
    assert cause_of_silence(RemoteStatus.COMPLETED) is Cause.MISSING


@pytest.mark.parametrize(
    ("cause", "refusals", "rounds", "policy", "word"),
    [
        (Cause.REFUSED, 1, 1, Policy(), W.FAILED),
        (Cause.OVERLOADED, 1, 1, Policy(attempts=3), W.PENDING),
        (Cause.OVERLOADED, 3, 3, Policy(attempts=3), W.FAILED),
        (Cause.SERVER, 2, 2, Policy(attempts=3), W.PENDING),
        (Cause.QUOTA, 0, 1, Policy(), W.PENDING),
        (Cause.QUOTA, 0, 6, Policy(rounds=6), W.FAILED),
        (Cause.EXPIRED, 0, 1, Policy(), W.PENDING),
        (Cause.EXPIRED, 0, 6, Policy(rounds=6), W.EXPIRED),
        (Cause.EXPIRED, 0, 1, Policy(on_expired="close"), W.EXPIRED),
        (Cause.MISSING, 0, 1, Policy(), W.PENDING),
        (Cause.MISSING, 0, 1, Policy(on_missing="close"), W.FAILED),
        (Cause.CANCELLED, 0, 1, Policy(), W.PENDING),
        (Cause.CANCELLED, 0, 1, Policy(on_cancelled="close"), W.CANCELLED),
    ],
)
def test_the_policy_decides_what_becomes_of_a_request(
    cause: Cause, refusals: int, rounds: int, policy: Policy, word: RequestState
) -> None:
    found = verdict(cause, refusals=refusals, rounds=rounds, policy=policy, withdrawn=False)
    assert found is word


def test_nothing_is_asked_again_once_the_user_has_cancelled() -> None:
    for cause in Cause:
        word = verdict(cause, refusals=1, rounds=1, policy=Policy(), withdrawn=True)
        assert word is not W.PENDING
