"""An Orchestrator over a sandbox on a real socket, once on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import JobSpec, Orchestrator

SPEED = 36_000
ROWS = [{"id": f"r-{n:03d}", "text": f"it is number {n}"} for n in range(12)]


def a_spec(name: str = "labels", **changes: Any) -> JobSpec:
    wanted: dict[str, Any] = {"source": ROWS, "key": "id", "prompt": "Positive? {text}"}
    return JobSpec(name=name, **{**wanted, **changes})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def orc(registry_url: str, home: Path) -> Iterator[Orchestrator]:
    with Orchestrator.sandbox(registry=registry_url, speed=SPEED) as opened:
        yield opened


@pytest.fixture
def lite(home: Path) -> Iterator[Orchestrator]:
    """The same on SQLite alone, for what no database has a part in."""
    with Orchestrator.sandbox(speed=SPEED) as opened:
        yield opened
