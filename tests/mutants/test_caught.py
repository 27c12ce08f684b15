"""Promises that one wrong line would break, each tried by itself: what seeded bugs run into."""

from __future__ import annotations

import os
import random
import stat
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from support.databases import Databases
from support.world import VirtualClock, World

from orchestrator.domain.errors import ClaimLost, RegistryError
from orchestrator.domain.model import Batch, BatchState
from orchestrator.domain.pacing import Pace
from orchestrator.domain.spec import Policy
from orchestrator.domain.transitions import Built
from orchestrator.engine.steps.find import made_of
from orchestrator.engine.steps.prepare import prepare
from orchestrator.failpoints import watched
from orchestrator.provider.download import UnfitBody, save
from orchestrator.registry import batches
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import events, failures
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.temper import Batches, Lines, Quirks, Temper
from orchestrator.service.work import _Lease
from orchestrator.spool import Spool

SOON = Batches(validating=(1, 1), running=(600, 600), finalizing=(1, 1))
SLOW = Batches(validating=(1, 1), running=(7_200, 7_200), finalizing=(1, 1))
DAY = 86_400
LEISURELY = Pace(
    poll_min=1_800,
    poll_max=3_600,
    back_off_min=1_800,
    back_off_max=3_600,
    gate_probe=3_600,
    gone_seconds=14_400,
)


@pytest.fixture
def world(databases: Databases, tmp_path: Path) -> Iterator[World]:
    """A world on SQLite: nothing here is the database's."""
    registry = Registry(databases.fresh("sqlite"), sync=False)
    yield World(registry, tmp_path, temper=Temper(batches=SOON))
    registry.close()


def planned(world: World) -> Batch:
    prepare(world.context, world.job())
    (batch,) = world.batches()
    return batch


# Intents, claims, files


@pytest.mark.fault("C03", "U03")
def test_nothing_with_an_effect_is_sent_before_its_intent_is_committed(world: World) -> None:
    sent = []

    def look(name: str, about: object) -> None:
        if name == "call.send" and about in {"upload", "create"}:
            (batch,) = world.batches()
            sent.append((about, str(batch.state), len(batch.token)))

    world.submit(10)
    with watched(look):
        assert world.run().books.succeeded == 10
    assert sent == [("upload", "uploading", 32), ("create", "creating", 32)]


@pytest.mark.fault("P13")
def test_a_claim_is_worth_nothing_once_its_worker_has_claimed_anew(world: World) -> None:
    world.submit(5)
    planned(world)
    now, built = world.clock.now(), Built(sha256="0" * 64, bytes=1)

    def claim() -> Batch:
        def work(db: sa.Connection) -> list[Batch]:
            return batches.claim(db, worker=world.context.worker, now=now, limit=1)

        (taken,) = world.registry.write(work)
        return taken

    before, again = claim(), claim()
    with pytest.raises(ClaimLost):
        world.context.record(before, built)
    assert world.context.record(again, built).state is BatchState.BUILT


@pytest.mark.fault("T01")
def test_what_one_worker_is_claiming_another_passes_over(
    databases: Databases, tmp_path: Path
) -> None:
    registry = Registry(databases.fresh("postgresql"))
    world = World(registry, tmp_path)
    world.submit(5)
    planned(world)
    now = world.clock.now()
    with registry.connect() as one, registry.connect() as two:
        two.exec_driver_sql("SET lock_timeout = '2s'")
        assert len(batches.claim(one, worker="worker-1", now=now, limit=9)) == 1
        assert batches.claim(two, worker="other", now=now, limit=9) == []
        one.commit()
        assert batches.claim(two, worker="other", now=now, limit=9) == []
    registry.close()


@pytest.mark.fault("B05", "D06")
def test_no_committed_row_names_a_file_that_is_not_whole_on_disk(world: World) -> None:
    """At every commit, of every file that a row names until it is cleaned up."""
    held = {"input": 0, "output": 0}

    def look(name: str, _about: object) -> None:
        if name != "registry.committed":
            return
        for batch in world.batches():
            spool = world.context.spool
            if batch.state is BatchState.BUILT:
                assert spool.holds(spool.input_path(batch.id), batch.sha256, batch.bytes)
                held["input"] += 1
            if batch.state is BatchState.COLLECTED:
                path = spool.result_path(batch.id, "output")
                assert spool.holds(path, batch.output_sha256, batch.output_bytes)
                held["output"] += 1

    world.submit(10)
    with watched(look):
        world.run()
    assert all(held.values())


