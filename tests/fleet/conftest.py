"""Two nurseries for all tests of the fleet: as many as are needed to keep two cores busy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from fleet.nursery import Nursery
from fleet.nursery import nursery as open_nursery


@pytest.fixture(scope="session")
def nurseries() -> Iterator[list[Nursery]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open_nursery()) for _ in range(2)]


@pytest.fixture(scope="session")
def nursery(nurseries: list[Nursery]) -> Nursery:
    return nurseries[0]
