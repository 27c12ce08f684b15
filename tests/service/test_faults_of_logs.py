"""A log that can't be written is no reason to stop."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import pytest
from support.databases import Databases
from support.world import World

from orchestrator.registry.session import Registry
from orchestrator.telemetry import Log


class Full(io.StringIO):
    """A log on a disk without room."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.fault("T13")
@pytest.mark.parametrize("broken", ["full", "closed"])
def test_a_log_on_a_full_disk_or_a_closed_stream_stops_no_work(
    databases: Databases, tmp_path: Path, broken: str
) -> None:
    registry = Registry(databases.fresh("sqlite"), sync=False)
    world = World(registry, tmp_path)
    stream = Full() if broken == "full" else io.StringIO()
    if broken == "closed":
        stream.close()
    world.tell = Log(stream, "json", now=world.clock.now).told
    world.submit(10)
    assert world.run().books.succeeded == 10
    registry.close()