def synced(monkeypatch: pytest.MonkeyPatch, prefix: str, write: Any) -> list[str]:
    """Return the steps that writing a file takes, and what is brought to the disk between them."""
    steps: list[str] = []
    true_fsync = os.fsync

    def fsync(handle: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(handle).st_mode)
        steps.append("the directory" if is_directory else "the file")
        true_fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with watched(lambda name, _about: steps.append(name.removeprefix(prefix))):
        write()
    return steps


@pytest.mark.fault("B09")
def test_a_spool_file_is_synced_then_renamed_and_the_directory_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, owner="me")

    def write() -> None:
        with spool.writing(spool.input_path(1)) as file:
            file.write(b"one\n")

    found = synced(monkeypatch, "spool.", write)
    assert found[2:] == ["sync", "the file", "rename", "sync_directory", "the directory", "done"]


def download(to: Path, *, expected: int | None) -> None:
    whole = b'{"custom_id":"r-1"}\n'
    save(iter([whole]), to, max_bytes=1_000, expected=expected, rng=random.Random(1))


@pytest.mark.fault("B09")
def test_a_download_is_synced_then_renamed_and_the_directory_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = synced(
        monkeypatch, "download.", lambda: download(tmp_path / "output-1.jsonl", expected=20)
    )
    assert found[2:] == ["sync", "the file", "rename", "sync_directory", "the directory", "done"]


@pytest.mark.fault("D01")
def test_a_download_shorter_than_announced_is_not_there_to_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnfitBody, match="20 of 40 bytes") as caught:
        download(tmp_path / "output-1.jsonl", expected=40)
    assert caught.value.code == "ORC3206"
    assert list(tmp_path.iterdir()) == []


# Creates that are not answered


@pytest.mark.fault("C02")
def test_a_batch_is_found_however_many_were_made_since(world: World, tmp_path: Path) -> None:
    profile = world.providers.profile("sandbox")
    quirks = msgspec.structs.replace(profile.quirks, list_batches_limit=2)
    world.profiles["sandbox"] = msgspec.structs.replace(profile, quirks=quirks)
    world.sandbox.temper = Temper(batches=SLOW)
    world.submit(5)
    world.tick()
    (batch,) = world.batches()
    provider = world.providers.get("sandbox")
    theirs = tmp_path / "theirs.jsonl"
    theirs.write_bytes(b'{"custom_id":"x","method":"POST"}\n')
    file = provider.upload(theirs, "theirs.jsonl")
    for _ in range(5):
        world.clock.seconds += 1
        provider.create(
            file.id,
            endpoint="/v1/chat/completions",
            window="24h",
            metadata={},
            idempotency_key="",
        )
    assert [remote.id for remote in made_of(provider, batch)] == [batch.remote_id]


@pytest.mark.fault("C02", "C11")
def test_a_batch_whose_metadata_nobody_shows_is_found_by_its_input_file(world: World) -> None:
    world.sandbox.temper = Temper(batches=SOON, quirks=Quirks(metadata_in_list=False))
    world.sandbox.inject("create", Fault.ANSWER_LOST)
    world.submit(10)
    assert world.run().books.succeeded == 10
    assert len(world.sandbox.books().batches) == 1
    assert world.sandbox.books().billed_twice() == {}


class OtherKey:
    def reveal(self) -> str:
        return "sk-another-account"


def change_account(world: World, sandbox: Sandbox, key: Any) -> None:
    world.sandbox, world.key = sandbox, key
    world.providers.made.clear()
    world.boot()


@pytest.mark.fault("T12")
def test_the_key_of_another_account_proves_no_absence(world: World) -> None:
    world.sandbox.temper = Temper(batches=SLOW)
    world.pace = LEISURELY
    world.boot()
    world.submit(10)
    world.tick()
    ours, our_key = world.sandbox, world.key
    theirs = Sandbox(world.clock.unix, seed=8, temper=world.sandbox.temper)
    change_account(world, theirs, OtherKey())
    world.run(days=0.5)
    (batch,) = world.batches()
    assert (batch.state, batch.gone_since) == (BatchState.LIVE, None)
    assert theirs.books().batches == ()
    change_account(world, ours, our_key)
    assert world.run().books.succeeded == 10
    assert len(ours.books().batches) == 1


# Outages, waits, leases


