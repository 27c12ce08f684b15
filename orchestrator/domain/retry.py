"""What deserves another try: one request's answer, judged."""

from __future__ import annotations

import enum

from orchestrator.domain.model import RequestState
from orchestrator.domain.remote import Answer, RemoteStatus
from orchestrator.domain.spec import Policy


class Cause(enum.StrEnum):
    """Why a request did not succeed in a batch, in the words of `errors` and filters."""

    REFUSED = "refused"
    OVERLOADED = "overloaded"
    QUOTA = "quota"
    SERVER = "server"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    MISSING = "missing"
    INVALID = "invalid"


_QUOTA = frozenset({"exceeded_current_quota_error", "insufficient_quota", "token_limit_exceeded"})
_OVERLOADED = frozenset({"engine_overloaded_error", "rate_limit_reached_error", "rate_limit"})
_SERVER = frozenset({"server_error", "unexpected_output", "server_unavailable", "internal_error"})
_EXPIRED = frozenset({"batch_expired", "expired"})
_CANCELLED = frozenset({"batch_cancelled", "batch_canceled", "cancelled", "canceled"})

BURNS_NOTHING = frozenset({Cause.QUOTA, Cause.EXPIRED, Cause.CANCELLED, Cause.MISSING})
"""Causes that are not the provider's no to that very line."""


def cause_of(answer: Answer) -> Cause:
    """Sort a failed answer. The code decides before the status: some servers put 400 on all."""
    code = answer.error_code.lower()
    for known, cause in (
        (_QUOTA, Cause.QUOTA),
        (_OVERLOADED, Cause.OVERLOADED),
        (_SERVER, Cause.SERVER),
        (_EXPIRED, Cause.EXPIRED),
        (_CANCELLED, Cause.CANCELLED),
    ):
        if code in known:
            return cause
    status = answer.status_code if answer.status_code is not None else _number(code)
    if status == 429:
        return Cause.OVERLOADED
    if not code and (status is None or 300 <= status < 400):
        # Nothing says no: worth another try, within the attempts a request has.
        return Cause.SERVER
    if status in {408, 409, 425, 499} or (status is not None and status >= 500):
        return Cause.SERVER
    return Cause.REFUSED


def _number(code: str) -> int | None:
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 3 else None


def cause_of_silence(status: RemoteStatus) -> Cause:
    """Say why a member has no line in a batch that ended with `status`."""
    if status is RemoteStatus.EXPIRED:
        return Cause.EXPIRED
    if status is RemoteStatus.CANCELLED:
        return Cause.CANCELLED
    return Cause.MISSING


def verdict(
    cause: Cause,
    *,
    refusals: int,
    rounds: int,
    policy: Policy,
    withdrawn: bool,
    repair: bool = False,
) -> RequestState:
    """Say what becomes of a request that did not succeed.

    `refusals` counts this no too where it burns an attempt, `rounds` the batches the request has
    travelled in. `withdrawn`: the user cancelled the job or this batch. `repair`: an answer that
    does not fit is asked for again.
    """
    final = _final_word(cause)
    if withdrawn:
        return RequestState.CANCELLED if cause in BURNS_NOTHING else final
    if cause is Cause.REFUSED or (cause is Cause.INVALID and not repair):
        return RequestState.FAILED
    if cause not in BURNS_NOTHING and refusals >= policy.attempts:
        return RequestState.FAILED
    if rounds >= policy.rounds or not _wanted_again(cause, policy):
        return final
    return RequestState.PENDING


def _wanted_again(cause: Cause, policy: Policy) -> bool:
    if cause is Cause.EXPIRED:
        return policy.on_expired == "retry"
    if cause is Cause.MISSING:
        return policy.on_missing == "retry"
    if cause is Cause.CANCELLED:
        # "hold" has parked the batch before; a person who released it wants the rest asked again.
        return policy.on_cancelled != "close"
    return True


def _final_word(cause: Cause) -> RequestState:
    if cause is Cause.EXPIRED:
        return RequestState.EXPIRED
    if cause is Cause.CANCELLED:
        return RequestState.CANCELLED
    return RequestState.FAILED
