"""Objects in cloud storage and files on web servers, read as they are needed.

Credentials come from the environment, as the cloud's own tools take them; none is in a location,
and none is ever shown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.sources import files
from orchestrator.sources.optional import needed
from orchestrator.sources.packed import unpacked

SCHEMES = frozenset(
    {"s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https", "file"}
)
AWAY = "ORC2039"
_BUFFER_BYTES = 4 << 20
_RETRY = {"max_retries": 5, "retry_timeout": timedelta(minutes=1)}
"""A person waits: what does not come back within a minute is told."""

_WILD = re.compile(r"[*?\[]")
_TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]|.", re.DOTALL)
_MEANT = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_QUERY = re.compile(r"\?\S*")


class RemotePlace:
    """An object or file at a URL. What is read at one go is one version of it."""

    def __init__(self, location: str) -> None:
        self.name = location
        self._store, self._path = _store(location)
        self._library = needed("obstore", f"reading {location}")

    @contextmanager
    def reading(self) -> Iterator[BinaryIO]:
        """Read it from end to end over one connection."""
        with unpacked(self.name, self._stream()) as file:
            yield file

    @contextmanager
    def _stream(self) -> Iterator[BinaryIO]:
        found = self._call(lambda: self._library.get(self._store, self._path))
        pieces = iter(found.stream(min_chunk_size=files.BUFFER_BYTES))
        raw = _Raw(lambda _size: self._call(lambda: bytes(next(pieces, b""))))
        yield cast("BinaryIO", BufferedReader(raw, files.BUFFER_BYTES))

    @contextmanager
    def seeking(self) -> Iterator[BinaryIO]:
        """Read it here and there, a range at a time."""
        opened = self._call(
            lambda: self._library.open_reader(self._store, self._path, buffer_size=_BUFFER_BYTES)
        )
        raw = _Raw(
            lambda size: self._call(lambda: bytes(opened.read(size))),
            lambda offset, whence: int(self._call(lambda: opened.seek(offset, whence))),
        )
        yield cast("BinaryIO", BufferedReader(raw, files.BUFFER_BYTES))

    def version(self) -> str:
        """Return its length and what the server calls this version of it."""
        facts = self._call(lambda: self._library.head(self._store, self._path))
        return f"{facts['size']} {facts['e_tag'] or facts['last_modified'].isoformat()}"

    def digest(self) -> str:
        """Return a hash of the version: the content would have to be fetched once more."""
        return hashlib.sha256(self.version().encode()).hexdigest()

    def _call(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `ask` returns
        try:
            return ask()
        except FileNotFoundError:
            raise NotFound(
                f"there is nothing at {self.name}",
                code=files.MISSING,
                next="check the address of the source",
            ) from None
        except (self._library.exceptions.BaseError, OSError, ValueError) as error:
            raise away(self.name, error) from None


class _Raw(RawIOBase):
    """A reader of pieces as one of Python's files."""

    def __init__(
        self, read: Callable[[int], bytes], seek: Callable[[int, int], int] | None = None
    ) -> None:
        super().__init__()
        self._read = read
        self._seek = seek
        self._left = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seek is not None

    def seek(self, offset: int, whence: int = 0) -> int:
        self._left = b""
        return self._seek(offset, whence) if self._seek is not None else super().seek(offset)

    def tell(self) -> int:
        return self.seek(0, 1)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer
        piece = self._left or self._read(len(buffer))
        self._left = piece[len(buffer) :]
        piece = piece[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


def is_url(location: str) -> bool:
    """Whether `location` names an object or file at a URL."""
    return location.partition("://")[0] in SCHEMES and "://" in location


def matching(location: str) -> list[str]:
    """Return the objects that the pattern `location` stands for, by name."""
    store, pattern = _store(location)
    library = needed("obstore", f"reading {location}")
    base = location[: -len(pattern)]
    whole = re.compile(_TOKENS.sub(_meant, pattern))
    try:
        found = [meta["path"] for page in library.list(store) for meta in page]
    except (library.exceptions.BaseError, OSError, ValueError) as error:
        raise away(location, error) from None
    return sorted(base + path for path in found if whole.fullmatch(path))


def _meant(token: re.Match[str]) -> str:
    """Return a piece of a pattern as a regular expression; a star passes over no slash."""
    if token[0].startswith("[") and len(token[0]) > 1:
        return token[0].replace("[!", "[^")
    return _MEANT.get(token[0]) or re.escape(token[0])


def _store(location: str) -> tuple[Any, str]:
    """Return the store of the folder that `location` is in, and the rest of its path."""
    parts = urlsplit(location)
    if parts.query or parts.fragment or parts.password is not None:
        raise SourceError(
            f"{_QUERY.sub('?...', location.rpartition('@')[2])} is no plain address",
            code=AWAY,
            why="what follows a ? or stands before an @ may be a credential, which is never kept",
            next="fetch the file first, and name the file",
        )
    wild = _WILD.search(location)
    cut = location.rindex("/", 0, wild.start() if wild else None) + 1
    folder, rest = location[:cut].rstrip("/"), location[cut:]
    library = needed("obstore.store", f"reading {location}")
    try:
        options: dict[str, Any] = {} if parts.scheme == "file" else {"retry_config": _RETRY}
        if parts.scheme == "http":
            options["client_options"] = {"allow_http": True}
        store = library.from_url(folder, **options)
    except Exception as error:
        # What is wrong with an address or with the environment comes in errors of many kinds.
        raise away(location, error) from None
    return store, unquote(rest) if parts.scheme in {"http", "https"} else rest


def away(location: str, error: Exception) -> SourceError:
    """Return the error of a store that does not hand out what it was asked for."""
    text = _QUERY.sub("?...", str(error).split("\n\nDebug source", maxsplit=1)[0])
    return SourceError(
        f"{location} can't be read",
        code=AWAY,
        why=" ".join(text.split())[:300],
        safe="nothing was registered, nothing was sent",
        next="check the address and the credentials in the environment, then try again",
    )
