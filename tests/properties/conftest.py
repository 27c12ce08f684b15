"""How often a property is tried: the same examples in every run, more in the whole proof."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

Often = Callable[[int, int], settings]


@pytest.fixture
def often(pytestconfig: pytest.Config) -> Often:
    """Return settings for `few` examples, `many` with `--thorough`; no deadline, no chance."""
    thorough = pytestconfig.getoption("--thorough")

    def choose(few: int, many: int, *, steps: int = 40) -> settings:
        return settings(
            max_examples=many if thorough else few,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )

    return choose
