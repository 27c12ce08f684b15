"""A stored file that must stay the same while it is read, and from one pass to the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.domain.errors import SourceError
from orchestrator.sources.places import Place

CHANGED = "ORC2005"


class Watched:
    """One file that is read here and there, so that no hash comes of reading it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._hashed: tuple[str, str] = "", ""

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Raise SourceError (ORC2005) if the file is another one at the end than it was before."""
        version = self.place.version()
        yield
        if self.place.version() != version:
            raise changed(self.place.name)

    def digest(self) -> str:
        """Return the SHA-256 of the file, of a remote one that of its version; hashed once."""
        version = self.place.version()
        if self._hashed[0] != version:
            self._hashed = version, self.place.digest()
        return self._hashed[1]


def changed(name: str) -> SourceError:
    """Return the error of a source that was written while it was read."""
    return SourceError(
        f"{name} changed while it was read",
        code=CHANGED,
        safe="nothing was registered, nothing was sent",
        next="let whatever writes it finish, then give the same command again",
    )
