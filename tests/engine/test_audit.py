"""Audits: what stands at the provider under our name and in no row."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from support.books import assert_the_books_agree
from support.world import World

from orchestrator.domain.model import BatchState, JobState, StrayVerdict
from orchestrator.domain.remote import RemoteBatch
from orchestrator.domain.spec import Policy
from orchestrator.engine.context import read_spec
from orchestrator.engine.steps.create import metadata_of
from orchestrator.engine.tick import tick
from orchestrator.registry import accounts, batches, events, jobs, strays, workers
from orchestrator.registry.tables import batches as batch_table
from orchestrator.registry.tables import workers as worker_table
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.temper import Batches, Quirks, Temper

HOUR = 3_600
DAY = 24 * HOUR
SLOW = Temper(batches=Batches(validating=(1, 1), running=(7_200, 7_200), finalizing=(1, 1)))


def pass_time(world: World, seconds: float) -> None:
    world.clock.seconds += seconds
    world.tick()


def create_again(world: World, number: int = 0) -> RemoteBatch:
    """Send the create call of a batch once more, as a proxy that repeats a POST does."""
    batch = world.batches()[number]
    spec = read_spec(world.job().spec)
    return world.providers.get("sandbox").create(
        batch.input_file_id or "",
        endpoint=spec.endpoint,
        window=spec.window,
        metadata=metadata_of(world.context, spec, batch),
        idempotency_key="",
    )


class WrongClock:
    """The machine's clock, some seconds off; its monotonic one is right."""

    def __init__(self, world: World, seconds: float) -> None:
        self._world = world
        self._off = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return self._world.clock.now() + self._off

    def monotonic(self) -> float:
        return self._world.clock.monotonic()


def verdicts(world: World) -> dict[str, StrayVerdict]:
    with world.registry.read() as db:
        return {stray.remote_id: stray.verdict for stray in strays.everyone(db)}


@pytest.mark.fault("Q06", "A03")
def test_a_job_submitted_again_over_an_older_registry_pays_for_no_batch_twice(
    world: World, restored: World
) -> None:
    world.sandbox.temper = SLOW
    world.submit(120)
    world.tick()
    assert len(world.sandbox.books().batches) == 3
    restored.submit(120)
    job = restored.run()
    assert job.state is JobState.FINISHED
    assert job.books.succeeded == 120
    assert len(world.sandbox.books().batches) == 3
    assert world.sandbox.books().billed_twice() == {}
    assert set(verdicts(restored).values()) == {StrayVerdict.ADOPTED}


@pytest.mark.fault("Q06")
def test_a_stray_waits_for_its_job_and_then_holds_it_up_until_it_is_taken_in(
    world: World, restored: World
) -> None:
    world.sandbox.temper = SLOW
    world.submit(50)
    world.submit(10, name="other")
    world.tick()
    restored.submit(10, name="other")
    restored.tick()
    assert sorted(verdicts(restored).values()) == ["adopted", "waiting"]
    restored.submit(50)
    assert restored.run().books.succeeded == 50
    assert len(world.sandbox.books().batches) == 2
    assert set(verdicts(restored).values()) == {StrayVerdict.ADOPTED}


@pytest.mark.fault("Q06", "D04")
def test_a_stray_of_which_nothing_can_be_read_any_more_holds_its_job_up_for_a_person(
    world: World, restored: World
) -> None:
    world.submit(50)
    world.run()  # collected, recorded, and its files removed from the provider
    restored.submit(50)
    job = restored.run(days=2)
    assert job.state is JobState.RUNNING
    assert job.books.waiting == 50
    assert set(verdicts(restored).values()) == {StrayVerdict.LOST}
    assert len(world.sandbox.books().batches) == 1


@pytest.mark.fault("Q06")
def test_files_that_are_kept_at_the_provider_bring_everything_back(
    world: World, restored: World
) -> None:
    world.pace = replace_pace(world, keep_remote=30 * DAY)
    world.boot()
    world.submit(50)
    world.run()
    assert [batch.state for batch in world.batches()] == [BatchState.RECONCILED]
    restored.submit(50)
    assert restored.run().books.succeeded == 50
    assert len(world.sandbox.books().batches) == 1


def replace_pace(world: World, **changes: float):  # type: ignore[no-untyped-def]
    return msgspec.structs.replace(world.pace, **changes)


def test_kept_files_are_removed_when_their_time_is_over(world: World) -> None:
    world.pace = replace_pace(world, keep_remote=DAY)
    world.boot()
    world.submit(10)
    world.run(days=3)
    world.settle(days=3)
    assert [file.name for file in world.sandbox.books().files if not file.deleted] == []


