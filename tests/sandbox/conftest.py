"""Fixtures over a sandbox in process."""

from collections.abc import Callable, Iterator

import pytest
from sandbox_kit import Kit


@pytest.fixture
def make_kit() -> Iterator[Callable[..., Kit]]:
    made = []

    def make(*args, **options) -> Kit:
        made.append(Kit(*args, **options))
        return made[-1]

    yield make
    for kit in made:
        kit.http.close()


@pytest.fixture
def kit(make_kit) -> Kit:
    return make_kit()
