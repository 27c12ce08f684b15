"""One HTTP call: sent once, bounded in every phase, its failure sorted. The only user of httpx."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn, Protocol

import httpx

from orchestrator.domain.errors import (
    AuthError,
    ConfigError,
    ProviderError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.failpoints import hit
from orchestrator.provider import wire
from orchestrator.provider.profiles import base_url_faults
from orchestrator.provider.wire_values import words

MAX_ANSWER_BYTES = 64 << 20
"""Of one JSON answer: ten thousand files or batches with room to spare."""

_MAX_ERROR_BYTES = 1 << 18

# Nothing has left this machine, or nothing beyond the way to the server.
_NOTHING_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)

OnCall = Callable[[str, int | str, float, int], None]
"""`(operation, status or name of the failure, seconds, attempt)`, after every single call."""


class Secret(Protocol):
    """A key that shows itself to nobody but the request's header."""

    def reveal(self) -> str:
        """Return the key itself."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of one call, in seconds: of each phase, and in all.

    `answer` bounds a call with a JSON answer as a whole, `transfer` an upload or download.
    """

    connect: float = 10.0
    read: float = 60.0
    write: float = 60.0
    pool: float = 30.0
    answer: float = 120.0
    transfer: float = 3600.0


@dataclass(frozen=True, slots=True)
class Call:
    """What is sent. `effect`: whether it changes anything at the provider. `path` begins with /."""

    operation: str
    method: str
    path: str
    effect: bool = False
    transfer: bool = False
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    upload: tuple[str, str, BinaryIO] | None = None
    """Purpose, file name, and the open file."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A 2xx answer, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Exchange:
    """Sends calls to one base URL with one key. Safe to use from several threads."""

    def __init__(
        self,
        *,
        base_url: str,
        key: Secret | None,
        key_required: bool,
        key_source: str,
        transport: httpx.BaseTransport | None,
        timeouts: Timeouts,
        monotonic: Callable[[], float],
        on_call: OnCall | None,
        may_go_on: Callable[[], bool],
        before_call: Callable[[], None],
    ) -> None:
        for fault in base_url_faults(base_url):
            raise ConfigError("the provider's address can't be used", code="ORC3111", why=fault)
        self._base = httpx.URL(base_url.rstrip("/"))
        self._key = key
        self._key_required = key_required
        self._key_source = key_source
        self._timeouts = timeouts
        self._monotonic = monotonic
        self._on_call = on_call
        self._may_go_on = may_go_on
        self._before_call = before_call
        self._http = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(
                connect=timeouts.connect,
                read=timeouts.read,
                write=timeouts.write,
                pool=timeouts.pool,
            ),
            headers={"User-Agent": "batch-orchestrator"},
            max_redirects=5,
        )

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def label(self, call: Call) -> str:
        """Return method and path as error messages show them."""
        return f"{call.method} {words(self._base.path.rstrip('/') + call.path, 200)}"

    def send(self, call: Call, attempt: int = 1) -> Reply:
        """Send `call` once and return its whole 2xx answer, at most 64 MiB.

        Raises the sorted ProviderError for everything else; UnansweredError only for a call with an
        effect that may have been had.
        """
        with self.stream(call, attempt) as response:
            body = self._read(call, response, MAX_ANSWER_BYTES)
            return Reply(response.status_code, response.headers, body)

    @contextlib.contextmanager
    def stream(self, call: Call, attempt: int = 1) -> Iterator[httpx.Response]:
        """Send `call` once and yield its 2xx answer, unread; failures inside are sorted too."""
        self._before_call()
        began = self._monotonic()
        outcome: int | str = "refused here"
        try:
            hit("call.send", call.operation)
            # Redirected, a DELETE becomes a GET whose 200 would prove nothing.
            response = self._http.send(
                self._request(call, began), stream=True, follow_redirects=call.method == "GET"
            )
            try:
                outcome = response.status_code
                if not response.is_success:
                    raise self._refusal(call, response)
                yield response
            finally:
                response.close()
            hit("call.answered", call.operation)
        except _FAILURES as exc:
            outcome = type(exc).__name__
            raise self._no_answer(call, exc) from exc
        except _Interrupted as exc:
            outcome = "Interrupted"
            raise self._cut(call, str(exc)) from None
        finally:
            if self._on_call:
                self._on_call(call.operation, outcome, self._monotonic() - began, attempt)

    def chunks(self, call: Call, response: httpx.Response) -> Iterator[bytes]:
        """Yield the body as it comes, until the call's deadline. For use inside `stream`."""
        until = self._monotonic() + self._allowed(call)
        for chunk in response.iter_bytes():
            self._check(until, call)
            yield chunk

    def _request(self, call: Call, began: float) -> httpx.Request:
        content: dict[str, Any] = {}
        if call.json is not None:
            content["json"] = call.json
        if call.upload is not None:
            purpose, name, file = call.upload
            until = began + self._allowed(call)
            timed = _TimedFile(file, lambda: self._check(until, call))
            content["data"] = {"purpose": purpose}
            content["files"] = {"file": (name, timed, "application/jsonl")}
        return self._http.build_request(
            call.method,
            f"{self._base}{call.path}",
            params=dict(call.params) or None,
            headers={**self._authorization(), **call.headers},
            **content,
        )

    def _authorization(self) -> dict[str, str]:
        if self._key is None:
            if self._key_required:
                raise AuthError(
                    "there is no key for this provider",
                    code="ORC3103",
                    where=self._key_place(),
                    safe="nothing was sent",
                    next="set the key, then: orchestrator doctor",
                )
            return {}
        key = self._key.reveal().strip()
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise AuthError(
                "the key holds characters that no key has (blanks, line breaks, accents)",
                code="ORC3103",
                where=self._key_place(),
                safe="nothing was sent",
                next="copy the key again, then: orchestrator doctor",
            )
        return {"Authorization": f"Bearer {key}"}

    def _key_place(self) -> str:
        return f"key from {self._key_source}" if self._key_source else ""

    def _allowed(self, call: Call) -> float:
        return self._timeouts.transfer if call.transfer else self._timeouts.answer

    def _check(self, until: float, call: Call) -> None:
        if self._monotonic() > until:
            raise _Interrupted(f"not done within {self._allowed(call):,.0f} s")
        if call.transfer and not self._may_go_on():
            raise _Interrupted("the lease of this worker is nearly over")

    def _read(self, call: Call, response: httpx.Response, cap: int) -> bytes:
        body = bytearray()
        for chunk in self.chunks(call, response):
            body += chunk
            if len(body) > cap:
                self.raise_odd(call, f"the answer is longer than {cap:,} bytes", response)
        return bytes(body)

    def _refusal(self, call: Call, response: httpx.Response) -> ProviderError:
        body = bytearray()
        # The status is known; a body that breaks off or never ends only costs its words.
        with contextlib.suppress(*_FAILURES, _Interrupted):
            for chunk in self.chunks(call, response):
                body += chunk
                if len(body) > _MAX_ERROR_BYTES:
                    break
        error = wire.sort_error(
            self.label(call),
            response.status_code,
            response.headers,
            self._without_key(bytes(body)),
            effect=call.effect,
        )
        if isinstance(error, AuthError):
            error.where = self._key_place()
        return error

    def _without_key(self, body: bytes) -> bytes:
        key = self._key.reveal().strip().encode() if self._key else b""
        return body.replace(key, b"[key]") if key else body

    def _no_answer(self, call: Call, exc: Exception) -> ProviderError:
        why = words(self._without_key(str(exc).encode()).decode()) or type(exc).__name__
        if isinstance(exc, _NOTHING_SENT):
            return UnavailableError(
                f"{self.label(call)}: the provider can't be reached",
                code="ORC3201",
                where=self._base.host,
                why=why,
                safe="nothing was sent; it is tried again by itself",
                next="check network, proxy and base_url if it lasts: orchestrator doctor",
            )
        return self._cut(call, f"{type(exc).__name__}: {why}")

    def _cut(self, call: Call, why: str) -> ProviderError:
        if call.effect:
            return UnansweredError(
                f"{self.label(call)}: no answer, it may have been done",
                code="ORC3202",
                why=why,
                safe="it is looked for at the provider before anything is sent again",
            )
        return UnavailableError(
            f"{self.label(call)}: no answer",
            code="ORC3203",
            why=why,
            safe="nothing was changed; it is asked again later",
        )

    def raise_odd(self, call: Call, why: str, reply: Reply | httpx.Response) -> NoReturn:
        """Raise what a 2xx answer stands for that is not what the protocol promises."""
        status = reply.status if isinstance(reply, Reply) else reply.status_code
        request_id = words(reply.headers.get("msh-request-id", ""), 128)
        if call.effect:
            raise UnansweredError(
                f"{self.label(call)}: an answer that can't be used, it may have been done",
                code="ORC3202",
                why=why,
                safe="it is looked for at the provider before anything is sent again",
                status=status,
                request_id=request_id,
            )
        raise UnavailableError(
            f"{self.label(call)}: an answer that can't be used (HTTP {status})",
            code="ORC3204",
            why=why,
            safe="nothing was changed; it is asked again later",
            next="check base_url if it lasts: orchestrator doctor",
            status=status,
            request_id=request_id,
        )


class _Interrupted(Exception):
    """The call was broken off on our side: its deadline, or a file that can't be read."""


class _TimedFile:
    """A file that is read in pieces while it is sent, until the call's deadline."""

    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        self._file = file
        self._check = check

    def fileno(self) -> int:
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        self._check()
        try:
            return self._file.read(size)
        except OSError as exc:
            reason = exc.strerror or type(exc).__name__
            raise _Interrupted(f"the file can't be read on: {reason}") from exc
