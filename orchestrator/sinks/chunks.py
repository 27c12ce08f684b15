"""What a sink that gets outcomes by itself is: it takes chunks, and notes where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from orchestrator.domain.errors import SinkError
from orchestrator.sinks.port import OutcomeRow

Arrived = tuple[int, int, OutcomeRow]
"""Stamp and id of an outcome, and the row that tells of it."""

CHUNK = 2_000
"""Outcomes handed over at once."""


class SinkRefused(SinkError):
    """The sink will not take this, however often it is offered: a person decides."""

    default_code = "ORC6020"


class SinkAway(SinkError):
    """The sink does not answer or is busy: the same chunk is offered again.

    `retry_after` is in seconds, where the sink gave one.
    """

    default_code = "ORC6021"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        where: str = "",
        why: str = "",
        safe: str = "",
        next: str = "",  # noqa: A002 - the word users read on the line
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, where=where, why=why, safe=safe, next=next)
        self.retry_after = retry_after


class ChunkSink(Protocol):
    """Takes outcomes in the order in which they were recorded, a chunk at a time.

    A chunk may come again after a crash, from the same place on; a sink makes that harmless where
    it can. `size`: outcomes a chunk at most. `whole_stamps`: a chunk never mixes two stamps, so
    that it is the same one when it comes again.
    """

    size: int
    whole_stamps: bool

    def write(self, chunk: Sequence[Arrived]) -> str:
        """Take a chunk, durably, and return the note to be handed in when it is opened again.

        Raises SinkAway, SinkRefused.
        """

    def close(self) -> None:
        """Let go of everything."""
