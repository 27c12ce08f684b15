"""Files that grow as outcomes come: lines appended behind a noted length, or a part a chunk.

What a crash has left behind the noted length is cut off; a part is named by where it begins, so
that one that comes again takes the place of itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from orchestrator.failpoints import hit
from orchestrator.sinks.chunks import CHUNK, Arrived, SinkAway, SinkRefused
from orchestrator.sinks.files import Output, OutputFile
from orchestrator.sinks.formats import open_sink
from orchestrator.sinks.port import Header, Sink

LOST = "ORC6026"
LINES = frozenset({"jsonl", "csv", "tsv"})
"""Formats of lines, that can be appended to."""


class _Note(msgspec.Struct):
    """How long the file is, as far as it counts."""

    bytes: int = 0


class _Buffer:
    """An output in memory, for one chunk."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        """Keep what was written."""

    def abandon(self) -> None:
        """Keep what was written."""


class AppendedFile:
    """A file of lines. `memo` holds its length: more was never noted, less is a loss."""

    whole_stamps = False

    def __init__(self, path: Path, kind: str, header: Header, *, raw: bool, memo: str) -> None:
        self.size = CHUNK
        self._path = path
        self._buffer = _Buffer()
        self._lines = open_sink(kind, self._buffer, header, raw=raw)
        self._length = msgspec.json.decode(memo, type=_Note).bytes if memo else 0
        if self._length:
            self._buffer.data.clear()  # the header of a CSV is there
        self._file = self._open()

    def _open(self) -> int:
        handle = -1
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if os.fstat(handle).st_size < self._length:
                raise self._lost()
            os.ftruncate(handle, self._length)
            os.lseek(handle, self._length, os.SEEK_SET)
        except OSError as exc:
            self._close(handle)
            raise self._away(exc) from exc
        except SinkRefused:
            self._close(handle)
            raise
        return handle

    def write(self, chunk: Sequence[Arrived]) -> str:
        """Append the chunk and sync it; the note is the file's new length."""
        self._lines.write([row for _, _, row in chunk])
        data = memoryview(bytes(self._buffer.data))
        self._buffer.data.clear()
        self._length += len(data)
        try:
            hit("sink.append", self._path)
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
            hit("sink.appended", self._path)
        except OSError as exc:
            raise self._away(exc) from exc
        return msgspec.json.encode(_Note(self._length)).decode()

    def close(self) -> None:
        """Close the file."""
        self._close(self._file)

    @staticmethod
    def _close(handle: int) -> None:
        with suppress(OSError):
            os.close(handle)

    def _lost(self) -> SinkRefused:
        return SinkRefused(
            f"{self._path} is shorter than what was written to it",
            code=LOST,
            why="it was changed or moved away, or another machine has the file",
            safe="every outcome stays in the registry",
            next="put the file back and resume the job, or write it anew: orchestrator deliver "
            "JOB --sink FILE --again",
        )

    def _away(self, exc: OSError) -> SinkAway:
        return SinkAway(
            f"{self._path} can't be written", why=(exc.strerror or type(exc).__name__).lower()
        )


class PartFiles:
    """A folder of whole files, one a chunk. `after`: the place behind which the first begins."""

    whole_stamps = False

    def __init__(
        self, folder: Path, kind: str, header: Header, *, raw: bool, after: tuple[int, int]
    ) -> None:
        self.size = CHUNK * 5
        self._folder = folder
        self._kind = kind
        self._header = header
        self._raw = raw
        self._after = after
        try:
            folder.mkdir(exist_ok=True)
            if after == (0, 0):
                for old in folder.glob(f"part-*.{kind}"):
                    old.unlink()
        except OSError as exc:
            why = (exc.strerror or type(exc).__name__).lower()
            raise SinkAway(f"{folder} can't be written", why=why) from exc

    def write(self, chunk: Sequence[Arrived]) -> str:
        """Write the chunk as a file of its own, which appears whole."""
        stamp, request = self._after
        output = OutputFile(self._folder / f"part-{stamp:012d}-{request:020d}.{self._kind}")
        opened: Output | Sink = output
        try:
            sink = opened = open_sink(self._kind, output, self._header, raw=self._raw)
            sink.write([row for _, _, row in chunk])
            sink.close()
        except BaseException:
            opened.abandon()
            raise
        self._after = chunk[-1][:2]
        return ""

    def close(self) -> None:
        """Do nothing: every part is closed."""
