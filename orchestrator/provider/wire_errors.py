"""Sort a refused call, once, into the classes that steps see.

Rules: reference pages platform.kimi.ai/docs/api/errors (types and codes), the OpenAI error codes
for compatible servers. Only a 4xx with a parsed error body is a certain no; whatever else comes
back from a call that changes something leaves its effect unknown.
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.domain.errors import (
    AuthError,
    GoneError,
    ProviderError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.provider.wire_faults import Fault, read_error_body, read_request_id
from orchestrator.provider.wire_values import words

MAX_RETRY_AFTER = 3600.0
"""Seconds: a gate is looked at again after an hour at the latest."""

_UNCLEAR = frozenset({408, 409, 425, 499})
_BALANCE = frozenset(
    {
        "exceeded_current_quota_error",
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "insufficient_balance",
    }
)
_QUEUE = frozenset({"token_limit_exceeded", "batch_queue_full", "too_many_batches"})
_RATE = frozenset(
    {"rate_limit_reached_error", "engine_overloaded_error", "rate_limit_exceeded", "rate_limit"}
)
_KEY = frozenset(
    {
        "invalid_authentication_error",
        "incorrect_api_key_error",
        "authentication_error",
        "invalid_api_key",
    }
)
# The file quota has the type of a malformed request; only its words differ (docs/api/errors:
# "Too many uploaded files"). A hint: the step that uploads lists files before it believes a 400.
_FILE_QUOTA = re.compile(
    r"too many\b.{0,20}\bfiles|number of files|files? quota|storage", re.IGNORECASE
)
_TOO_LARGE = re.compile(r"too (?:large|big)|size.{0,20}exceed|exceed.{0,30}\bsize", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>(.{1,120}?)</title", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Refusal:
    operation: str
    status: int
    fault: Fault | None
    why: str
    request_id: str
    retry_after: float | None

    def named(self) -> frozenset[str]:
        fault = self.fault
        return frozenset({fault.code.lower(), fault.kind.lower()}) if fault else frozenset()

    def error(
        self,
        kind: type[ProviderError],
        code: str,
        headline: str,
        *,
        safe: str = "",
        to_do: str = "",
    ) -> ProviderError:
        return kind(
            f"{self.operation}: {headline} (HTTP {self.status})",
            code=code,
            why=self.why,
            request_id=self.request_id,
            status=self.status,
            provider_code=self.fault.name if self.fault else "",
            retry_after=self.retry_after,
            safe=safe,
            next=to_do,
        )


def sort_error(
    operation: str, status: int, headers: Mapping[str, str], body: bytes, *, effect: bool
) -> ProviderError:
    """Return the error that a call without a 2xx answer stands for. Never raises.

    `operation` is method and path for the message, `effect` whether the call changes anything at
    the provider: then an answer that is no clear no is UnansweredError, else UnavailableError.
    The provider's words are quoted, cut at 300 characters, keys in them blotted out.
    """
    named = {name.lower(): value for name, value in headers.items()}
    fault = read_error_body(body)
    refusal = _Refusal(
        operation=operation,
        status=status,
        fault=fault,
        why=fault.quote if fault else _describe(body),
        request_id=_request_id(named, body),
        retry_after=read_retry_after(named),
    )
    if status == 413:
        # The one refusal that a gateway gives before the provider has read a byte of the body.
        return _too_large(refusal)
    if fault is None:
        return _unparsed(refusal, effect)
    if status in _UNCLEAR or not 400 <= status < 500:
        return _unclear(refusal, effect)
    return _refused(refusal)


def _request_id(headers: Mapping[str, str], body: bytes) -> str:
    # Kimi's header is `Msh-Request-Id`, equal to `request_id` in the body (docs/api/files-list).
    for name in ("msh-request-id", "x-request-id", "request-id"):
        if found := words(headers.get(name), 128):
            return found
    return read_request_id(body)


def _describe(body: bytes) -> str:
    text = body[:65_536].strip()
    if not text:
        return "the answer is empty"
    if title := _TITLE.search(text):
        return f'an HTML page: "{words(title[1].decode("utf-8", "replace"), 120)}"'
    if text.startswith(b"<"):
        return "an HTML page"
    return f'an answer without an error: "{words(text.decode("utf-8", "replace"), 80)}"'


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header, at most an hour; None without a usable one.

    `headers` has lower-case names. A date is measured against the answer's own `Date`, so that
    our clock does not matter.
    """
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is None:
        seconds = _until(text, headers.get("date", ""))
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return None if math.isnan(seconds) else seconds


