"""Where the bytes of a source lie: read from end to end, or here and there."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from orchestrator.sources import files, remote
from orchestrator.sources.packed import unpacked
from orchestrator.sources.port import Opening


class Place(Protocol):
    """One file or object. Errors while it is read are SourceErrors, whoever reads."""

    @property
    def name(self) -> str:
        """What the user called it."""

    def reading(self) -> AbstractContextManager[BinaryIO]:
        """Open it for reading from end to end, unpacked where its name says that it is packed."""

    def seeking(self) -> AbstractContextManager[BinaryIO]:
        """Open it for reading here and there, as it is stored."""

    def version(self) -> str:
        """Return what is another one once it has been written again."""

    def digest(self) -> str:
        """Return a hash, in hex, that stands for what is stored."""


class LocalPlace:
    """A file on this machine."""

    def __init__(self, location: str, path: Path) -> None:
        self.name = location
        self._path = path

    def reading(self) -> AbstractContextManager[BinaryIO]:
        """Open the file; raises NotFound or SourceError."""
        return unpacked(self.name, files.opened(self._path))

    def seeking(self) -> AbstractContextManager[BinaryIO]:
        """Open the file; raises NotFound or SourceError."""
        return files.opened(self._path)

    def version(self) -> str:
        """Return which file stands here, how long it is and when it was written last."""
        with files.opened(self._path):
            facts = self._path.stat()
        return f"{facts.st_dev} {facts.st_ino} {facts.st_size} {facts.st_mtime_ns}"

    def digest(self) -> str:
        """Return the SHA-256 of the file."""
        sha = hashlib.sha256()
        with files.opened(self._path) as file:
            while piece := file.read(files.BUFFER_BYTES):
                sha.update(piece)
        return sha.hexdigest()


def place_of(location: str, opening: Opening) -> Place:
    """Return where `location` is: a path, or a URL."""
    if remote.is_url(location):
        return remote.RemotePlace(location)
    return LocalPlace(location, opening.cwd / location)
