"""What a source can do: say its shape, and hand out its records as often as asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from orchestrator.connections import Connections, no_connections
from orchestrator.domain.intake import BadRow, Record
from orchestrator.domain.shape import Shape

MAX_ROW_BYTES = 64_000_000
"""The longest row that is read; a longer one becomes a BadRow and is never held in memory."""

BAD_ROW = "ORC2008"


class Source(Protocol):
    """Records in a fixed order, readable any number of times.

    A source holds one row at a time. It raises SourceError when it can't be read at all or any
    further; a single bad row never raises, it is handed out as a BadRow.
    """

    @property
    def name(self) -> str:
        """What the user called it."""

    @property
    def blank_rows(self) -> int:
        """Blank rows skipped so far by the latest pass."""

    def shape(self) -> Shape:
        """Return the columns that templates may name, in order, and how positions are told."""

    def records(self) -> Iterator[Record | BadRow]:
        """Start a new pass from the first row."""

    def digest(self) -> str:
        """Return the SHA-256, in hex, of the raw bytes that the latest pass has handed out so far.

        After a whole pass over a file it is the file's own SHA-256.
        """


@dataclass(frozen=True, kw_only=True)
class Opening:
    """What a source may reach when it is opened.

    `job` opens the outcomes of another job by its name and options; None where there is no
    registry. `workdir` is a folder for files that go with the reading; the system's own unless
    given. Relative paths start from `cwd`. `left_out`: columns of a database that are no part of
    the records, since an earlier job has written its answers there.
    """

    connections: Connections = field(default_factory=no_connections)
    job: Callable[[str, Mapping[str, Any]], Source] | None = None
    cwd: Path = Path()
    workdir: Path | None = None
    left_out: frozenset[str] = frozenset()


NOTHING_OPEN = Opening()


class SourceFactory(Protocol):
    """What an entry point of the group `orchestrator.sources` must be."""

    def __call__(
        self,
        location: str,
        source_format: str,
        *,
        options: Mapping[str, Any],
        opening: Opening,
        max_row_bytes: int,
    ) -> Source:
        """Open `location` as `source_format`. Raises NotFound or SourceError.

        `options` are those of the job's source, such as `sheet`; refuse what you don't know.
        """
