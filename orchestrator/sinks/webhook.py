"""A web server of the user's as a sink: outcomes are posted to it, signed, once or again.

Headers follow Standard Webhooks: `webhook-id` (the same whenever the same outcomes are posted, and
in `Idempotency-Key` too), `webhook-timestamp`, and `webhook-signature`: HMAC-SHA256 of
`id.timestamp.body`. No redirect is followed, and the address that was looked up and allowed is the
one that is called.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
import msgspec

from orchestrator.sinks.chunks import Arrived, SinkAway, SinkRefused
from orchestrator.sinks.jsonl import JsonlSink
from orchestrator.sinks.port import Header

REFUSED = "ORC6027"
PRIVATE = "ORC6028"
_LATER = frozenset({408, 409, 425, 429})
_SAFE = "every outcome stays in the registry"

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the IP addresses of a host."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where to post, and how. `url` may be as good as a password: no message shows it.

    `per`: a chunk a post, or an outcome. `secret` signs; without one nothing is signed.
    """

    name: str
    url: str
    secret: str | None = None
    per: Literal["chunk", "outcome"] = "chunk"
    size: int = 100
    timeout: float = 30.0
    allow_private: bool = False


class Webhook:
    """Posts JSON: `{"type": "outcomes", "job": ..., "outcomes": [{"id": ..., "row": {...}}]}`."""

    whole_stamps = True

    def __init__(
        self,
        address: Address,
        header: Header,
        *,
        job: str,
        now: Callable[[], datetime],
        find: Resolve = resolve,
    ) -> None:
        self.size = address.size
        self._address = address
        self._job = job
        self._now = now
        self._url = httpx.URL(address.url)
        self._target, self._extensions = self._allowed(find)
        self._lines = _Lines(header)
        self._http = httpx.Client(
            timeout=address.timeout, follow_redirects=False, trust_env=False, http2=False
        )

    def write(self, chunk: Sequence[Arrived]) -> str:
        """Post the chunk. Raises SinkAway for what may pass, SinkRefused for a real no."""
        outcomes = [
            b'{"id":"%d-%d","row":%s}' % (request, stamp, line)
            for (stamp, request, _), line in zip(chunk, self._lines.of(chunk), strict=True)
        ]
        if self._address.per == "outcome":
            for outcome in outcomes:
                self._post(b'{"type":"outcome","job":%s,"outcome":%s}', outcome)
        else:
            self._post(b'{"type":"outcomes","job":%s,"outcomes":[%s]}', b",".join(outcomes))
        return ""

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _post(self, form: bytes, outcomes: bytes) -> None:
        body = form % (_quoted(self._job), outcomes)
        try:
            answer = self._http.post(
                self._target,
                content=body,
                headers=self._headers(body),
                extensions=self._extensions,
            )
        except httpx.TransportError as exc:
            raise SinkAway(f"{self._address.name} does not answer", why=type(exc).__name__) from exc
        self._judge(answer)

    def _headers(self, body: bytes) -> dict[str, str]:
        sent_at = str(int(self._now().timestamp()))
        message = f"msg_{hashlib.sha256(body).hexdigest()[:32]}"
        headers = {
            "content-type": "application/json",
            "user-agent": "batch-orchestrator",
            "host": self._url.netloc.decode(),
            "idempotency-key": message,
            "webhook-id": message,
            "webhook-timestamp": sent_at,
        }
        if self._address.secret is not None:
            signature = sign(self._address.secret, message, sent_at, body)
            headers["webhook-signature"] = signature
        return headers

    def _judge(self, answer: httpx.Response) -> None:
        status = answer.status_code
        if answer.is_success:
            return
        if status in _LATER or status >= 500:
            raise SinkAway(
                f"{self._address.name} answers {status}",
                retry_after=retry_after(answer.headers.get("retry-after"), self._now()),
            )
        why = "redirects are not followed" if answer.is_redirect else f"it answers {status}"
        raise SinkRefused(
            f"{self._address.name} does not take outcomes",
            code=REFUSED,
            why=why,
            safe=_SAFE,
            next="mend the address or the server",
        )

    def _allowed(self, find: Resolve) -> tuple[httpx.URL, dict[str, Any]]:
        """Return the URL with the address that is called in the place of the host's name."""
        url = self._url
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            found = find(url.host, port)
        except OSError as exc:
            raise SinkAway(
                f"{self._address.name} is not found", why=(exc.strerror or "no such host").lower()
            ) from exc
        if not self._address.allow_private:
            for address in found:
                if not ipaddress.ip_address(address.partition("%")[0]).is_global:
                    raise self._private()
        return url.copy_with(host=found[0]), {"sni_hostname": url.host}

    def _private(self) -> SinkRefused:
        return SinkRefused(
            f"{self._address.name} is in a private network",
            code=PRIVATE,
            why="a server that is not public is called only where that is wanted",
            safe=_SAFE,
            next="allow_private = true in the sink, if it is meant",
        )


def sign(secret: str, message: str, sent_at: str, body: bytes) -> str:
    """Return the signature as Standard Webhooks has it; `whsec_` marks a key in base64."""
    key = secret.encode()
    if secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            key = secret.encode()
    signed = b"%s.%s.%s" % (message.encode(), sent_at.encode(), body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, None without a usable one."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    except (ValueError, TypeError):
        return None


class _Lines:
    """Rows as the lines of a JSONL export, without their line breaks."""

    def __init__(self, header: Header) -> None:
        self._data = b""
        self._sink = JsonlSink(self, header)

    def of(self, chunk: Sequence[Arrived]) -> list[bytes]:
        """Return a JSON object for each row."""
        self._sink.write([row for _, _, row in chunk])
        return self._data.split(b"\n")[:-1]

    def write(self, data: bytes) -> None:
        """Take what the sink writes."""
        self._data = data

    def close(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""


def _quoted(text: str) -> bytes:
    return msgspec.json.encode(text)
