"""The sandbox as an httpx transport: the whole HTTP face in process, without a socket."""

from __future__ import annotations

from collections.abc import Iterator

import httpx

from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.face import Reply, Request, respond


class SandboxTransport(httpx.BaseTransport):
    """Sends every request of a client to `sandbox`, whatever its host. Safe for threads.

    A connection dropped before the effect is a ConnectError, a lost answer a ReadTimeout, a
    truncated body a RemoteProtocolError while it is read.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, or raise as a broken connection would."""
        if not isinstance(request.stream, httpx.SyncByteStream):
            raise TypeError("the sandbox's transport serves synchronous clients only")
        reply = respond(
            self.sandbox,
            Request(
                method=request.method,
                path=request.url.path,
                query=dict(request.url.params),
                headers={name.lower(): value for name, value in request.headers.items()},
                body=_Body(request.stream),
            ),
        )
        if reply.broken == "before":
            raise httpx.ConnectError("connection refused by the sandbox", request=request)
        if reply.broken == "after":
            raise httpx.ReadTimeout("the sandbox lost the answer", request=request)
        return httpx.Response(reply.status, headers=reply.headers, stream=_Answer(reply))


class _Body:
    """An httpx stream read like a file."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._chunks = iter(stream)
        self._rest = b""

    def read(self, size: int = -1, /) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        end = size if size >= 0 else len(self._rest)
        taken, self._rest = self._rest[:end], self._rest[end:]
        return taken


class _Answer(httpx.SyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __iter__(self) -> Iterator[bytes]:
        sent, end = 0, self._reply.length if self._reply.cut is None else self._reply.cut
        for chunk in self._reply.body:
            part = chunk[: end - sent]
            sent += len(part)
            yield part
        if sent < self._reply.length or self._reply.cut is not None:
            raise httpx.RemoteProtocolError("the sandbox closed the connection within the body")
