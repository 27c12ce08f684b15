"""Repeat what may be repeated: reads and deletions, with jittered exponential back-off.

The only retry layer above httpx. A call that creates something never comes through here.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from orchestrator.domain.errors import ProviderError, ThrottledError, UnavailableError

T = TypeVar("T")

LASTING = frozenset({"ORC3205", "ORC3210", "ORC3212"})
"""Codes of UnavailableError that the same call in a second would only meet again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one call is repeated before its error is handed up for a later tick. Seconds.

    `longest_wait` bounds one back-off; a `Retry-After` above `longest_retry_after` is not waited
    for here at all.
    """

    attempts: int = 4
    first_wait: float = 1.0
    longest_wait: float = 20.0
    longest_retry_after: float = 60.0


def repeat(
    call: Callable[[int], T],
    *,
    patience: Patience,
    sleep: Callable[[float], None],
    rng: random.Random,
) -> T:
    """Return what `call` returns, tried at most `patience.attempts` times.

    `call` is given the number of the attempt, from 1. Raises its last error: at once for one that
    time does not mend, or that asks for a longer wait than we have patience for.
    """
    numbers = itertools.count(1)
    retrying = Retrying(
        stop=stop_after_attempt(max(patience.attempts, 1)),
        wait=lambda state: _wait(state, patience, rng),
        retry=retry_if_exception(lambda exc: _may_be_repeated(exc, patience)),
        sleep=sleep,
        reraise=True,
    )
    return retrying(lambda: call(next(numbers)))


def _may_be_repeated(exc: BaseException, patience: Patience) -> bool:
    if not isinstance(exc, ThrottledError | UnavailableError) or exc.code in LASTING:
        return False
    return exc.retry_after is None or exc.retry_after <= patience.longest_retry_after


def _wait(state: RetryCallState, patience: Patience, rng: random.Random) -> float:
    ceiling = min(patience.first_wait * 2.0 ** (state.attempt_number - 1), patience.longest_wait)
    # Never below half of it: full jitter would let some callers hammer.
    backoff = ceiling * rng.uniform(0.5, 1.0)
    exc = state.outcome.exception() if state.outcome else None
    told = exc.retry_after if isinstance(exc, ProviderError) else None
    return backoff if told is None else max(told, 0.0) + backoff
