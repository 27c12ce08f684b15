from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.databases import Databases
from support.world import World

from orchestrator.cli.main import run
from orchestrator.cli.terminal import World as Terminal
from orchestrator.registry.session import Registry
from orchestrator.sandbox.temper import BAD

GOLDEN = Path(__file__).parent / "golden"


class Stream(io.StringIO):
    def __init__(self, *, tty: bool, encoding: str) -> None:
        super().__init__()
        self._tty = tty
        self._encoding = encoding

    @property
    def encoding(self) -> str:
        return self._encoding

    def isatty(self) -> bool:
        return self._tty


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


@pytest.fixture
def bad_world(registry: Registry, tmp_path: Path) -> World:
    """A world whose provider has every fault switched on."""
    return World(registry, tmp_path, temper=BAD)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def shared(
    request: pytest.FixtureRequest,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """A faulty world with a finished job, one on its way and an untouched one: only to look at."""
    registry = Registry(databases.fresh(request.param), sync=False)
    world = World(registry, tmp_path_factory.mktemp("shared"), temper=BAD)
    world.submit(200, name="done", metadata={"team": "support", "run": "a b"})
    world.run("done")
    world.submit(130, name="labels", metadata={"team": "sales"})
    world.tick()
    world.clock.seconds += 600
    world.tick()
    world.submit(4, name="Other", model="kimi-k2.5")
    yield world
    registry.close()


def screen(
    world: World,
    *argv: str,
    tty: bool = False,
    columns: int = 100,
    encoding: str = "utf-8",
    env: dict[str, str] | None = None,
) -> Ran:
    terminal = Terminal(
        stdin=Stream(tty=tty, encoding=encoding),
        stdout=Stream(tty=tty, encoding=encoding),
        stderr=Stream(tty=tty, encoding=encoding),
        environ={
            "HOME": str(world.folder / "home"),
            "ORCHESTRATOR_SYSTEM_CONFIG": str(world.folder / "system.toml"),
            "ORCHESTRATOR_REGISTRY__URL": world.registry.url.render_as_string(hide_password=False),
            "TZ": "UTC",
            "TERM": "xterm",
            "NO_COLOR": "1",
            **(env or {}),
        },
        now=world.clock.now,
        columns=lambda: columns,
        cwd=world.folder,
    )
    status = run(argv, terminal)
    return Ran(status, terminal.stdout.getvalue(), terminal.stderr.getvalue())


@pytest.fixture(name="screen")
def screen_of() -> Callable[..., Ran]:
    """Run a command over a world's registry at the world's time."""
    return screen


@pytest.fixture
def golden() -> Callable[[World, str, str], None]:
    """Hold a screen against its file; REWRITE_GOLDEN=1 writes the file anew."""

    def same(world: World, name: str, text: str) -> None:
        text = text.replace(str(world.folder), "FOLDER")
        text = re.sub(r"registry \S+ \(\d+ ms\)", "registry URL (0 ms)", text)
        text = re.sub(r'"registry": "[^"]+"', '"registry": "URL"', text)
        text = re.sub(r'("?orc_instance"?: ?)"\w+"', r'\1"0"', text)
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("REWRITE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return same
