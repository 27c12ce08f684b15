"""Databases of the user's, for sources and sinks: by name, opened at first use."""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from orchestrator.domain.errors import ConfigError


class Connections:
    """Engines by the name of their section, `[connections.NAME]`, or by a URL without a password.

    `url_of` follows a name to its URL and raises ConfigError for one that is not there. An engine
    is a pool of its own; nothing of a URL is ever shown.
    """

    def __init__(self, url_of: Callable[[str], str]) -> None:
        self._url_of = url_of
        self._engines: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def get(self, name: str) -> Engine:
        """Return the engine. Raises ConfigError (ORC1111, ORC1112)."""
        with self._lock:
            if name not in self._engines:
                self._engines[name] = self._open(name)
            return self._engines[name]

    def close(self) -> None:
        """Close every pool."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()

    def _open(self, name: str) -> Engine:
        direct = "://" in name
        try:
            url = make_url(name if direct else self._url_of(name))
            if direct and url.password is not None:
                raise self._unusable(name, "a password does not belong on a command line")
            if url.drivername in {"postgresql", "postgres"}:
                url = url.set(drivername="postgresql+psycopg")
            return create_engine(url, pool_pre_ping=True)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as exc:
            raise self._unusable(name, f"{type(exc).__name__}: no usable database URL") from None

    def _unusable(self, name: str, why: str) -> ConfigError:
        shown = name.split("://", maxsplit=1)[0] + "://..." if "://" in name else name
        return ConfigError(
            f"the connection {shown} can't be used",
            code="ORC1112",
            why=why,
            next="add [connections.NAME] with url = { env = ... } and install the driver it names",
        )


def no_connections() -> Connections:
    """Return connections of which none has a name; URLs work all the same."""

    def url_of(name: str) -> str:
        raise ConfigError(
            f'there is no connection "{name}"',
            code="ORC1111",
            next=f'add [connections.{name}] with url = {{ env = "..." }}',
        )

    return Connections(url_of)
