"""Sinks as Python names them: as text, or as a table of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.domain.errors import UsageError
from orchestrator.domain.spec import SinkSpec
from orchestrator.settings import Configuration
from orchestrator.settings.sinks import read_sinks

NamedSink = str | Mapping[str, Any]


def sinks_of(configuration: Configuration, named: Sequence[NamedSink]) -> tuple[SinkSpec, ...]:
    """Return the sinks that are named, files meant from the working directory.

    Raises UsageError (ORC6025) for one that is none.
    """
    try:
        return read_sinks(list(named), configuration.cwd, configuration.home)
    except ValueError as error:
        raise UsageError(
            "there is no such sink",
            code="ORC6025",
            why=str(error),
            next='"out.parquet", or {"sql": "warehouse", "table": "tags"}',
        ) from None
