"""Recovering by hand: strays taken in or let go, an account looked over, a copy renamed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from support.books import assert_the_books_agree
from support.world import World

from orchestrator.api.comparing import compare
from orchestrator.api.explaining import explain
from orchestrator.api.invariants import check
from orchestrator.api.needs import needs_you
from orchestrator.api.recovering import (
    adopt,
    new_identity,
    recover,
    refuse_beside_workers,
    rehearse,
    shared,
)
from orchestrator.api.strays import forget, list_strays
from orchestrator.domain.errors import AlreadyRunning, GoneError, NotFound
from orchestrator.domain.model import JobState, Stray, StrayVerdict
from orchestrator.engine.context import read_spec
from orchestrator.engine.recovery import take_in
from orchestrator.engine.steps.create import metadata_of
from orchestrator.failpoints import watched
from orchestrator.registry import accounts, events, strays
from orchestrator.registry.identity import identity
from orchestrator.registry.tables import metadata
from orchestrator.sandbox.temper import Batches, Temper

HOUR = 3_600
SLOW = Temper(batches=Batches(validating=(1, 1), running=(7_200, 7_200), finalizing=(1, 1)))


def everything(world: World) -> dict[str, Any]:
    with world.registry.read() as db:
        return {table.name: db.execute(sa.select(table)).all() for table in metadata.sorted_tables}


def at(world: World) -> Any:
    return world.providers.get("sandbox")


def verdicts(world: World) -> dict[str, StrayVerdict]:
    return {view.stray.remote_id: view.stray.verdict for view in list_strays(world.registry)}


def causes(world: World) -> list[str]:
    return [need.cause for need in needs_you(world.registry, now=world.clock.now())]


def differences(world: World) -> list[str]:
    found = compare(
        world.registry, at(world), world.context.instance, now=world.clock.now(), pace=world.pace
    )
    assert found.different == len(found.differences)
    return sorted(each.kind for each in found.differences)


def sound(world: World) -> None:
    broken = [each for each in check(world.registry, now=world.clock.now()) if not each.ok]
    assert broken == []


def cloned(world: World) -> str:
    """Have a copy of the registry send a batch of its own; return its remote id."""
    world.sandbox.temper = SLOW
    world.submit(50)
    world.tick()
    theirs = replace(world.context, worker="another-registrys-worker")
    spec = read_spec(world.job().spec)
    batch = world.batches()[0]
    world.clock.seconds += 2 * HOUR
    made = at(world).create(
        batch.input_file_id or "",
        endpoint=spec.endpoint,
        window=spec.window,
        metadata={**metadata_of(theirs, spec, batch), "orc_token": "f" * 32},
        idempotency_key="",
    )
    world.tick()
    return str(made.id)


@pytest.mark.fault("Q06")
def test_a_rehearsal_says_what_would_be_done_and_changes_nothing(
    world: World, restored: World
) -> None:
    world.sandbox.temper = SLOW
    world.submit(120)
    world.submit(10, name="unknown")
    world.tick()
    restored.submit(120)
    before, there = everything(restored), world.sandbox.books()
    found = rehearse(restored.registry, at(restored), restored.context.instance)
    assert (found.listed, found.ours, found.count) == (4, 4, 4)
    told = sorted(one.words for one in found.foreseen)
    assert sum("a row of its own in labels" in words for words in told) == 3
    assert sum("waits until its job is submitted" in words for words in told) == 1
    assert everything(restored) == before
    assert world.sandbox.books() == there


@pytest.mark.fault("Q06")
def test_recover_takes_in_everything_that_an_old_backup_does_not_know(
    world: World, restored: World
) -> None:
    world.sandbox.temper = SLOW
    world.submit(120)
    world.tick()
    restored.submit(120)
    assert differences(restored) == ["orphan"] * 3
    done = recover(restored.context, "sandbox")
    assert done.listed == 3
    assert {view.stray.verdict for view in done.found} == {StrayVerdict.ADOPTED}
    assert {view.row for view in done.found} == {"labels/b01", "labels/b02", "labels/b03"}
    assert differences(restored) == []
    sound(restored)
    restored.clock.seconds += 1
    again = recover(restored.context, "sandbox")
    assert again.found == []
    assert restored.run().books.succeeded == 120
    assert len(world.sandbox.books().batches) == 3
    assert world.sandbox.books().billed_twice() == {}
    assert_the_books_agree(restored)


@pytest.mark.fault("Q06")
def test_a_stray_that_waits_calls_a_person_and_is_taken_in_by_hand(
    world: World, restored: World
) -> None:
    world.sandbox.temper = SLOW
    world.submit(50)
    world.submit(5, name="other")
    world.tick()
    restored.submit(5, name="other")
    restored.tick()
    (waiting,) = [i for i, v in verdicts(restored).items() if v is StrayVerdict.WAITING]
    assert causes(restored) == ["stray"]
    restored.submit(50)
    story = explain(restored.registry, "labels", now=restored.clock.now())
    assert any(waiting in sentence for sentence in story.next)
    assert f"orchestrator adopt {waiting}" in [choice.command for choice in story.choices]
    view = adopt(restored.context, waiting)
    assert (view.stray.verdict, view.row) == (StrayVerdict.ADOPTED, "labels/b01")
    assert adopt(restored.context, waiting).row == "labels/b01"
    assert causes(restored) == []
    assert restored.run().books.succeeded == 50
    assert len(world.sandbox.books().batches) == 2
    sound(restored)


@pytest.mark.fault("Q06", "D04")
def test_a_lost_stray_holds_its_job_up_until_a_person_lets_it_go(
    world: World, restored: World
) -> None:
    world.submit(50)
    world.run()  # collected, recorded, and its files removed from the provider
    restored.submit(50)
    assert restored.run(days=1).books.waiting == 50
    (need,) = needs_you(restored.registry, now=restored.clock.now())
    assert (need.cause, need.subject, need.code) == ("stray", "labels", "ORC5211")
    (lost,) = verdicts(restored)
    assert lost in need.next
    forget(restored.context, lost)
    assert verdicts(restored) == {lost: StrayVerdict.FORGOTTEN}
    assert causes(restored) == []
    assert restored.run().books.succeeded == 50
    with restored.registry.read() as db:
        (told,) = [e for e in events.page(db, limit=1000) if e.kind == "stray_forgotten"]
    assert lost in told.data
    assert forget(restored.context, lost).stray.verdict is StrayVerdict.FORGOTTEN


def test_an_extra_batch_is_told_for_a_day(world: World) -> None:
    world.sandbox.temper = SLOW
    world.submit(50)
    world.tick()
    batch, spec = world.batches()[0], read_spec(world.job().spec)
    extra = at(world).create(
        batch.input_file_id or "",
        endpoint=spec.endpoint,
        window=spec.window,
        metadata=metadata_of(world.context, spec, batch),
        idempotency_key="",
    )
    assert differences(world) == ["extra"]
    world.clock.seconds += HOUR + 1
    world.tick()
    (need,) = needs_you(world.registry, now=world.clock.now())
    assert (need.cause, need.code) == ("extra", "ORC5212")
    assert extra.id in need.headline
    assert differences(world) == []
    world.run()
    world.clock.seconds += 25 * HOUR
    assert causes(world) == []
    sound(world)


@pytest.mark.fault("Q07")
def test_a_copy_gets_a_name_of_its_own_and_goes_on(world: World) -> None:
    stray = cloned(world)
    old = world.context.instance
    (need,) = needs_you(world.registry, now=world.clock.now())
    assert (need.cause, need.subject, need.code) == ("cloned", "provider:sandbox", "ORC5209")
    assert "orchestrator recover --new-identity" in need.next
    story = explain(world.registry, "provider:sandbox", now=world.clock.now())
    assert any("another copy of this registry" in sentence for sentence in story.happened)
    common = shared(world.registry)
    assert common.identity == old
    assert [name for name, _ in common.live] == ["labels/b01"]
    assert [each.remote_id for each in common.strays] == [stray]
    done = new_identity(world.context)
    assert (done.old, done.lifted, done.forgotten) == (old, ["sandbox"], 1)
    with world.registry.read() as db:
        assert identity(db) == done.new != old
        account = accounts.find(db, "sandbox")
    assert account is not None
    assert (account.paused, account.code) == (False, None)
    assert causes(world) == []
    world.boot()
    world.submit(10, name="more")
    assert world.run("more").state is JobState.FINISHED
    sent = [batch.metadata["orc_instance"] for batch in world.sandbox.books().batches]
    assert sent == [old, old, done.new]


def test_a_stray_of_the_copy_that_stopped_us_may_be_let_go(world: World) -> None:
    stray = cloned(world)
    forget(world.context, stray)
    assert verdicts(world) == {stray: StrayVerdict.FORGOTTEN}
    assert causes(world) == ["cloned"], "what stopped us is another matter"


def test_a_stray_of_the_copy_whose_records_travel_with_us_is_cancelled(world: World) -> None:
    stray = cloned(world)
    assert adopt(world.context, stray).stray.verdict is StrayVerdict.EXTRA
    status = {batch.id: batch.status for batch in world.sandbox.books().batches}[stray]
    assert status in {"cancelling", "cancelled"}


def test_a_worker_that_is_alive_forbids_another_identity(world: World) -> None:
    with pytest.raises(AlreadyRunning, match="a worker is alive"):
        refuse_beside_workers(world.registry, world.clock.now())


def test_what_is_no_stray_is_said_to_be_none(world: World) -> None:
    world.sandbox.temper = SLOW
    world.submit(5)
    world.tick()
    remote_id = world.batches()[0].remote_id
    with pytest.raises(NotFound, match="is no stray"):
        adopt(world.context, str(remote_id))
    with pytest.raises(NotFound, match="there is no stray"):
        forget(world.context, "batch_nowhere")


def test_a_stray_that_is_gone_is_said_to_be_gone_and_stays_as_it_was(world: World) -> None:
    stray = Stray(
        provider="sandbox",
        remote_id="batch_gone",
        verdict=StrayVerdict.LOST,
        job_name="labels",
        label="b01",
        token="",
        boot="",
        word="completed",
        reason="its files are gone",
        remote_created_at=None,
        seen_at=world.clock.now(),
    )
    world.registry.write(lambda db: strays.keep(db, stray))
    with pytest.raises(GoneError, match="does not know batch_gone any more"):
        adopt(world.context, "batch_gone")
    assert verdicts(world) == {"batch_gone": StrayVerdict.LOST}


@pytest.mark.fault("P02", "P04", "D04")
def test_drift_is_told_of_batches_and_files(world: World) -> None:
    world.sandbox.temper = SLOW
    world.submit(120)
    world.tick()
    assert differences(world) == []
    world.clock.seconds += 30
    found = compare(world.registry, at(world), world.context.instance, now=world.clock.now())
    assert found.lagging == 3, "a batch that moved since the last look is no difference"
    world.clock.seconds += 3 * HOUR
    assert differences(world) == ["status"] * 3, "nobody has looked for hours"
    stranger = compare(world.registry, at(world), "f" * 16, now=world.clock.now())
    assert (stranger.ours, stranger.strangers) == (3, 0), "rows know them whatever the name"


@pytest.mark.fault("A03")
def test_two_who_take_one_stray_in_at_once_make_one_row_of_it(
    world: World, restored: World
) -> None:
    world.sandbox.temper = SLOW
    world.submit(50)
    world.tick()
    restored.submit(50)
    (remote,) = at(restored).list_batches()
    others: list[object] = []
    mark = object()

    def meanwhile(name: str, _about: object) -> None:
        if name == "download.done" and not others:
            others.append(mark)
            other = replace(restored.context, worker="another-worker")
            others.append(take_in(other, at(restored), remote))

    with watched(meanwhile):
        mine = take_in(restored.context, at(restored), remote)
    theirs = others[1]
    assert isinstance(theirs, Stray)
    assert [mine.verdict, theirs.verdict] == [StrayVerdict.ADOPTED] * 2
    assert mine.batch_id == theirs.batch_id
    assert [batch.remote_id for batch in restored.batches()] == [remote.id]
    status = {batch.id: batch.status for batch in world.sandbox.books().batches}[remote.id]
    assert status not in {"cancelling", "cancelled"}
