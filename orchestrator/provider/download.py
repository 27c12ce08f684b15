"""Bring a result file to disk so that a committed row may name it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

from orchestrator.domain.errors import SpoolError
from orchestrator.domain.remote import Downloaded
from orchestrator.failpoints import hit
from orchestrator.private import private_directory
from orchestrator.provider.wire_faults import read_fault
from orchestrator.provider.wire_values import OddAnswer, read_json

_MAX_ENVELOPE_BYTES = 1 << 16
_WHITE = b" \t\r\n\0\xef\xbb\xbf"


class UnfitBody(Exception):
    """The body is no result file; `code` says in which way."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class _Intake:
    """What is known of a body while it passes by: its hash, its size, its two ends."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._hash = hashlib.sha256()
        self.size = 0
        self.head = b""
        self.last = b""

    def take(self, chunk: bytes) -> None:
        """Count `chunk` in. Raises UnfitBody as soon as the body is known to be no result file."""
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise UnfitBody("ORC3210", f"it is longer than {self._max_bytes:,} bytes")
        self._hash.update(chunk)
        if len(self.head) < _MAX_ENVELOPE_BYTES:
            self.head += chunk[: _MAX_ENVELOPE_BYTES - len(self.head)]
            if self.head.lstrip(_WHITE).startswith(b"<"):
                raise UnfitBody("ORC3211", "it is an HTML page")
        self.last = chunk.rstrip(_WHITE)[-1:] or self.last

    def finish(self, expected: int | None) -> Downloaded:
        """Return hash and size of the whole. Raises UnfitBody."""
        if expected is not None and self.size != expected:
            raise UnfitBody("ORC3206", f"{self.size:,} of {expected:,} bytes arrived")
        if self.size <= _MAX_ENVELOPE_BYTES and (said := _error_envelope(self.head)):
            raise UnfitBody("ORC3211", f"it is an error, not a file: {said}")
        first = self.head.lstrip(_WHITE)[:1]
        if expected is None and first == b"{" and self.last != b"}":
            # Nobody said how long it is, but a JSON line ends with a brace.
            raise UnfitBody("ORC3206", f"it breaks off inside a line after {self.size:,} bytes")
        return Downloaded(sha256=self._hash.hexdigest(), size=self.size)


def _error_envelope(body: bytes) -> str:
    """Return what an error document says that stands where a file should; else nothing."""
    if not body.lstrip(_WHITE).startswith(b"{"):
        return ""
    try:
        value = read_json(body)
    except OddAnswer:
        return ""
    if not isinstance(value, dict) or not {"error", "detail"} & value.keys():
        return ""
    # A single failed line, or a single fault of the validation, is a legal file.
    if {"custom_id", "line", "response"} & value.keys():
        return ""
    fault = read_fault(value)
    return fault.quote if fault and fault.line is None and fault.custom_id is None else ""


def save(
    chunks: Iterator[bytes],
    to: Path,
    *,
    max_bytes: int,
    expected: int | None,
    rng: random.Random,
) -> Downloaded:
    """Write `chunks` to `to`: all of it and durable, or nothing at all.

    The bytes go to `.NAME.RANDOM.part` beside it (exclusive, mode 0600), are synced, renamed over
    `to`, and the directory is synced. `expected` is the announced size, None if there is none.
    Raises UnfitBody, SpoolError (disk full, no permission), and what `chunks` raises; the temporary
    file is removed then. Memory: one chunk and 64 KiB.
    """
    part = to.with_name(f".{to.name}.{rng.getrandbits(64):016x}.part")
    intake = _Intake(max_bytes)
    try:
        found = _write(chunks, part, intake, expected)
        with _disk(to):
            hit("download.rename", to)
            part.replace(to)
            hit("download.sync_directory", to)
            _sync_directory(to.parent)
            hit("download.done", to)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return found


def _write(
    chunks: Iterator[bytes], part: Path, intake: _Intake, expected: int | None
) -> Downloaded:
    with _disk(part):
        private_directory(part.parent)  # whoever deleted it has cost us a download, no more
        hit("download.open", part)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for chunk in chunks:
            intake.take(chunk)
            with _disk(part):
                hit("download.write", part)
                _write_all(fd, chunk)
        found = intake.finish(expected)
        with _disk(part):
            hit("download.sync", part)
            os.fsync(fd)
    finally:
        os.close(fd)
    return found


def _write_all(fd: int, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[os.write(fd, left) :]


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise SpoolError(
            f"a downloaded file can't be written: {exc.strerror or type(exc).__name__}",
            where=str(path),
            safe="the provider keeps its copy; it is downloaded again",
            next="make room or correct the directory's rights; the work then goes on by itself",
        ) from exc
