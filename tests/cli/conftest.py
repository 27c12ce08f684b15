from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_terminal import a_world

from orchestrator.cli.main import run
from orchestrator.cli.table_of_commands import COMMANDS, Entry

FAKES = tuple(
    Entry(name, f"fake_commands:{name}", "mend", f"{name} for the tests")
    for name in ("fail", "crash", "leave", "echo", "things")
)


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., Ran]:
    def ran(*argv: str, **how: object) -> Ran:
        world = a_world(tmp_path, **how)
        status = run(argv, world, (*COMMANDS, *FAKES))
        return Ran(status, world.stdout.getvalue(), world.stderr.getvalue())

    return ran
