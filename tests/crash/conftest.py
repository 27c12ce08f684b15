"""The laboratory of the crash matrix, and its options."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.databases import Databases

from crash.lab import Lab


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--replay", help="run one case: database/scenario/number/mode")
    parser.addoption(
        "--double-faults", type=int, help="how many sampled pairs of faults in one run to try"
    )
    parser.addoption(
        "--forget-every", type=int, help="try every n-th pair of a moment and commits forgotten"
    )


@pytest.fixture(scope="session")
def labs(databases: Databases) -> Iterator[dict[str, Lab]]:
    """The laboratories of this process, each made when it is first asked for."""
    made = _Labs(databases)
    yield made
    for lab in made.values():
        lab.close()


class _Labs(dict[str, Lab]):
    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self._databases = databases

    def __missing__(self, dialect: str) -> Lab:
        self[dialect] = Lab(self._databases, dialect)
        return self[dialect]
