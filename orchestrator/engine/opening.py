"""What a source may reach, where a job is planned or submitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.connections import Connections
from orchestrator.engine.job_source import JobSource
from orchestrator.registry.session import Registry
from orchestrator.sources.port import Opening, Source


@dataclass(frozen=True, kw_only=True)
class Reach(Opening):
    """The same, and the registry that tells what was submitted before."""

    registry: Callable[[], Registry]


def opening(
    connections: Connections, registry: Callable[[], Registry], workdir: Path | None = None
) -> Opening:
    """Return what the source of a job may reach; `workdir` holds files that go with the reading.

    `registry` gives the registry whose jobs may be sources, and were submitted before; called
    only where that is asked for.
    """

    def job(name: str, options: Mapping[str, Any]) -> Source:
        return JobSource(registry(), name, options)

    return Reach(connections=connections, job=job, workdir=workdir, registry=registry)
