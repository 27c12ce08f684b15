"""The catalogue of faults and the tests that outlive them: none without the other."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
CATALOGUE = ROOT / "docs" / "faults.md"
AREAS = "BUCPDRQTA"

_ROW = re.compile(r"^\| ([A-Z]\d\d(?: [A-Z]\d\d)*) \|(.+)\|(.+)\|$")


def catalogued() -> Mapping[str, str]:
    """Return each fault's id and what is done about it."""
    found: dict[str, str] = {}
    for line in CATALOGUE.read_text(encoding="utf-8").splitlines():
        row = _ROW.match(line)
        for name in row[1].split() if row else ():
            assert name not in found, f"{name} stands in the catalogue twice"
            found[name] = row[3].strip() if row else ""
    return found


def proved() -> Mapping[str, list[str]]:
    """Return each id that a test bears, and the tests."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for name in marks(node):
                    found[name].append(f"{path.relative_to(ROOT)}::{node.name}")
    return found


def marks(node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """Yield the ids in the marker of a test."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
            assert node.name.lower().startswith("test"), f"{node.name} is no test"
            for argument in decorator.args:
                assert isinstance(argument, ast.Constant), f"{node.name}: an id is a literal"
                yield str(argument.value)


def test_every_fault_of_the_catalogue_is_outlived_by_a_test() -> None:
    missing = sorted(catalogued().keys() - proved().keys())
    assert missing == [], "no test bears these ids"


def test_no_test_bears_an_id_that_the_catalogue_does_not_know() -> None:
    unknown = {name: tests for name, tests in proved().items() if name not in catalogued()}
    assert unknown == {}


def test_every_area_counts_its_faults_without_a_gap_and_says_what_is_done() -> None:
    told = catalogued()
    for area in AREAS:
        numbers = sorted(int(name[1:]) for name in told if name[0] == area)
        assert numbers == list(range(1, len(numbers) + 1)), area
    assert {name[0] for name in told} == set(AREAS)
    assert len(told) >= 91
    assert all(words for words in told.values())
