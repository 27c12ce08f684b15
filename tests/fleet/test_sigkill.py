"""SIGKILL at every boundary of a real process over a real socket: no `finally` helps it."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from queue import SimpleQueue

import pytest
from fleet.child import DONE
from fleet.nursery import Nursery
from fleet.scene import scene
from support.databases import Databases

DIALECTS = ("sqlite", "postgresql")
SLICES, A_SLICE = 8, 13
"""Deaths on each database: one slice by default, all of them with --thorough."""

POLLING = ("claim", "take", "prepare", "_next_at", "list_batches")
"""Done as often as a run takes long: to die at the first of these is to die at each."""

BY_CHANCE = ("Observed", "observe.<locals>.<lambda>")
"""Recorded only where a look happens to fall into the short life of a batch."""

Discover = Callable[[str], list[str]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "part" in metafunc.fixturenames:
        slices = SLICES if metafunc.config.getoption("--thorough") else 1
        metafunc.parametrize(("part", "slices"), [(n, slices) for n in range(slices)])
        metafunc.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="session")
def discover(
    nursery: Nursery, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Discover:
    """The boundaries that an undisturbed run passes on a database, in order."""

    @cache
    def run(dialect: str) -> list[str]:
        with scene(tmp_path_factory.mktemp("discovery"), databases.fresh(dialect)) as found:
            assert nursery.run(found.order()) == DONE
            found.assert_nothing_lost_and_nothing_twice()
            return found.trace()

    return run


def deaths(boundaries: list[str], count: int) -> list[tuple[str, int]]:
    """Return `count` places to die at, each the n-th of its kind.

    Evenly spread over the run; where there is room, the first of every kind is among them.
    """
    passed: Counter[str] = Counter()
    places = []
    for label in boundaries:
        passed[label] += 1
        if passed[label] == 1 or not any(word in label for word in POLLING):
            places.append((label, passed[label]))
    first = [place for place in places if place[1] == 1]
    others = [place for place in places if place[1] > 1]
    if count < len(first):
        return [places[n * len(places) // count] for n in range(count)]
    left = count - len(first)
    return first + [others[n * len(others) // left] for n in range(left)]


@pytest.mark.fault("B01", "B03", "B04", "B05", "C02", "C03", "U02", "R01", "D06", "A01", "T04")
def test_a_process_killed_at_any_boundary_loses_nothing_and_pays_nothing_twice(
    nurseries: list[Nursery],
    databases: Databases,
    discover: Discover,
    tmp_path: Path,
    dialect: str,
    part: int,
    slices: int,
) -> None:
    places = deaths(discover(dialect), slices * A_SLICE)[part::slices]
    urls = [databases.fresh(dialect) for _ in places]
    free: SimpleQueue[Nursery] = SimpleQueue()
    for nursery in nurseries:
        free.put(nursery)

    def murder(number: int) -> str:
        nursery = free.get()
        try:
            die_and_go_on(nursery, tmp_path / str(number), urls[number], places[number], number)
        except AssertionError as failed:
            return f"{places[number]}: {failed}"
        finally:
            free.put(nursery)
        return ""

    with ThreadPoolExecutor(len(nurseries)) as pool:
        found = list(pool.map(murder, range(len(places))))
    assert len(found) == A_SLICE
    assert [line for line in found if line] == []


def die_and_go_on(
    nursery: Nursery, folder: Path, url: str, place: tuple[str, int], number: int
) -> None:
    """Have one process die at `place`, a few in recovery too, and the next one go on to the end."""
    label, nth = place
    with scene(folder, url) as found:
        status = nursery.run(found.order(die_at=label, nth=nth))
        assert status == -signal.SIGKILL or label.endswith(BY_CHANCE)
        assert found.trace()[-1] == label or status == DONE
        if number % 4 == 3:
            # Recovery is no safer a place to die in. Most of the work is done by then, or none.
            recovering = found.order(die_at="registry.committed Collected", traces="recovery")
            assert nursery.run(recovering) in {-signal.SIGKILL, DONE}
        assert nursery.run(found.order(traces="end")) == DONE
        found.assert_nothing_lost_and_nothing_twice()


def test_the_deaths_cover_every_kind_of_boundary(discover: Discover) -> None:
    for dialect in DIALECTS:
        boundaries = discover(dialect)
        chosen = deaths(boundaries, SLICES * A_SLICE)
        assert len(set(chosen)) == SLICES * A_SLICE
        assert {label for label, _ in chosen} == set(boundaries)
        assert {label.split()[0] for label in boundaries} >= BOUNDARIES


BOUNDARIES = {
    "registry.commit",
    "registry.committed",
    "call.send",
    "call.answered",
    "spool.open",
    "spool.write",
    "spool.sync",
    "spool.rename",
    "spool.sync_directory",
    "spool.done",
    "spool.drop",
    "spool.dropped",
    "download.open",
    "download.write",
    "download.sync",
    "download.rename",
    "download.sync_directory",
    "download.done",
}
