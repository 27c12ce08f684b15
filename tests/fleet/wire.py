"""A TCP proxy in front of a PostgreSQL's unix socket: the network, to be cut and to be held up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator


class Wire:
    """Every connection between the daemons and their database."""

    def __init__(self, socket_path: str, loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self._to = socket_path
        self._loop = loop
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._ends: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break every connection there is; new ones may be made."""
        self._do(self._break)

    def hold(self) -> None:
        """Let nothing through, in neither direction, and say nothing about it."""
        self._do(self._flowing.clear)

    def refuse(self) -> None:
        """Break every connection, and each new one."""

        def work() -> None:
            self._refusing = True
            self._break()

        self._do(work)

    def mend(self) -> None:
        """Let everything through again."""

        def work() -> None:
            self._refusing = False
            self._flowing.set()

        self._do(work)

    def _do(self, work: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(work)

    def _break(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side, or somebody in between, ends it."""
        if self._refusing:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._to)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._ends |= ends
        try:
            pumps = [self._pump(reader, far_writer), self._pump(far_reader, writer)]
            tasks = [asyncio.ensure_future(pump) for pump in pumps]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


@contextlib.contextmanager
def wire_to(socket_path: str) -> Iterator[Wire]:
    """Run a proxy on a free port of loopback, in a thread of its own."""
    loop = asyncio.new_event_loop()
    wire = Wire(socket_path, loop)
    server = loop.run_until_complete(asyncio.start_server(wire.serve, "127.0.0.1", 0))
    wire.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, name="wire")
    thread.start()
    try:
        yield wire
    finally:
        wire.mend()
        wire.refuse()
        asyncio.run_coroutine_threadsafe(_close(server), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
