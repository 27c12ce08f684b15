"""What a source may reach, where a job is planned or submitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.connections import Connections
from orchestrator.engine.job_source import JobSource
from orchestrator.registry.session import Registry
from orchestrator.sources.port import Opening, Source


def opening(
    connections: Connections, registry: Callable[[], Registry], workdir: Path | None = None
) -> Opening:
    """Return what the source of a job may reach; `workdir` holds files that go with the reading.

    `registry` gives the registry whose jobs may be sources; called only for such a source.
    """

    def job(name: str, options: Mapping[str, Any]) -> Source:
        return JobSource(registry(), name, options)

    return Opening(connections=connections, job=job, workdir=workdir)
