"""T06: a worker that sleeps longer than its lease wakes up to a world that went on without it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from fleet.child import DONE
from fleet.nursery import Nursery
from fleet.scene import Scene, scene
from support.databases import Databases

HERE = (
    # nothing is on its way: what is left to do is refused
    "registry.committed Built",
    "call.send upload",
    "call.answered upload",
    # the intent is committed, the call not sent: the lease is looked at once more
    "registry.committed CreateBegan",
    # the last look at the lease is past: the input file is gone by the time it is sent
    "call.send create",
    "call.answered create",
    "call.answered download",
    "call.send delete_file",
    # in the middle of a transaction, whose locks the server takes away after a while
    "registry.commit finish.<locals>.work",
    "registry.commit Collected",
)
FEW = (3, 4, 6)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        nightly = metafunc.config.getoption("--nightly")
        metafunc.parametrize("place", HERE if nightly else [HERE[n] for n in FEW])


def sleep_and_wake(nursery: Nursery, found: Scene, place: str) -> list[str]:
    """Stop one worker at `place`, let another do all the work, wake the first; its last traces."""
    first = nursery.start(found.order(traces="first", stop_at=place))
    assert nursery.wait(first) == -signal.SIGSTOP
    slept_at = len(found.trace("first"))
    assert nursery.run(found.order(traces="second")) == DONE
    found.assert_nothing_lost_and_nothing_twice()
    os.kill(first, signal.SIGCONT)
    assert nursery.wait(first) == DONE
    return found.trace("first")[slept_at:]


@pytest.mark.fault("T01", "T06", "P13", "C04")
def test_a_worker_that_slept_past_its_lease_changes_nothing_any_more(
    nursery: Nursery, databases: Databases, tmp_path: Path, place: str
) -> None:
    with scene(tmp_path, databases.fresh("postgresql")) as found:
        woken = sleep_and_wake(nursery, found, place)
        found.assert_nothing_lost_and_nothing_twice()
        assert not {label.split()[1] for label in woken if "registry.committed " in label} & MOVES
        if place in TOLD:
            assert "claim_lost" in found.told("first")


MOVES = {"Built", "UploadBegan", "Uploaded", "CreateBegan", "Created", "Collected", "CleanedUp"}
TOLD = {"registry.committed Built", "call.send create", "call.answered create"}
"""After these it has something to record, and learns that the batch is somebody else's."""


@pytest.mark.fault("T06")
def test_a_create_is_not_sent_by_a_worker_that_slept_since_it_committed_its_intent(
    nursery: Nursery, databases: Databases, tmp_path: Path
) -> None:
    with scene(tmp_path, databases.fresh("postgresql")) as found:
        woken = sleep_and_wake(nursery, found, "registry.committed CreateBegan")
        assert "call.send create" not in woken
        assert "claim_lost" in found.told("first")
