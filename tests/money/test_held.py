"""A held job says so on every face: what it waits for, who must act, and how it goes on."""

from orchestrator.api.explaining import explain
from orchestrator.api.needs import needs_you
from orchestrator.api.views import job_view
from orchestrator.domain.budget import Budgets
from orchestrator.domain.spec import Canary
from orchestrator.domain.units import parse_money
from orchestrator.sandbox.temper import Batches, Lines, Temper

QUICK = Batches(validating=(1, 1), running=(5, 25), finalizing=(1, 1))
BOUND = {"max_tokens": 40}


def view_of(world):
    return job_view(world.registry, world.job(), now=world.clock.now())


def test_a_reached_budget_needs_a_person(world):
    world.sandbox.temper = Temper(batches=QUICK)
    world.submit(100, body=BOUND, budget="0.001 USD")
    world.run(days=1)
    view, now = view_of(world), world.clock.now()
    assert (view.state, view.waits_for.who) == ("held", "you")
    assert view.waits_for.next == 'orchestrator resume labels --budget "AMOUNT CURRENCY"'
    assert "of 0.001 USD spent" in view.waits_for.words
    (need,) = needs_you(world.registry, now=now)
    assert (need.cause, need.code, need.subject) == ("held", "ORC7010", "labels")
    assert f"{view.books.waiting} records wait; none is marked failed" in need.safe
    told = explain(world.registry, "labels", now=now)
    assert told.waits_for == view.waits_for
    assert told.choices[0].command == view.waits_for.next


def test_a_budget_of_the_day_needs_nobody(world):
    world.sandbox.temper = Temper(batches=QUICK)
    world.budgets = Budgets(per_day=parse_money("0.001 USD"))
    world.boot()
    world.submit(100, body=BOUND)
    for _ in range(60):
        world.advance()
        if world.job().hold_code:
            break
    view = view_of(world)
    assert (view.state, view.waits_for.who, view.waits_for.next) == ("held", "time", "")
    assert view.waits_for.until is not None
    assert needs_you(world.registry, now=world.clock.now()) == []


def test_a_failed_canary_needs_a_person_and_shows_what_was_measured(world):
    world.sandbox.temper = Temper(batches=QUICK, lines=Lines(content_filter=1.0))
    world.submit(40, canary=Canary(records=10, require=("failed < 2%",)))
    world.run(days=0.2)
    (need,) = needs_you(world.registry, now=world.clock.now())
    assert (need.cause, need.code) == ("canary", "ORC7020")
    assert "failed 100% (10 of 10), wanted failed < 2%" in need.headline
    assert need.next.startswith("orchestrator resume labels")
    view = view_of(world)
    assert (view.state, view.waits_for.who) == ("held", "you")
    told = explain(world.registry, "labels", now=world.clock.now())
    assert told.next[0] == f"it is held: {view.waits_for.words}"
