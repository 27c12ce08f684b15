"""The sandbox behind a real socket: a small ASGI application on uvicorn, bound to loopback."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from orchestrator.domain.errors import ConfigError
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.face import Reply, Request, respond
from orchestrator.sandbox.journal import open_sandbox
from orchestrator.sandbox.temper import GOOD, Temper

if TYPE_CHECKING:
    import uvicorn

THREADS = 32
"""Requests answered side by side; further ones wait."""

Message = Any
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def serve(
    host: str = "127.0.0.1",
    port: int = 8399,
    *,
    temper: Temper = GOOD,
    seed: int | str = 0,
    speed: float = 1.0,
    state_dir: Path | None = None,
    key: str | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a sandbox until SIGTERM or SIGINT; `ready` is told the base URL when it listens.

    A virtual second lasts 1 / `speed` real ones. Without `state_dir` everything is in memory and
    gone at the end. Raises ConfigError if the address or the folder can't be used.
    """
    with contextlib.ExitStack() as closing:
        if state_dir is None:
            sandbox = Sandbox(
                SandboxClock(time.time, speed=speed), seed=seed, temper=temper, key=key
            )
        else:
            sandbox, _, journal = open_sandbox(
                state_dir, wall=time.time, temper=temper, seed=seed, speed=speed, key=key
            )
            closing.callback(journal.close)
        sandbox.anonymous = key is None
        listener = closing.enter_context(_listen(host, port))
        server = _server(sandbox, closing)
        with _stopped_by_signals(server):
            _run(server, listener, ready)


@contextlib.contextmanager
def running_sandbox(
    sandbox: Sandbox, *, host: str = "127.0.0.1", daemon: bool = False
) -> Iterator[str]:
    """Serve `sandbox` from a thread on a free port, and yield its base URL, which ends in `/v1`.

    The caller keeps the sandbox and its clock, so that a test may move the time and inject faults.
    A `daemon` does not keep the process alive.
    """
    listening = threading.Event()
    urls: list[str] = []

    def ready(url: str) -> None:
        urls.append(url)
        listening.set()

    with contextlib.ExitStack() as closing:
        listener = closing.enter_context(_listen(host, 0))
        server = _server(sandbox, closing)
        thread = threading.Thread(
            target=_run, args=(server, listener, ready), name="sandbox", daemon=daemon
        )
        thread.start()
        try:
            listening.wait(30)
            yield urls[0]
        finally:
            server.should_exit = True
            thread.join()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as exc:
        why = getattr(exc, "strerror", None) or exc
        raise ConfigError(
            f"the sandbox can't listen on {host} port {port}: {why}",
            code="ORC3803",
            next="choose another port, or 0 for any free one",
        ) from exc
    # Head and body leave as two packets: without this the second waits 40 ms for the first's ACK.
    # asyncio sets it by itself only where the socket was made with its protocol spelt out.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _server(sandbox: Sandbox, closing: contextlib.ExitStack) -> uvicorn.Server:
    import uvicorn  # noqa: PLC0415 - only a serving process needs it
    from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: PLC0415 - as above

    transports: dict[Any, asyncio.Transport] = {}

    class Droppable(H11Protocol):
        """Remembers its transport by the client's address, so that a fault can break it."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._peer = transport.get_extra_info("peername")[:2]
            transports[self._peer] = transport
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            transports.pop(self._peer, None)
            super().connection_lost(exc)

    pool = closing.enter_context(ThreadPoolExecutor(THREADS, thread_name_prefix="sandbox"))
    config = uvicorn.Config(
        _Application(sandbox, transports, pool),
        http=Droppable,
        ws="none",
        lifespan="off",
        loop="asyncio",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _run(server: uvicorn.Server, listener: socket.socket, ready: Callable[[str], None]) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host

    async def main() -> None:
        serving = asyncio.ensure_future(server._serve([listener]))  # noqa: SLF001 - the public `serve` takes the signals and raises them again at the end
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        if server.started:
            ready(f"http://{shown}:{port}/v1")
        await serving

    asyncio.run(main())


@contextlib.contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Application:
    """The ASGI application: hands requests to the pure face in threads, and breaks connections."""

    def __init__(
        self, sandbox: Sandbox, transports: dict[Any, asyncio.Transport], pool: ThreadPoolExecutor
    ) -> None:
        self._sandbox = sandbox
        self._transports = transports
        self._pool = pool

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        body = _Body(receive, loop)
        request = Request(
            method=scope["method"],
            path=scope["path"],
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
            headers={k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]},
            body=body,
        )
        try:
            reply = await loop.run_in_executor(self._pool, respond, self._sandbox, request)
        except _Disconnected:
            return
        transport = self._transports.get(tuple(scope["client"]))
        if transport is None:
            return
        if reply.broken:
            transport.abort()
            await _until_gone(receive)
            return
        if not await self._send(reply, send):
            transport.close()
            await _until_gone(receive)

    async def _send(self, reply: Reply, send: Send) -> bool:
        """Send `reply`; False if the body ends before its length."""
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in reply.headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        left = reply.length if reply.cut is None else reply.cut
        chunks = iter(reply.body)
        loop = asyncio.get_running_loop()
        while left > 0:
            chunk = await loop.run_in_executor(self._pool, next, chunks, b"")
            if not chunk:
                break
            part = chunk[:left]
            left -= len(part)
            await send({"type": "http.response.body", "body": part, "more_body": True})
        whole = left == 0 and reply.cut is None
        if whole:
            await send({"type": "http.response.body", "body": b""})
        return whole


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Disconnected(Exception):
    """The client has hung up while it was sending."""


class _Body:
    """An ASGI request body read like a file, from a thread."""

    def __init__(self, receive: Receive, loop: asyncio.AbstractEventLoop) -> None:
        self._receive = receive
        self._loop = loop
        self._more = True

    def read(self, size: int = -1, /) -> bytes:  # noqa: ARG002 - the server's own chunks are small enough
        while self._more:
            message = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
            if message["type"] == "http.disconnect":
                self._more = False
                raise _Disconnected
            self._more = message.get("more_body", False)
            if message.get("body"):
                return bytes(message["body"])
        return b""

    async def _next(self) -> Message:
        return await self._receive()
