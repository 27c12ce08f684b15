"""What people are told of stages, and how they steer them."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from support.world import World

from flows.test_feeding import declare, stage
from orchestrator import api
from orchestrator.api import explaining
from orchestrator.domain.model import JobState, StageState
from orchestrator.registry.invariants import LAWS, broken
from orchestrator.registry.tables import jobs as jobs_table
from orchestrator.registry.tables import stages as stages_table
from orchestrator.sandbox.temper import Batches, Lines, Temper


def test_a_stage_says_what_it_waits_for_and_what_waits_for_it(world: World) -> None:
    declare(world, "rewrite", "labels", stream=False)
    declare(world, "judge", "rewrite", stream=False)
    world.submit(12)
    world.tick()
    views = {view.stage.name: view for view in api.unfed(world.registry)}
    assert views["rewrite"].words == "waits for labels: 12 open"
    assert views["judge"].words == "waits for rewrite to begin"
    now = world.clock.now()
    told = explaining.explain(world.registry, "labels", now=now)
    assert "these stages wait for it: rewrite, judge" in told.next
    told = explaining.explain(world.registry, "rewrite", now=now)
    assert told.state == "waiting"
    assert "waits for labels: 12 open" in told.next
    assert "these stages wait for it: judge" in told.next


def test_failed_records_that_are_passed_over_are_told(world: World) -> None:
    world.sandbox.temper = Temper(
        lines=Lines(content_filter=0.5), batches=Batches(running=(600, 6_000))
    )
    world.requests_per_batch = 10
    world.boot()
    declare(world, "rewrite", "labels", stream=False)
    world.submit(40)
    while not world.job().books.failed:
        assert world.advance()
    (view,) = api.unfed(world.registry)
    assert "without an answer passed over" in view.words


def test_a_held_stage_needs_a_person_and_says_what_it_holds_up(world: World) -> None:
    declare(world, "rewrite", "labels", stream=False, prompt="{missing}")
    declare(world, "judge", "rewrite", stream=True)
    world.submit(5)
    world.rest(days=1)
    needs = api.needs_you(world.registry, now=world.clock.now())
    (need,) = [each for each in needs if each.cause == "stage"]
    assert need.subject == "rewrite"
    assert "it holds up judge" in need.headline
    assert "missing" in need.headline
    assert need.next.startswith("orchestrator resume rewrite")
    views = {view.stage.name: view for view in api.unfed(world.registry)}
    assert views["judge"].words.startswith("waits for rewrite, which is held")
    assert views["judge"].next == "orchestrator resume rewrite"


@pytest.mark.parametrize("stream", [False, True])
def test_resume_goes_on_with_what_a_cancelled_job_has_answered(world: World, stream: bool) -> None:
    world.sandbox.temper = Temper(batches=Batches(running=(600, 6_000)))
    world.requests_per_batch = 10
    world.boot()
    declare(world, "rewrite", "labels", stream=stream)
    world.submit(40)
    while not world.job().books.succeeded:
        assert world.advance()
    api.cancel_job(world.context, "labels")
    world.rest(days=1)
    assert stage(world, "rewrite").state is StageState.HELD
    done = api.resume(world.context, names=["rewrite"], providers=[])
    assert done.stages == ["rewrite"]
    world.rest(days=2)
    assert world.job("rewrite").state is JobState.FINISHED
    assert world.job("rewrite").books.succeeded == world.job().books.succeeded > 0


def test_a_held_stage_that_is_resumed_unmended_is_held_again(world: World) -> None:
    declare(world, "rewrite", "labels", stream=True, prompt="{missing}")
    world.submit(5)
    world.rest(days=1)
    api.resume(world.context, names=["rewrite"], providers=[])
    assert stage(world, "rewrite").state is not StageState.HELD
    world.rest(days=1)
    assert stage(world, "rewrite").state is StageState.HELD


def test_a_stage_that_is_cancelled_before_it_begins_holds_what_waits_for_it(
    world: World,
) -> None:
    declare(world, "rewrite", "labels", stream=False)
    declare(world, "judge", "rewrite", stream=True)
    world.submit(5)
    assert api.waits_as_stage(world.registry, "rewrite")
    rehearsed = api.cancel_stage(world.context, "rewrite", dry_run=True)
    assert rehearsed.jobs == ["rewrite"]
    assert api.waits_as_stage(world.registry, "rewrite")
    api.cancel_stage(world.context, "rewrite")
    world.rest(days=1)
    assert world.job("rewrite").state is JobState.CANCELLED
    assert (stage(world, "judge").state, stage(world, "judge").code) == (
        StageState.HELD,
        "ORC2070",
    )


def test_a_growing_job_without_an_open_record_says_what_it_waits_for(world: World) -> None:
    declare(world, "rewrite", "labels", stream=True)
    world.submit(5)
    world.tick()
    world.tick()
    view = api.job_view(world.registry, world.job("rewrite"), now=world.clock.now())
    assert view.waits_for.words == "waits for labels: 5 open"
    told = explaining.explain(world.registry, "rewrite", now=world.clock.now()).next
    assert "it waits for labels: 5 open" in told
    assert "as a stage it waits for labels: 5 open" in told
    assert view.state == "running"


def test_verify_finds_a_stage_that_counts_wrong_and_a_job_that_grows_alone(world: World) -> None:
    declare(world, "rewrite", "labels", stream=True)
    world.submit(5)
    world.rest()
    laws = {"records counted by a stage = its job's", "a job that grows is fed by a stage"}
    assert broken_laws(world) & laws == set()
    world.registry.write(lambda db: db.execute(sa.update(stages_table).values(rows=4)))
    grows = {"growing": True, "state": JobState.RUNNING}
    mine = jobs_table.c.name == "rewrite"
    world.registry.write(lambda db: db.execute(sa.update(jobs_table).where(mine).values(grows)))
    assert broken_laws(world) & laws == laws


def broken_laws(world: World) -> set[str]:
    with world.registry.read() as db:
        return {law.words for law in LAWS if broken(db, law, None)[0]}