@pytest.mark.fault("P01", "P06", "T10")
@pytest.mark.parametrize("lists", [True, False], ids=["by the list", "one by one"])
def test_a_provider_that_is_down_for_longer_than_a_batch_may_be_gone_loses_none(
    world: World, lists: bool
) -> None:
    profile = world.providers.profile("sandbox")
    quirks = msgspec.structs.replace(profile.quirks, list_batches=lists)
    world.profiles["sandbox"] = msgspec.structs.replace(profile, quirks=quirks)
    world.pace = LEISURELY
    world.boot()
    world.submit(10)
    world.tick()
    for op in ("list", "retrieve", "cancel"):
        world.sandbox.inject(op, Fault.UNAVAILABLE, times=100_000)  # type: ignore[arg-type]
    end = world.clock.seconds + DAY / 2
    while world.clock.seconds < end:
        report = world.tick()
        assert report.next_at is not None
        pause = report.next_at.timestamp() - world.clock.seconds
        assert pause <= world.pace.cap + 1
        world.clock.seconds += max(pause, 1)
    (batch,) = world.batches()
    assert (batch.state, batch.gone_since) == (BatchState.LIVE, None)
    world.sandbox._misfortunes.ordered.clear()
    job = world.run()
    assert job.books.succeeded == 10
    assert len(world.batches()) == 1


def test_a_batch_is_collected_as_soon_as_it_is_seen_to_have_ended(world: World) -> None:
    world.submit(10)
    world.run()
    with world.registry.read() as db:
        at = dict(db.execute(sa.select(events.c.kind, events.c.at)).all())
    assert at["remote_ended"] - at["created"] < timedelta(minutes=15)
    assert at["collected"] - at["remote_ended"] < timedelta(seconds=10)


@pytest.mark.fault("P09")
def test_a_batch_that_expires_burns_no_attempt_of_its_records(world: World) -> None:
    def until(number: int) -> None:
        """Let time pass until so many batches were made."""
        while sum(batch.remote_id is not None for batch in world.batches()) < number:
            report = world.tick()
            assert report.next_at is not None
            world.clock.seconds = max(report.next_at.timestamp(), world.clock.seconds + 1)

    world.sandbox.temper = Temper(batches=Batches(expired=1.0))
    world.pace = LEISURELY
    world.boot()
    world.submit(50, policy=Policy(attempts=2, rounds=9))
    until(1)
    world.sandbox.temper = Temper(batches=SOON, lines=Lines(overloaded=1.0))
    until(2)
    world.sandbox.temper = Temper(batches=SOON)
    assert world.run().books.succeeded == 50
    with world.registry.read() as db:
        causes = set(db.execute(sa.select(failures.c.cause)).scalars())
    assert causes == {"expired", "overloaded"}


@pytest.mark.fault("A02")
def test_nothing_is_deleted_at_the_provider_before_it_is_recorded(world: World) -> None:
    found = []

    def look(name: str, about: object) -> None:
        if (name, about) == ("call.send", "delete_file"):
            (batch,) = world.batches()
            found.append((str(batch.state), world.job().books.succeeded))

    world.submit(10)
    with watched(look):
        world.run()
    assert found
    assert set(found) == {("reconciled", 10)}


class Machine(VirtualClock):
    """A machine whose clock on the wall may be set while its monotonic one runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0

    def now(self) -> Any:
        return super().now() + timedelta(seconds=self.ahead)


class Beats:
    """Stands for the event that a lease's thread waits on: some beats, then the end."""

    def __init__(self, clock: VirtualClock, beats: int) -> None:
        self._clock = clock
        self._left = beats

    def wait(self, seconds: float) -> bool:
        self._left -= 1
        if self._left < 0:
            return True
        self._clock.seconds += seconds
        return False

    def set(self) -> None:
        self._left = 0


def a_lease(registry: Any, clock: Machine, *, beats: int) -> _Lease:
    app: Any = SimpleNamespace(registry=registry, clock=clock, pace=Pace(lease_seconds=60))
    lease = _Lease(app, "daemon")
    lease._ended = Beats(clock, beats)  # type: ignore[assignment]
    return lease


@pytest.mark.fault("T07")
def test_a_clock_that_is_set_neither_ends_nor_lengthens_a_lease(world: World) -> None:
    clock = Machine()
    lease = a_lease(world.registry, clock, beats=0)
    lease.begin(alone=True)
    lease._thread.join()
    left = []
    for jump in (0, -3_600, DAY):
        clock.ahead += jump
        clock.seconds += 25
        left.append(lease.left())
    assert left == [35, 10, -15]


class Away:
    """A registry that takes the first write, and is not there any more for the others."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._written = threading.Event()

    def write(self, work: Any) -> Any:
        if self._written.is_set():
            raise RegistryError("the registry does not answer")
        self._written.set()
        return self._registry.write(work)


@pytest.mark.fault("T09", "Q02")
def test_a_lease_that_is_not_renewed_runs_down_whatever_its_thread_does(world: World) -> None:
    clock = Machine()
    renewed = a_lease(world.registry, clock, beats=4)
    renewed.begin(alone=True)
    renewed._thread.join()
    assert renewed.left() == 60
    lost = a_lease(Away(world.registry), clock, beats=4)
    lost.begin(alone=True)
    lost._thread.join()
    assert lost.left() < 0
