"""Where the bytes of files lie: a port, in memory for tests, on disk for everything large."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol, cast

CHUNK = 1 << 18


class BlobWriter(Protocol):
    """A blob in the making: nobody sees it before it is committed."""

    size: int

    def write(self, data: bytes) -> None:
        """Append `data`."""

    def commit(self, key: str) -> None:
        """Make the whole blob readable as `key`, replacing what was there."""

    def discard(self) -> None:
        """Throw the blob away; harmless after a commit."""


class Blobs(Protocol):
    """A store of immutable byte strings by key."""

    def writer(self) -> BlobWriter:
        """Begin a new blob."""

    def reader(self, key: str, *, scattered: bool = False) -> BinaryIO:
        """Open a blob for reading, `scattered` here and there or in one go. Raises KeyError."""

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None if there is no such blob."""

    def delete(self, key: str) -> None:
        """Forget a blob; harmless when it is not there. Open readers go on."""


def read_range(blobs: Blobs, key: str, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from `start` up to `end` of a blob in chunks of at most 256 KiB.

    Ends early if the blob was deleted before the first byte was asked for.
    """
    try:
        opened = blobs.reader(key)
    except KeyError:
        return
    with opened as blob:
        blob.seek(start)
        while start < end:
            chunk = blob.read(min(CHUNK, end - start))
            if not chunk:
                return
            start += len(chunk)
            yield chunk


class MemoryBlobs:
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    def writer(self) -> BlobWriter:
        """Begin a new blob."""
        return _MemoryWriter(self._blobs)

    def reader(self, key: str, *, scattered: bool = False) -> BinaryIO:  # noqa: ARG002 - memory is the same either way
        """Open a blob for reading. Raises KeyError."""
        return io.BytesIO(self._blobs[key])

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None if there is no such blob."""
        blob = self._blobs.get(key)
        return None if blob is None else len(blob)

    def delete(self, key: str) -> None:
        """Forget a blob."""
        self._blobs.pop(key, None)


class _MemoryWriter:
    def __init__(self, blobs: dict[str, bytes]) -> None:
        self._blobs = blobs
        self._buffer = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._buffer += data
        self.size += len(data)

    def commit(self, key: str) -> None:
        self._blobs[key] = bytes(self._buffer)
        self._buffer.clear()

    def discard(self) -> None:
        self._buffer.clear()


class DiskBlobs:
    """Blobs as files of one folder. Holds none of them in memory.

    What an earlier process left half-written is removed at the start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = itertools.count(1)
        folder.mkdir(parents=True, exist_ok=True)
        for part in folder.glob("*.part"):
            part.unlink(missing_ok=True)

    def writer(self) -> BlobWriter:
        """Begin a new blob."""
        return _DiskWriter(self._folder, self._folder / f"{next(self._parts)}.part")

    def reader(self, key: str, *, scattered: bool = False) -> BinaryIO:
        """Open a blob for reading, `scattered` here and there or in one go. Raises KeyError."""
        path = self._folder / key
        try:
            return cast("BinaryIO", path.open("rb", 0)) if scattered else path.open("rb")
        except FileNotFoundError:
            raise KeyError(key) from None

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None if there is no such blob."""
        try:
            return (self._folder / key).stat().st_size
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Forget a blob."""
        (self._folder / key).unlink(missing_ok=True)


class _DiskWriter:
    def __init__(self, folder: Path, part: Path) -> None:
        self._folder = folder
        self._part = part
        self._file = part.open("wb")
        self.size = 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.size += len(data)

    def commit(self, key: str) -> None:
        self._file.close()
        self._part.replace(self._folder / key)

    def discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)
