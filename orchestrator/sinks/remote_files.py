"""An object in cloud storage that appears whole or not at all: uploaded in parts, then completed.

Credentials come from the environment, as the cloud's own tools take them; none is in a location,
and none is ever shown.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from orchestrator.domain.errors import ConfigError, SinkError

AWAY = "ORC6013"
SCHEMES = frozenset({"s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "file"})
_WEB = frozenset({"http", "https"})
_PART_BYTES = 8 << 20
"""Ten thousand of these are the largest object: 80 GB."""

_AT_ONCE = 2
_QUERY = re.compile(r"\?\S*")


def is_url(location: str) -> bool:
    """Whether `location` is an address and no path."""
    scheme, found, _ = location.partition("://")
    return bool(found) and scheme in SCHEMES | _WEB


class RemoteFile:
    """A new object at a URL. What is there stays until this one is complete.

    Raises SinkError (ORC6013) for an address that can't be written to, ConfigError (ORC6011) where
    the package that does it is not installed.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        folder, name = _parts(location)
        library, stores = _library(location), _library(location, "obstore.store")
        store = self._call(lambda: stores.from_url(folder))
        self._file = self._call(
            lambda: library.open_writer(
                store, name, buffer_size=_PART_BYTES, max_concurrency=_AT_ONCE
            )
        )

    def write(self, data: bytes) -> None:
        """Take `data`; parts are uploaded as they are full."""
        self._call(lambda: self._file.write(data))

    def close(self) -> None:
        """Upload the rest and complete the object."""
        self._call(self._file.close)

    def abandon(self) -> None:
        """Give the upload up: nothing appears under the name."""
        gone = SinkError("given up")
        with suppress(Exception):  # nothing was completed, whatever the store says to this
            self._file.__exit__(SinkError, gone, None)

    def _call(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `ask` returns
        try:
            return ask()
        except Exception as error:
            # What is wrong with an address or with the environment comes in errors of many kinds.
            text = _QUERY.sub("?...", str(error).split("\n\nDebug source", maxsplit=1)[0])
            raise SinkError(
                f"{self.location} can't be written",
                code=AWAY,
                why=" ".join(text.split())[:300],
                safe="every outcome stays in the registry; no half object is left under that name",
                next="check the address and the credentials in the environment, then run it again",
            ) from error


def _parts(location: str) -> tuple[str, str]:
    """Return the folder of an address, and the name in it. Raises SinkError."""
    parts = urlsplit(location)
    folder, _, name = location.rpartition("/")
    if parts.scheme in _WEB:
        _refuse(location, "a web server takes no files: name s3://, gs:// or az://")
    if parts.query or parts.fragment or parts.password is not None:
        _refuse(
            f"{location.partition('://')[0]}://...",
            "what follows a ? or stands before an @ may be a credential: set it in the environment",
        )
    if not name or folder.endswith("/"):
        _refuse(location, "it names no object: end it with a name such as outcomes.parquet")
    return folder, name


def _refuse(location: str, why: str) -> None:
    raise SinkError(
        f"{location} can't be written",
        code=AWAY,
        why=why,
        safe="nothing was written",
        next="-o s3://bucket/outcomes.parquet, or the path of a file",
    )


def _library(location: str, name: str = "obstore") -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"writing {location} needs a package that is not installed: obstore",
            code="ORC6011",
            safe="nothing was written",
            next='pip install "batch-orchestrator[objects]"',
        ) from error