def test_kept_files_make_room_when_the_accounts_quota_is_short(world: World) -> None:
    profile = world.providers.profile("sandbox")
    limits = msgspec.structs.replace(profile.limits, files=6)
    world.profiles["sandbox"] = msgspec.structs.replace(profile, limits=limits)
    world.pace = replace_pace(world, keep_remote=30 * DAY)
    world.boot()
    world.submit(200)  # four batches; two at once fill the quota
    job = world.run(days=5)
    assert job.books.succeeded == 200
    assert job.finished_at is not None
    assert job.finished_at - job.created_at < timedelta(days=1)


@pytest.mark.fault("C10", "A03")
def test_a_second_batch_of_one_create_is_cancelled_recorded_and_changes_no_outcome(
    world: World,
) -> None:
    world.sandbox.temper = SLOW
    world.submit(50)
    world.tick()
    extra = create_again(world)
    pass_time(world, HOUR + 1)
    assert verdicts(world) == {extra.id: StrayVerdict.EXTRA}
    assert world.run().books.succeeded == 50
    statuses = {batch.id: batch.status for batch in world.sandbox.books().batches}
    assert statuses[extra.id] == "cancelled"
    with world.registry.read() as db:
        kinds = [entry.kind for entry in events.page(db, limit=1000)]
    assert kinds.count("extra_remote_batch") == 1


