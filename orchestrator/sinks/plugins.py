"""Sinks of one's own: a class, or a plain function, found by entry point.

[project.entry-points."orchestrator.sinks"]
mysink = "mypackage.sinks:MySink"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, cast

from orchestrator.domain.errors import SinkError
from orchestrator.domain.shape import Column
from orchestrator.sinks.chunks import CHUNK, Arrived
from orchestrator.sinks.row_values import RowValues

GROUP = "orchestrator.sinks"
UNKNOWN = "ORC6029"

Rows = Sequence[Mapping[str, Any]]


class OwnSink(Protocol):
    """What a class of the group `orchestrator.sinks` must be; it is made with its options.

    A chunk that was written before a crash comes again: write it so that this is harmless, or tell
    by the `memo` of `open` that it is there already.
    """

    def open(self, columns: Sequence[Column], memo: str) -> None:
        """Begin, or go on: `memo` is what the last `write` returned that counts, else empty."""

    def write(self, rows: Rows) -> str | None:
        """Take rows, durably, as mappings of typed values; return a note of at most 64 kB.

        Whatever it raises has the same rows offered again later; `SinkRefused` leaves them to a
        person.
        """

    def close(self) -> None:
        """Let go of everything."""


def find_sink(name: str) -> Callable[..., Any]:
    """Return the class or function of this name. Raises SinkError (ORC6029)."""
    found: EntryPoint | None = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        known = ", ".join(sorted(each.name for each in entry_points(group=GROUP)))
        raise SinkError(
            f'there is no sink "{name[:80]}"',
            code=UNKNOWN,
            why=f"installed packages offer {known or 'none'}",
            safe="nothing was sent",
            next=f"install the package that has it under the entry points {GROUP}",
        )
    try:
        loaded: Callable[..., Any] = found.load()
    except Exception as exc:
        raise SinkError(
            f'the sink "{name[:80]}" can\'t be loaded',
            code=UNKNOWN,
            why=f"{type(exc).__name__}: {exc}"[:300],
            next=f"look at {found.value}",
        ) from exc
    return loaded


class PluginSink:
    """Hands chunks to a sink of one's own."""

    whole_stamps = False

    def __init__(
        self, name: str, options: Mapping[str, Any], values: RowValues, *, memo: str
    ) -> None:
        self.size = CHUNK
        self._values = values
        loaded = find_sink(name)
        self._sink = _made(loaded, options)
        self._sink.open(values.header.columns, memo)

    def write(self, chunk: Sequence[Arrived]) -> str:
        """Hand the rows over."""
        return self._sink.write([self._values.read(row) for _, _, row in chunk]) or ""

    def close(self) -> None:
        """Close it."""
        self._sink.close()


def _made(loaded: Callable[..., Any], options: Mapping[str, Any]) -> OwnSink:
    if not inspect.isclass(loaded):
        return _Called(loaded)
    return cast("OwnSink", loaded(**options))


class _Called:
    """A plain function as a sink: it is called with each chunk."""

    def __init__(self, function: Callable[[Rows], object]) -> None:
        self._function = function

    def open(self, columns: Sequence[Column], memo: str) -> None:
        """Begin."""

    def write(self, rows: Rows) -> str | None:
        """Call it."""
        self._function(rows)
        return None

    def close(self) -> None:
        """Do nothing."""
