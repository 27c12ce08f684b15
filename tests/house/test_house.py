"""Time, chance and effects come in from outside: no floor below the app reaches for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "orchestrator"
FLOORS = ("domain", "engine", "provider", "registry", "sandbox")

REACHED_FOR = frozenset(
    {
        *("time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "time.sleep"),
        *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
        *("os.urandom", "os.rename", "os.replace", "os.renames", "shutil.move"),
        *("random.SystemRandom", "asyncio.sleep"),
    }
)
MODULES = frozenset({"uuid", "secrets", "random"})
"""Any name of theirs; but `random.Random` is what is handed in."""

RENAMES = frozenset({"rename", "replace"})

PORTS: Mapping[str, frozenset[str]] = {
    # A result file appears whole or not at all.
    "provider/download.py": frozenset({"replace"}),
    # The registry's own id, made once.
    "registry/workers.py": frozenset({"secrets.token_hex"}),
    # The simulated provider's disk, and the process that it runs in.
    "sandbox/blobs.py": frozenset({"replace"}),
    "sandbox/server.py": frozenset({"time.time", "asyncio.sleep"}),
}
"""What may reach for it after all, and for what."""

MOCKS = frozenset({"mock", "unittest.mock", "pytest_mock", "respx", "responses", "freezegun"})


def trees(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Mapping[str, str]:
    """Return what each imported name stands for, in full."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update({each.asname or each.name: each.name for each in node.names})
        if isinstance(node, ast.ImportFrom):
            names.update({e.asname or e.name: f"{node.module}.{e.name}" for e in node.names})
    return names


def reaches_for(tree: ast.Module) -> Iterator[str]:
    """Yield every forbidden thing that a module names or calls."""
    names = imported(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            # Text takes two arguments and a time takes keywords: with one alone, it is a path's.
            alone = len(node.args) == 1 and not node.keywords
            if node.func.attr in RENAMES and alone:
                yield node.func.attr
        if isinstance(node, ast.Name | ast.Attribute):
            yield from forbidden(ast.unparse(node), names)


def forbidden(written: str, names: Mapping[str, str]) -> Iterator[str]:
    first, _, rest = written.partition(".")
    full = names.get(first, first) + (f".{rest}" if rest else "")
    short = ".".join(full.split(".")[-2:])
    module, _, name = full.partition(".")
    if short in REACHED_FOR or (module in MODULES and name and full != "random.Random"):
        yield short


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_reaches_for_no_clock_no_chance_and_no_rename(floor: str) -> None:
    found = []
    for path, tree in trees(PACKAGE / floor):
        name = path.relative_to(PACKAGE).as_posix()
        found += [f"{name}: {what}" for what in set(reaches_for(tree)) - PORTS.get(name, set())]
    assert found == []


def test_each_port_still_needs_what_it_may() -> None:
    for name, allowed in PORTS.items():
        tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"))
        assert allowed <= set(reaches_for(tree)), name


@pytest.mark.parametrize(
    "line",
    [
        *("import time; time.sleep(1)", "from time import time as now; now()"),
        *(
            "from datetime import datetime; datetime.now()",
            "import datetime; datetime.date.today()",
        ),
        *(
            "import uuid; uuid.uuid4()",
            "from random import random; random()",
            "import os; os.urandom",
        ),
        *("import random; random.choice([1])", "from secrets import token_hex; token_hex(8)"),
        *("path.replace(other)", "path.rename(other)", "import os; os.replace('a', 'b')"),
    ],
)
def test_the_rule_sees_what_is_forbidden(line: str) -> None:
    assert list(reaches_for(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    [
        *("text.replace('a', 'b')", "when.replace(tzinfo=UTC)", "ctx.clock.monotonic()"),
        *("import random; rng: random.Random", "ctx.now(); rng.random()", "self._sleep(1)"),
    ],
)
def test_the_rule_leaves_alone_what_is_handed_in(line: str) -> None:
    assert list(reaches_for(ast.parse(line))) == []


SKIPS = frozenset(
    {
        *("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail"),
        *("pytest.skip", "pytest.importorskip", "pytest.xfail"),
    }
)
SLEEPS = frozenset({"time.sleep", "asyncio.sleep"})


def test_no_test_sleeps_is_skipped_or_uses_a_mock_library() -> None:
    found = []
    for path, tree in trees(ROOT / "tests"):
        names = imported(tree)
        said = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute | ast.Name):
                first, _, rest = ast.unparse(node).partition(".")
                said.add(names.get(first, first) + (f".{rest}" if rest else ""))
        used = {*names.values(), *(name.rpartition(".")[0] for name in names.values())}
        wrong = (said & (SKIPS | SLEEPS)) | (used & MOCKS)
        found += [f"{path.relative_to(ROOT)}: {what}" for what in sorted(wrong)]
    assert found == []
