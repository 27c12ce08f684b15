"""One nursery for all tests of the fleet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleet.nursery import Nursery
from fleet.nursery import nursery as open_nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    with open_nursery() as opened:
        yield opened
