"""The suite's ground: a registry on each database, a world with a virtual clock and a sandbox."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.databases import Databases, spare_round_trips
from support.world import World

from orchestrator.registry.session import Registry
from orchestrator.registry.tables import instance

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run every proof whole (as CI does), not a sample of the long ones",
    )
    parser.addoption(
        "--nightly",
        action="store_true",
        help="--thorough, and larger samples where no sample is the whole",
    )
    parser.addoption("--seeds", type=int, help="how many seeds the simulation runs")
    parser.addoption("--first-seed", type=int, default=1, help="the first of them")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--nightly"):
        config.option.thorough = True


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    made = Databases(tmp_path_factory.mktemp("databases"))
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest, databases: Databases) -> str:
    """An own, empty registry with the current schema, once on each database."""
    return databases.fresh(request.param)


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    opened = Registry(registry_url, sync=False)
    spare_round_trips(opened)
    yield opened
    opened.close()


@pytest.fixture
def world(registry: Registry, tmp_path: Path) -> World:
    """A registry, a sandbox and an engine that share one virtual clock."""
    return World(registry, tmp_path)


@pytest.fixture
def restored(world: World, databases: Databases, tmp_path: Path) -> Iterator[World]:
    """The same registry as it was before anything was submitted; the provider goes on."""
    (tmp_path / "old").mkdir()
    old = World(
        Registry(databases.fresh(world.registry.dialect), sync=False),
        tmp_path / "old",
        temper=world.sandbox.temper,
    )
    name = world.context.instance
    old.registry.write(lambda db: db.execute(sa.update(instance).values(id=name)))
    old.sandbox, old.clock, old.tokens = world.sandbox, world.clock, world.tokens
    old.boot()
    yield old
    old.registry.close()


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[[list[str]], Path]:
    """Write a file of lines and return its path."""

    def write(lines: list[str]) -> Path:
        path = tmp_path / f"source-{next(_numbers)}.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write