def test_batches_and_files_of_strangers_are_never_touched(world: World, tmp_path: Path) -> None:
    world.sandbox.temper = SLOW
    provider = world.providers.get("sandbox")
    path = tmp_path / "theirs.jsonl"
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "hi"}]}
    line = {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": body}
    path.write_bytes(msgspec.json.encode(line) + b"\n")
    names = ["theirs.jsonl", f"orc-{'f' * 16}-theirs-b01-{'0' * 32}.jsonl"]
    files = [provider.upload(path, name) for name in names]
    for file, metadata in zip(
        files, ({}, {"orc_instance": "another", "orc_token": "1"}), strict=True
    ):
        provider.create(
            file.id,
            endpoint="/v1/chat/completions",
            window="24h",
            metadata=metadata,
            idempotency_key="",
        )
    world.submit(50)
    world.run()
    pass_time(world, 2 * DAY)
    pass_time(world, 2 * DAY)
    books = world.sandbox.books()
    assert [file.deleted for file in books.files if file.id in {f.id for f in files}] == [False] * 2
    assert [batch.status for batch in books.batches][:2] == ["completed", "completed"]
    assert verdicts(world) == {}


@pytest.mark.fault("Q07")
def test_a_copy_of_the_registry_at_work_elsewhere_stops_every_send(world: World) -> None:
    world.sandbox.temper = SLOW
    world.submit(50)
    world.tick()
    theirs = replace(world.context, worker="another-registrys-worker")
    spec = read_spec(world.job().spec)
    batch = world.batches()[0]
    world.clock.seconds += 2 * HOUR
    world.providers.get("sandbox").create(
        batch.input_file_id or "",
        endpoint=spec.endpoint,
        window=spec.window,
        metadata={**metadata_of(theirs, spec, batch), "orc_token": "f" * 32},
        idempotency_key="",
    )
    world.tick()
    assert set(verdicts(world).values()) == {StrayVerdict.FOREIGN}
    with world.registry.read() as db:
        account = accounts.find(db, "sandbox")
    assert account is not None
    assert (account.paused, account.code) == (True, "ORC5209")
    before = len(world.sandbox.books().batches)
    world.submit(10, name="more")
    world.run("more", days=1)
    assert len(world.sandbox.books().batches) == before


def test_a_stop_for_a_copy_keeps_its_reason_whatever_the_gate_does(world: World) -> None:
    world.submit(10)
    world.tick()
    stop = {"paused": True, "code": "ORC5209", "reason": "another copy"}
    world.registry.write(lambda db: accounts.change(db, "sandbox", **stop))
    world.sandbox.inject("list", Fault.THROTTLED, times=3)
    world.run(days=1)
    with world.registry.read() as db:
        account = accounts.find(db, "sandbox")
    assert account is not None
    assert (account.gate, account.code, account.reason) == ("open", "ORC5209", "another copy")


def test_nothing_is_sent_before_the_account_was_looked_over(world: World) -> None:
    world.sandbox.inject("list", Fault.SERVER_ERROR, times=40)
    world.submit(10)
    world.tick()
    assert world.sandbox.books().files == ()
    assert world.run(days=3).books.succeeded == 10


@pytest.mark.fault("C08")
def test_a_refusal_that_was_none_is_found_before_the_create_is_sent_again(world: World) -> None:
    world.sandbox.temper = SLOW
    world.submit(10)
    world.sandbox.inject("create", Fault.THROTTLED, seconds=60)
    world.tick()
    assert [batch.state for batch in world.batches()] == [BatchState.UPLOADED]
    made = create_again(world)  # the call had its effect, whatever its answer said
    assert world.run().books.succeeded == 10
    assert [batch.remote_id for batch in world.batches()] == [made.id]
    assert len(world.sandbox.books().batches) == 1


@pytest.mark.fault("A03")
def test_an_upload_that_arrives_after_its_batch_has_ended_is_removed(world: World) -> None:
    world.submit(10)
    world.sandbox.inject("upload", Fault.LATE, seconds=6 * HOUR)
    assert world.run().books.succeeded == 10
    for _ in range(3):
        pass_time(world, DAY)
    assert [file.name for file in world.sandbox.books().files if not file.deleted] == []


def test_files_that_a_job_leaves_at_the_provider_stay_there(world: World) -> None:
    world.submit(10, policy=Policy(delete_remote_files=False))
    world.run()
    for _ in range(3):
        pass_time(world, DAY)
    assert [file.deleted for file in world.sandbox.books().files] == [False]


def test_spool_files_of_batches_closed_elsewhere_are_removed(world: World) -> None:
    world.submit(10)
    world.run()
    (batch,) = world.batches()
    left = world.context.spool.input_path(batch.id)
    left.write_text("from another worker")
    pass_time(world, HOUR + 1)
    assert not left.exists()


def test_a_list_without_metadata_still_shows_what_was_forgotten(
    world: World, restored: World
) -> None:
    world.sandbox.temper = Temper(batches=SLOW.batches, quirks=Quirks(metadata_in_list=False))
    for each in (world, restored):
        profile = each.providers.profile("sandbox")
        quirks = msgspec.structs.replace(profile.quirks, metadata_in_list=False)
        each.profiles["sandbox"] = msgspec.structs.replace(profile, quirks=quirks)
        each.providers.made.clear()
        each.boot()
    world.submit(20)
    world.tick()
    restored.submit(20)
    assert restored.run().books.succeeded == 20
    assert len(world.sandbox.books().batches) == 1


@pytest.mark.fault("T07")
@pytest.mark.parametrize("hours", [-24, -1, 1, 24, 24 * 300])
def test_a_clock_that_was_wrong_and_is_put_right_holds_nothing_up(world: World, hours: int) -> None:
    world.sandbox.temper = SLOW
    world.submit(50)
    wrong = replace(world.context, clock=WrongClock(world, hours * HOUR))
    world.sandbox.inject("create", Fault.UNAVAILABLE)
    tick(wrong)
    world.clock.seconds += 60
    tick(wrong)
    job = world.run(days=3)
    assert job.state is JobState.FINISHED
    assert_the_books_agree(world)


def test_an_account_holds_no_more_batches_than_it_may_whoever_plans_them(world: World) -> None:
    world.sandbox.temper = SLOW
    world.providers.in_flight = 3
    for name in ("one", "two"):
        world.submit(200, name=name)
    world.tick()
    other = replace(world.context, worker="w2", audits=type(world.context.audits)())
    tick(other)
    with world.registry.read() as db:
        assert batches.count_in_flight(db, "sandbox") == 3


@pytest.mark.parametrize("waits", [(0, 2, 4, 6)])
def test_calls_stand_in_one_line_whoever_makes_them(world: World, waits: tuple[int, ...]) -> None:
    def turn(db: sa.Connection) -> timedelta:
        every, patience = timedelta(seconds=2), timedelta(seconds=30)
        return accounts.take_turn(
            db, "sandbox", now=world.clock.now(), interval=every, patience=patience
        )

    got = [world.registry.write(turn).total_seconds() for _ in waits]
    # PostgreSQL's own clock runs on between the calls.
    assert all(0 <= due - wait < 1.5 for due, wait in zip(waits, got, strict=True))
    for _ in range(12):
        last = world.registry.write(turn)
    again = world.registry.write(turn)
    assert last > timedelta(seconds=28)
    assert again - last < timedelta(seconds=2.1), "who won't wait takes no turn"


def test_workers_that_are_long_dead_are_forgotten(world: World) -> None:
    long_ago = world.clock.now() - timedelta(days=400)
    old = sa.update(worker_table).values(lease_until=long_ago, stopped_at=long_ago)
    world.registry.write(lambda db: db.execute(old))
    world.boot()
    with world.registry.read() as db:
        assert workers.boots(db, ["worker-1", "worker-2"]) == {"worker-2"}
        assert jobs.active(db) == []
        assert db.execute(sa.select(sa.func.count()).select_from(batch_table)).scalar_one() == 0
