from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from orchestrator import api
from orchestrator.api import explaining
from orchestrator.domain.errors import AuthError
from orchestrator.domain.model import Gate
from orchestrator.provider.profiles import load_profile
from orchestrator.registry import accounts, jobs


def price(provider, model):
    found = load_profile(provider).models.get(model)
    return found.price if found else None


def view_of(world, name="labels"):
    job = api.find_job(world.registry, name)
    return api.job_view(world.registry, job, now=world.clock.now(), prices=price)


def test_a_fresh_job_waits_for_room_and_has_cost_nothing(world):
    world.submit(120)
    view = view_of(world)
    assert (view.open.waiting, view.open.in_flight, view.open.reported) == (120, 0, 0)
    assert view.waits_for.who == "time"
    assert view.pace is None
    assert view.costs.so_far is None


def test_a_job_under_way_waits_for_the_provider_and_tells_what_it_reports(world):
    world.submit(120)
    world.tick()
    view = view_of(world)
    assert view.waits_for.who == "provider"
    assert view.batches == {"live": 3}
    assert view.finish.earliest is None
    assert view.finish.first_window_ends is not None
    reported = 0
    for _ in range(60):
        world.clock.seconds += 60
        world.tick()
        view = view_of(world)
        assert view.open.total == view.books.open
        assert view.books.balanced
        reported = max(reported, view.open.reported)
    assert 0 < reported <= 120


@pytest.mark.parametrize("call", ["upload", "create"])
def test_a_provider_that_refuses_a_batch_for_now_is_what_it_waits_for(world, call):
    world.sandbox.inject(call, "dropped", times=100)
    world.submit(5)
    for _ in range(3):
        world.tick()
        world.clock.seconds += 1
    (batch,) = world.batches()
    assert batch.tries > 0
    tries = "1 try" if batch.tries == 1 else f"{batch.tries} tries"
    for waits in (view_of(world).waits_for, batch_waits(world)):
        assert f"sandbox can't be reached: {batch.reason}, {tries}" in waits.words
        assert (waits.trouble, waits.until) == (True, batch.due_at)


def batch_waits(world):
    job = api.find_job(world.registry, "labels")
    return api.batch_view(world.registry, job, world.batches()[0], now=world.clock.now()).waits_for


def test_a_provider_that_lists_nothing_is_what_a_live_batch_waits_for(world):
    world.submit(5)
    world.tick()

    def strike(db):
        later = world.clock.now() + timedelta(minutes=7)
        accounts.change(db, "sandbox", strikes=4, reason="GET /v1/batches", refresh_due_at=later)

    world.registry.write(strike)
    for waits in (view_of(world).waits_for, batch_waits(world)):
        assert "sandbox does not tell about its batches: GET /v1/batches, 4 tries" in waits.words
        assert waits.trouble
    assert "last call went well" not in str(explain(world))


def test_a_job_whose_provider_was_never_reached_waits_for_it_and_not_for_room(world):
    world.sandbox.inject("list", "dropped", times=100)
    world.submit(5)
    for _ in range(3):
        world.tick()
        world.clock.seconds += 1
    assert not world.batches()
    with world.registry.read() as db:
        account = accounts.find(db, "sandbox")
    waits = view_of(world).waits_for
    assert waits.words.startswith(f"sandbox, whose last call failed: {account.reason}, ")
    assert waits.until == account.refresh_due_at
    assert (waits.next, waits.trouble) == ("orchestrator doctor sandbox", True)


def explain(world):
    story = explaining.explain(world.registry, "provider:sandbox", now=world.clock.now())
    return story.to_dict()


def test_a_finished_job_waits_for_nothing_and_knows_its_cost(world):
    world.submit(120)
    world.run()
    view = view_of(world)
    assert view.waits_for.who == "nobody"
    assert view.finish is None
    assert view.costs.so_far.amount > 0
    assert view.costs.estimated == view.costs.so_far
    assert view.costs.saved.amount > 0
    expected = (
        Decimal(view.job.tokens_in - view.job.tokens_cached) * Decimal("0.57")
        + Decimal(view.job.tokens_cached) * Decimal("0.10")
        + Decimal(view.job.tokens_out) * Decimal("2.40")
    ) / 1_000_000
    assert view.costs.so_far.amount == expected


def test_a_second_job_of_the_same_model_has_a_finish_range(world):
    world.submit(200, name="first")
    world.run("first")
    world.submit(60, name="second")
    world.tick()
    view = view_of(world, "second")
    assert world.clock.now() <= view.finish.earliest <= view.finish.latest
    assert "latest 4 batches" in view.finish.how


def test_a_fleet_shows_what_runs_before_what_has_ended(world):
    world.submit(10, name="first")
    world.run("first")
    world.submit(10, name="second")
    fleet = api.fleet(world.registry, now=world.clock.now())
    assert [view.job.name for view in fleet.jobs] == ["second", "first"]
    assert (fleet.workers, fleet.more_jobs) == (1, 0)


def test_a_quiet_registry_needs_nobody(world):
    world.submit(10)
    world.tick()
    assert api.needs_you(world.registry, now=world.clock.now()) == []


def test_a_closed_gate_needs_you_and_tells_what_waits(world):
    world.submit(10)
    now = world.clock.now()

    def close(db):
        account = accounts.ensure(db, "sandbox", now)
        accounts.set_gate(
            db, account, Gate.CLOSED, now=now, actor="t", code="ORC3104", reason="no balance"
        )

    world.registry.write(close)
    (need,) = api.needs_you(world.registry, now=now)
    assert (need.cause, need.code, need.subject) == ("gate", "ORC3104", "provider:sandbox")
    assert "10 records of 1 job" in need.safe
    assert need.next.endswith("orchestrator resume provider:sandbox")
    view = view_of(world)
    assert (view.state, view.waits_for.held_by) == ("held", "sandbox")


def test_a_refused_key_needs_you(world):
    world.submit(10)
    now = world.clock.now()

    def close(db):
        account = accounts.ensure(db, "sandbox", now)
        accounts.set_gate(
            db, account, Gate.CLOSED, now=now, actor="t", code=AuthError.default_code, reason="401"
        )

    world.registry.write(close)
    (need,) = api.needs_you(world.registry, now=now)
    assert need.next.startswith("put the key right")


def test_a_registration_that_was_cut_off_needs_you_after_a_while(world):
    now = world.clock.now()

    def cut_off(db):
        jobs.add(
            db, name="labels", provider="sandbox", spec="{}", digest="d", now=now, actor="test"
        )
        job = jobs.find(db, "labels")
        jobs.grow(db, job.id, at=0, count=8)

    world.registry.write(cut_off)
    assert api.needs_you(world.registry, now=now) == []
    (need,) = api.needs_you(world.registry, now=now + timedelta(hours=1))
    assert (need.cause, need.code) == ("registering", "ORC5002")
    assert "8 records so far" in need.headline
    assert view_of(world).waits_for.who == "you"
