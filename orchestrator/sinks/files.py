"""A file that appears whole or not at all: written beside its place, synced, then renamed."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from orchestrator.domain.errors import SinkError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


class SinkFull(SinkError):
    """The place has no room, or fails while it is written to."""

    default_code = "ORC6004"
    exit_code = 74


class Output(Protocol):
    """Bytes on their way to a place."""

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises SinkError."""

    def close(self) -> None:
        """Make them durable and visible. Raises SinkError."""

    def abandon(self) -> None:
        """Leave nothing behind."""


class OutputFile:
    """A new file under `path`, replacing an older one only when it is complete.

    Raises SinkError for a folder that is not there or may not be written to. A device or pipe is
    written to directly.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary: Path | None = None
        with told(path):
            self._file = self._open()

    def _open(self) -> BinaryIO:
        if self.path.is_dir():
            raise SinkError(
                f"{self.path} is a folder",
                code="ORC6002",
                next=f"name a file in it: -o {self.path}/outcomes.jsonl",
            )
        if self.path.exists() and not stat.S_ISREG(self.path.stat().st_mode):
            return self.path.open("wb", buffering=0)
        target = self.path.resolve()
        self._target = target
        self._temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        return os.fdopen(os.open(self._temporary, flags, 0o666), "wb", buffering=0)

    def write(self, data: bytes) -> None:
        """Write `data` whole."""
        with told(self.path):
            left = memoryview(data)
            while left:
                left = left[self._file.write(left) :]

    def close(self) -> None:
        """Sync and rename."""
        with told(self.path):
            if self._temporary is None:
                self._file.close()
                return
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._target)
            self._temporary = None
            sync_folder(self._target.parent)

    def abandon(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):
            self._file.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None


class OutputStream:
    """Bytes handed on to a stream that is somebody else's, such as stdout."""

    def __init__(self, write: Callable[[bytes], object], flush: Callable[[], object]) -> None:
        self._write = write
        self._flush = flush

    def write(self, data: bytes) -> None:
        """Hand `data` on."""
        self._write(data)

    def close(self) -> None:
        """Flush."""
        self._flush()

    def abandon(self) -> None:
        """Do nothing: what was handed on is gone."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say an operating system's error as ours."""
    try:
        yield
    except OSError as exc:
        raise _sorted(path, exc) from exc


def _sorted(path: Path, exc: OSError) -> SinkError:
    why = (exc.strerror or type(exc).__name__).lower()
    safe = "every outcome stays in the registry; no half file is left under that name"
    if exc.errno in _FULL:
        return SinkFull(
            f"{path} can't be written to its end",
            why=why,
            safe=safe,
            next="make room or name another place, then run the same command again",
        )
    if exc.errno == errno.ENOENT:
        return SinkError(
            f"the folder {path.parent} is not there",
            code="ORC6002",
            safe=safe,
            next=f"mkdir -p {path.parent}",
        )
    return SinkError(
        f"{path} can't be created",
        code="ORC6002",
        why=why,
        safe=safe,
        next="name a folder that you may write to",
    )
