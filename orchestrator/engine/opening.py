"""What a source may reach, where a job is planned or submitted."""

from __future__ import annotations

from pathlib import Path

from orchestrator.connections import Connections
from orchestrator.sources.port import Opening


def opening(connections: Connections, workdir: Path | None = None) -> Opening:
    """Return what the source of a job may reach; `workdir` holds files that go with the reading."""
    return Opening(connections=connections, workdir=workdir)