def _until(then: str, now: str) -> float | None:
    try:
        after = email.utils.parsedate_to_datetime(then)
        return (after - email.utils.parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _too_large(refusal: _Refusal) -> ProviderError:
    return refusal.error(
        RejectedError,
        "ORC3209",
        "the provider takes no body of this size",
        safe="nothing was done over there, nothing charged",
        to_do="smaller files: lower max_file_bytes in the provider's profile",
    )


def _unparsed(refusal: _Refusal, effect: bool) -> ProviderError:
    if effect or refusal.status in _UNCLEAR or refusal.status >= 500:
        return _unclear(refusal, effect)
    if refusal.status == 429:
        return _throttled(refusal)
    if refusal.status == 401:
        return _key_refused(refusal)
    return refusal.error(
        UnavailableError,
        "ORC3212",
        "no Batch API answers at this address",
        safe="nothing was changed, nothing charged",
        to_do="check base_url of the provider: orchestrator doctor",
    )


def _unclear(refusal: _Refusal, effect: bool) -> ProviderError:
    if effect:
        return refusal.error(
            UnansweredError,
            "ORC3202",
            "no clear answer, it may have been done",
            safe="it is looked for at the provider before anything is sent again",
        )
    return refusal.error(
        UnavailableError,
        "ORC3203",
        "the provider can't answer now",
        safe="nothing was changed; it is asked again later",
    )


def _refused(refusal: _Refusal) -> ProviderError:
    named, status = refusal.named(), refusal.status
    if named & _BALANCE or status == 402:
        return _quota(refusal, "ORC3104", "the account's balance or quota is used up")
    if named & _QUEUE:
        return _quota(refusal, "ORC3107", "the account's queue is full")
    if status == 429 or named & _RATE:
        return _throttled(refusal)
    if status in {401, 403} or named & _KEY:
        return _not_allowed(refusal) if status == 403 else _key_refused(refusal)
    if status in {404, 410}:
        return refusal.error(GoneError, "ORC3208", "the provider does not know it")
    return _rejected(refusal)


def _not_allowed(refusal: _Refusal) -> ProviderError:
    return refusal.error(
        AuthError,
        "ORC3102",
        "this key is not allowed to do it",
        safe="nothing was done over there; records wait",
        to_do="check the account's permissions, then: orchestrator doctor",
    )


def _rejected(refusal: _Refusal) -> ProviderError:
    message = refusal.fault.message if refusal.fault else ""
    if _FILE_QUOTA.search(message):
        return _quota(refusal, "ORC3106", "the account's file quota is used up")
    if _TOO_LARGE.search(message):
        return _too_large(refusal)
    return refusal.error(
        RejectedError,
        "ORC3207",
        "the provider refused it",
        safe="nothing was done over there, nothing charged",
    )


def _quota(refusal: _Refusal, code: str, headline: str) -> ProviderError:
    return refusal.error(
        QuotaError,
        code,
        headline,
        safe="records wait; none is marked failed, none was charged",
        to_do=f"orchestrator help {code}",
    )


def _throttled(refusal: _Refusal) -> ProviderError:
    return refusal.error(
        ThrottledError,
        "ORC3105",
        "too many calls for this account",
        safe="nothing was done; it is tried again by itself",
    )


def _key_refused(refusal: _Refusal) -> ProviderError:
    return refusal.error(
        AuthError,
        "ORC3101",
        "the key is refused",
        safe="nothing was done over there; records wait",
        to_do="give the key of this platform, then: orchestrator doctor",
    )
