"""The spool: files on local disk, made from the registry, thrown away freely.

A file is complete or it does not exist: temporary name in the same directory, mode 0600, write,
flush, fsync, rename, fsync of the directory; only then may a committed row name it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.domain.errors import SpoolError
from orchestrator.domain.remote import Downloaded
from orchestrator.failpoints import hit
from orchestrator.private import private_directory

_CHUNK = 1 << 20
_OF_A_BATCH = re.compile(r"(?:input|output|error)-(\d+)\.jsonl")


RESERVE = 64_000_000
"""Bytes of the disk that are left alone: the registry may lie there too, and has to commit."""

_SILENT = 3_600.0
"""Seconds after which a half-written download is nobody's: a read that brings no byte for a minute
is given up."""


class Spool:
    """One directory of spool files, 0700. `owner` marks temporary names of this process.

    `reserve`: bytes of the disk that are never used up.
    """

    def __init__(self, directory: Path, *, owner: str, reserve: int = RESERVE) -> None:
        self.directory = directory
        self._owner = owner
        self._reserve = reserve

    def prepare(self, *, clean: bool) -> None:
        """Make the directory; `clean` removes what processes that are gone have left half-done.

        Only a worker that knows itself alone may clean. Raises SpoolError.
        """
        try:
            private_directory(self.directory)
            for pattern in ("*.tmp", ".*.part") if clean else ():
                for left in self.directory.glob(pattern):
                    left.unlink(missing_ok=True)
        except OSError as exc:
            raise _sorted(exc, self.directory) from exc

    def clean_after(self, is_dead: Callable[[str], bool], *, unix: float) -> None:
        """Remove what workers that are dead have left half-done, while others are at work here.

        `is_dead` judges the owner in a name. A download's name has none: it goes when it was not
        written to for an hour before `unix`. Raises SpoolError.
        """
        try:
            for left in self.directory.glob("*.tmp"):
                owner = left.name.removesuffix(".tmp").rpartition(".")[2]
                if is_dead(owner):
                    left.unlink(missing_ok=True)
            for left in self.directory.glob(".*.part"):
                with contextlib.suppress(FileNotFoundError):
                    if left.stat().st_mtime < unix - _SILENT:
                        left.unlink()
        except OSError as exc:
            raise _sorted(exc, self.directory) from exc

    def room_for(self, size: int) -> None:
        """Refuse to begin a file of `size` bytes that would leave less than the reserve.

        Raises SpoolError (ORC5101): whoever meant to write comes back later, by itself.
        """
        try:
            private_directory(self.directory)
            free = self.free_bytes()
        except OSError as exc:
            raise _sorted(exc, self.directory) from exc
        if free - size < self._reserve:
            raise SpoolError(
                "the disk is nearly full",
                code="ORC5101",
                where=str(self.directory),
                why=f"{free:,} bytes are free; the file takes {size:,} and {self._reserve:,} are "
                "kept for the registry",
                safe="nothing was sent; what is recorded stays, remote batches go on",
                next="free some space: work resumes by itself",
            )

    def batch_files(self) -> dict[int, list[Path]]:
        """Return the finished files of batches that lie here, by batch. Raises SpoolError."""
        found: dict[int, list[Path]] = {}
        try:
            for path in self.directory.glob("*-*.jsonl"):
                named = _OF_A_BATCH.fullmatch(path.name)
                if named:
                    found.setdefault(int(named[1]), []).append(path)
        except OSError as exc:
            raise _sorted(exc, self.directory) from exc
        return found

    def input_path(self, batch_id: int) -> Path:
        """Return where the input file of a batch lies."""
        return self.directory / f"input-{batch_id}.jsonl"

    def result_path(self, batch_id: int, kind: str) -> Path:
        """Return where a collected output or error file lies."""
        return self.directory / f"{kind}-{batch_id}.jsonl"

    @contextmanager
    def writing(self, path: Path, *, size: int = 0) -> Iterator[Writer]:
        """Write a file of about `size` bytes that appears whole, or not at all. Raises SpoolError.

        A file whose fsync fails is thrown away: the next try writes a fresh one.
        """
        self.room_for(size)
        temporary = path.with_name(f"{path.name}.{self._owner}.tmp")
        try:
            private_directory(self.directory)
            temporary.unlink(missing_ok=True)
            hit("spool.open", path)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb", buffering=_CHUNK) as file:
                writer = Writer(file)
                yield writer
                hit("spool.write", path)
                file.flush()
                hit("spool.sync", path)
                os.fsync(file.fileno())
            hit("spool.rename", path)
            temporary.replace(path)
            hit("spool.sync_directory", path)
            _sync_directory(self.directory)
            hit("spool.done", path)
        except OSError as exc:
            raise _sorted(exc, path) from exc
        finally:
            temporary.unlink(missing_ok=True)

    def holds(self, path: Path, sha256: str | None, size: int | None) -> bool:
        """Whether `path` is the very file a row names, judged by size and hash."""
        file = self.open(path, sha256, size)
        if file is not None:
            file.close()
        return file is not None

    def open(self, path: Path, sha256: str | None, size: int | None) -> IO[bytes] | None:
        """Open the very file a row names, judged by size and hash; None if it is not there."""
        try:
            file = io.BufferedReader(io.FileIO(path), _CHUNK)
        except FileNotFoundError:
            return None
        right = os.fstat(file.fileno()).st_size == size
        if not right or hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            file.close()
            return None
        file.seek(0)
        return file

    @contextmanager
    def reading(self, path: Path) -> Iterator[IO[bytes]]:
        """Read a spool file. Raises SpoolError when it is not there any more, or can't be read."""
        try:
            with path.open("rb", buffering=_CHUNK) as file:
                yield file
        except OSError as exc:
            raise _sorted(exc, path) from exc

    def drop(self, *paths: Path) -> None:
        """Remove spool files; one that is gone already is fine."""
        for path in paths:
            try:
                hit("spool.drop", path)
                path.unlink(missing_ok=True)
                hit("spool.dropped", path)
            except OSError as exc:
                raise _sorted(exc, path) from exc

    def free_bytes(self) -> int:
        """Return how much room the disk has left."""
        return shutil.disk_usage(self.directory).free


class Writer:
    """Counts and hashes what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        """Append `data`."""
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    @property
    def sha256(self) -> str:
        """The hash of everything written so far, in hex."""
        return self._hash.hexdigest()


def digest(path: Path) -> Downloaded:
    """Return hash and size of a file, read once in constant memory."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Downloaded(sha256=sha256, size=file.tell())


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sorted(exc: OSError, path: Path) -> SpoolError:
    full = exc.errno in {errno.ENOSPC, errno.EDQUOT}
    return SpoolError(
        "the disk is full" if full else f"{path.name} can't be written",
        code="ORC5101" if full else "ORC5102",
        where=str(path),
        why=os.strerror(exc.errno) if exc.errno else str(exc),
        safe="nothing was sent; what is recorded stays, remote batches go on",
        next="free some space: work resumes by itself" if full else "mend [spool] dir",
    )
