"""Faults of calls: what they do, when the temper's rates draw them, and how tests order them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.temper import Calls

Op = Literal[
    "upload",
    "list_files",
    "file",
    "content",
    "delete",
    "create",
    "list",
    "retrieve",
    "cancel",
    "models",
    "balance",
    "estimate",
]
OPS: Sequence[Op] = get_args(Op)


class Fault(enum.StrEnum):
    """How one call goes wrong."""

    DROPPED = "dropped"
    """The connection breaks before anything is done."""
    ANSWER_LOST = "answer_lost"
    """It is done, but the connection breaks before the answer."""
    LATE = "late"
    """No answer; it is done some seconds later, if it may then still be done."""
    SERVER_ERROR = "server_error"
    """500, nothing done."""
    SERVER_ERROR_AFTER = "server_error_after"
    """500, although it is done."""
    UNAVAILABLE = "unavailable"
    """503, nothing done."""
    GATEWAY_TIMEOUT = "gateway_timeout"
    """The gateway's 504 HTML page, nothing done."""
    GATEWAY_TIMEOUT_AFTER = "gateway_timeout_after"
    """The gateway's 504 HTML page, although it is done."""
    THROTTLED = "throttled"
    """429 `rate_limit_reached_error` with `Retry-After`."""
    OVERLOADED = "overloaded"
    """429 `engine_overloaded_error` without `Retry-After`."""
    QUOTA = "quota"
    """429 `exceeded_current_quota_error` without `Retry-After`."""
    TOO_MANY_FILES = "too_many_files"
    """400 `invalid_request_error`, "Too many uploaded files"."""
    UNAUTHORIZED = "unauthorized"
    """401 `invalid_authentication_error`."""
    FORBIDDEN = "forbidden"
    """403 `permission_denied_error`."""
    EMPTY = "empty"
    """200 with no body, although it is done."""
    TRUNCATED = "truncated"
    """It is done; the body ends before its `Content-Length`."""


AFTER_EFFECT = frozenset(
    {
        Fault.ANSWER_LOST,
        Fault.SERVER_ERROR_AFTER,
        Fault.GATEWAY_TIMEOUT_AFTER,
        Fault.EMPTY,
        Fault.TRUNCATED,
    }
)
RATED = (
    Fault.DROPPED,
    Fault.ANSWER_LOST,
    Fault.LATE,
    Fault.SERVER_ERROR,
    Fault.SERVER_ERROR_AFTER,
    Fault.UNAVAILABLE,
    Fault.GATEWAY_TIMEOUT,
    Fault.GATEWAY_TIMEOUT_AFTER,
    Fault.THROTTLED,
    Fault.OVERLOADED,
    Fault.EMPTY,
    Fault.TRUNCATED,
)


@dataclass(slots=True)
class Injection:
    """A fault ordered for the next calls of one kind, after `skip` of them went well.

    `seconds` is the delay of a late effect or the `Retry-After` of a throttled call; None takes
    the temper's.
    """

    op: Op
    fault: Fault
    times: int = 1
    skip: int = 0
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Struck:
    """The fault of one call and its seconds."""

    fault: Fault
    seconds: float


class Misfortunes:
    """Decides which calls go wrong: first what was ordered, then the temper's rates."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws
        self._calls = 0
        self.ordered: list[Injection] = []

    def strike(self, op: Op, rates: Calls) -> Struck | None:
        """Return the fault of this call of `op`, None if it goes well."""
        self._calls += 1
        ordered = self._next_ordered(op)
        fault = self._drawn(op, rates) if ordered is None else ordered.fault
        if fault is None:
            return None
        seconds = rates.retry_after if fault is Fault.THROTTLED else rates.late_seconds
        if ordered is not None and ordered.seconds is not None:
            seconds = ordered.seconds
        return Struck(fault, seconds)

    def _next_ordered(self, op: Op) -> Injection | None:
        for injection in self.ordered:
            if injection.op != op:
                continue
            if injection.skip:
                injection.skip -= 1
                continue
            injection.times -= 1
            if not injection.times:
                self.ordered.remove(injection)
            return injection
        return None

    def _drawn(self, op: Op, rates: Calls) -> Fault | None:
        drawn = self._draws.unit("call", op, str(self._calls))
        bound = 0.0
        for fault in RATED:
            bound += float(getattr(rates, fault.value))
            if drawn < bound:
                return fault
        return None
