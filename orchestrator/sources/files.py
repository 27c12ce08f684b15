"""Opening source files: every way in which a path can be wrong, told apart."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from orchestrator.domain.errors import NotFound, SourceError

MISSING = "ORC2002"
UNREADABLE = "ORC2003"
EMPTY = "ORC2004"
BUFFER_BYTES = 1 << 20


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for reading bytes; a failure while reading is told as a SourceError too.

    Raises NotFound if it is not there, SourceError if it can't be read.
    """
    try:
        with path.open("rb", buffering=BUFFER_BYTES) as file:
            yield file
    except FileNotFoundError:
        raise NotFound(
            f"there is no file {path}", code=MISSING, next="check the path of the source"
        ) from None
    except OSError as error:
        raise SourceError(
            f"{path} can't be read: {error.strerror or error}",
            code=UNREADABLE,
            next="check its permissions, and that it is a file and not a directory",
        ) from None


def refuse_no_byte(name: str, file: BinaryIO) -> None:
    """Raise SourceError if an open file holds no byte."""
    if hasattr(file, "peek"):
        there = bool(file.peek(1))
    else:
        there = bool(file.read(1))
        file.seek(0)
    if not there:
        raise SourceError(
            f"{name} is empty",
            code=EMPTY,
            next="check what was to write it; nothing was registered",
        )


def spool_stream(stream: BinaryIO, target: Path) -> int:
    """Copy `stream`, such as standard input, to the new file `target`; return its bytes.

    A source is read twice, a stream only once. Raises SourceError if it can't be copied.
    """
    try:
        with target.open("xb") as file:
            shutil.copyfileobj(stream, file, BUFFER_BYTES)
            return file.tell()
    except OSError as error:
        raise SourceError(
            f"standard input can't be copied to {target}: {error.strerror or error}",
            code=UNREADABLE,
            next="make room on that disk, or name a file as the source",
        ) from None


class HashedLines:
    """The lines of a file as bytes, numbered from 1, hashed as they are handed out.

    A line of more than `cap` bytes is read to its end in pieces and handed out as its first
    `cap` + 1 bytes, without a line break.
    """

    def __init__(self, file: BinaryIO, cap: int) -> None:
        self._file = file
        self._cap = cap
        self._sha = hashlib.sha256()
        self.number = 0

    def next(self) -> bytes:
        """Return the next line with its line break, empty at the end of the file."""
        line = self._file.readline(self._cap + 1)
        self._sha.update(line)
        if line:
            self.number += 1
            if len(line) > self._cap:
                return self._drained(line)
        return line

    def _drained(self, line: bytes) -> bytes:
        piece = line
        while piece and not piece.endswith(b"\n"):
            piece = self._file.readline(BUFFER_BYTES)
            self._sha.update(piece)
        return line

    def digest(self) -> str:
        """Return the SHA-256, in hex, of all bytes read so far."""
        return self._sha.hexdigest()
