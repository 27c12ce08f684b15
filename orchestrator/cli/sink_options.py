"""Sinks that flags name: `--sink FILE`, `--sink sql:CONNECTION/TABLE`, `--stream`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError
from orchestrator.domain.spec import JobSpec, SinkSpec


def sinks_of(session: Session, base: JobSpec, options: Mapping[str, Any]) -> tuple[SinkSpec, ...]:
    """Return the sinks of the spec, then those of the flags."""
    stream = options["stream"]
    sinks = [msgspec.structs.replace(sink, stream=stream or sink.stream) for sink in base.sinks]
    return (*sinks, *(named_sink(session, text, stream=stream) for text in options["sinks"]))


def named_sink(session: Session, text: str, *, stream: bool) -> SinkSpec:
    """Return the sink that a flag names, files meant from the working directory."""
    from orchestrator.domain.delivering import read_sink  # noqa: PLC0415 - help needs none of it
    from orchestrator.settings.sinks import located  # noqa: PLC0415

    try:
        sink = read_sink(text, stream=stream)
    except ValueError as exc:
        raise UsageError(
            f"--sink {text[:80]} is no sink",
            code="ORC6025",
            why=str(exc),
            next="FILE, sql:CONNECTION/TABLE, source, use:NAME or an https:// address",
        ) from None
    return located(sink, session.world.cwd, session.configuration.home)
