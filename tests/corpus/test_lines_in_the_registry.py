"""All lines of `lines.toml` in one file: each member of one batch ends as its line deserves."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from support.corpus import fixtures, line_of
from support.forging import Forge
from support.world import World

from orchestrator.domain.model import BatchState
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import requests

LINES = [fixture for fixture in fixtures("lines") if "own_id" not in fixture.raw]
STATES = {"succeeded": "succeeded", "again": "pending", "failed": "failed", "odd": "pending"}


@pytest.mark.fault("R02", "R07", "R08", "R11")
def test_every_line_of_the_corpus_ends_its_request_in_a_real_registry(
    registry: Registry, tmp_path: Path
) -> None:
    forge = Forge(World(registry, tmp_path), count=1, size=len(LINES))
    batch, members = forge.live()
    pairs = list(zip(LINES, members, strict=True))
    lines = b"".join(line_of(fixture, member) + b"\n" for fixture, member in pairs)
    batch = forge.settle(forge.end(batch, counts=(len(LINES), 0, 0), output=[lines]))
    assert batch.state is BatchState.RECONCILED, batch.reason
    with registry.read() as db:
        found = dict(
            tuple(row) for row in db.execute(sa.select(requests.c.custom_id, requests.c.state))
        )
    wanted = {member: STATES[fixture["verdict"].split(":")[0]] for fixture, member in pairs}
    wrong = [fixture.name for fixture, member in pairs if found[member] != wanted[member]]
    assert wrong == []
    odd = sum(fixture["verdict"].startswith("odd") for fixture in LINES)
    assert len(forge.odd(batch)) == odd == batch.odd
