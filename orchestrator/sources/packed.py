"""Packed text: files that end in .gz or .zst are unpacked while they are read."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedReader, RawIOBase
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from orchestrator.domain.errors import SourceError
from orchestrator.sources import files
from orchestrator.sources.optional import needed

ENDINGS = (".gz", ".zst")


def plain_name(location: str) -> str:
    """Return `location` without the ending that says how it is packed."""
    path = PurePosixPath(location)
    return location[: -len(path.suffix)] if path.suffix.lower() in ENDINGS else location


@contextmanager
def unpacked(location: str, opened: AbstractContextManager[BinaryIO]) -> Iterator[BinaryIO]:
    """Yield the file unpacked if the name says that it is packed, else as it is."""
    ending = PurePosixPath(location).suffix.lower()
    with opened as file:
        if ending not in ENDINGS:
            yield file
            return
        try:
            with _reader(ending, file, location) as reader:
                yield reader
        except (EOFError, gzip.BadGzipFile, zlib.error, _Damaged) as error:
            raise SourceError(
                f"{location} can't be unpacked: {error}",
                code=files.UNREADABLE,
                next="check that it is whole, and packed as its ending says",
            ) from None


def _reader(ending: str, file: BinaryIO, location: str) -> BinaryIO:
    if ending == ".gz":
        return cast("BinaryIO", BufferedReader(gzip.GzipFile(fileobj=file), files.BUFFER_BYTES))
    arrow = needed("pyarrow", f"unpacking {location}")
    stream = arrow.CompressedInputStream(arrow.PythonFile(file, mode="r"), "zstd")
    return cast("BinaryIO", BufferedReader(_Zstandard(stream), files.BUFFER_BYTES))


class _Damaged(Exception):
    """What is packed does not unpack."""


class _Zstandard(RawIOBase):
    """Arrow's stream as one of Python's, with an error of its own for damage."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        try:
            piece = self._stream.read(len(buffer))
        except OSError as error:
            raise _Damaged(str(error)) from None
        buffer[: len(piece)] = piece
        return len(piece)
