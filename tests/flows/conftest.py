"""A world that looks seldom: what stages do hangs on events, never on how often somebody looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.world import World

from orchestrator.domain.pacing import Pace
from orchestrator.registry.session import Registry


@pytest.fixture
def world(registry: Registry, tmp_path: Path) -> World:
    """A registry, a sandbox and an engine that share one virtual clock."""
    made = World(registry, tmp_path)
    made.pace = Pace(poll_min=300, poll_max=1_200)
    made.boot()
    return made
