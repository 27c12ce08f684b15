"""The first records go ahead; the rest follows when they meet the conditions, and only then."""

import msgspec
import pytest
import sqlalchemy as sa

from orchestrator.api import control
from orchestrator.domain.errors import GuardError, UsageError
from orchestrator.domain.model import JobState
from orchestrator.domain.spec import Canary, Policy
from orchestrator.registry.tables import events, requests
from orchestrator.sandbox.temper import Batches, Lines, Temper

QUICK = Batches(validating=(1, 1), running=(5, 25), finalizing=(1, 1))
GOOD = Temper(batches=QUICK)
BAD = Temper(batches=QUICK, lines=Lines(content_filter=0.5))


def kinds(world):
    with world.registry.read() as db:
        return list(db.execute(sa.select(events.c.kind).order_by(events.c.id)).scalars())


def told(world, kind):
    with world.registry.read() as db:
        query = sa.select(events.c.data).where(events.c.kind == kind)
        return msgspec.json.decode(db.execute(query).scalars().one())


def sent(world):
    with world.registry.read() as db:
        query = sa.select(sa.func.count()).where(requests.c.rounds > 0)
        return db.execute(query).scalar_one()


def until_judged(world):
    while world.job().canary is None and world.advance():
        if world.job().canary is None:
            assert sent(world) <= 20


def test_a_canary_that_passes_lets_the_rest_go_by_itself(world):
    world.sandbox.temper = GOOD
    required = ("failed < 2%", "tokens_out < 100", "cost_per_record < 0.01 USD")
    world.submit(70, canary=Canary(records=20, require=required), body={"max_tokens": 64})
    until_judged(world)
    job = world.job()
    assert (job.canary, job.hold_code, job.books.succeeded) == ("passed", None, 20)
    facts = told(world, "canary_passed")
    assert facts["records"] == 20
    assert facts["measured"][0] == "failed 0% (0 of 20)"
    job = world.run()
    assert (job.state, job.books.succeeded) == (JobState.FINISHED, 70)
    assert kinds(world).count("canary_passed") == 1


def test_a_canary_that_fails_holds_the_rest_until_it_is_accepted(world):
    world.sandbox.temper = BAD
    world.submit(70, canary=Canary(records=20, require=("failed < 2%", "succeeded > 0%")))
    until_judged(world)
    world.boot()
    job = world.run(days=1)
    assert (job.state, job.canary, job.hold_code) == (JobState.RUNNING, "failed", "ORC7020")
    assert (job.books.waiting, job.books.in_flight, sent(world)) == (50, 0, 20)
    assert "its canary of 20 records misses 1 of 2 conditions: failed" in job.hold_reason
    assert "wanted failed < 2%" in job.hold_reason
    assert told(world, "canary_failed")["broken"] == ["failed < 2%"]

    assert control.resume(world.context, names=["labels"], providers=[]).jobs == ["labels"]
    world.sandbox.temper = GOOD
    job = world.run()
    assert (job.state, job.canary, job.hold_code) == (JobState.FINISHED, "accepted", None)
    assert job.books.succeeded >= 50


def test_a_failed_canary_is_judged_anew_when_its_records_are_asked_again(world):
    world.sandbox.temper = BAD
    world.submit(40, canary=Canary(records=20, require=("failed < 2%",)))
    until_judged(world)
    assert world.job().canary == "failed"
    world.sandbox.temper = GOOD
    control.retry(world.context, "labels", ())
    job = world.run()
    assert (job.state, job.canary, job.books.succeeded) == (JobState.FINISHED, "passed", 40)
    assert kinds(world).count("job_let_go") == 1


def test_the_rest_of_a_failed_canary_can_be_dropped(world):
    world.sandbox.temper = BAD
    world.submit(40, canary=Canary(records=20, require=("failed < 2%",)))
    until_judged(world)
    control.cancel_job(world.context, "labels")
    job = world.run()
    assert (job.state, job.books.cancelled) == (JobState.CANCELLED, 20)


def test_a_canary_larger_than_the_job_is_told_and_holds_nothing(world):
    world.sandbox.temper = BAD
    world.submit(10, canary=Canary(records=200, require=("failed < 2%",)))
    job = world.run()
    assert (job.state, job.canary, job.hold_code) == (JobState.FINISHED, "failed", None)
    assert told(world, "canary_failed")["records"] == 10


def test_answers_are_held_against_json(world):
    world.sandbox.temper = GOOD
    # "One word" answers are words, not JSON.
    world.submit(12, canary=Canary(records=6, require=("valid_json > 99%",)))
    until_judged(world)
    assert world.job().canary == "failed"
    assert told(world, "canary_failed")["measured"] == ["valid_json 0% (0 of 6)"]
    body = {"response_format": {"type": "json_object"}}
    world.submit(
        12, name="json", canary=Canary(records=6, require=("valid_json > 99%",)), body=body
    )
    job = world.run("json")
    assert (job.canary, job.books.succeeded) == ("passed", 12)


def test_records_of_a_canary_that_are_asked_again_are_still_of_it(world):
    world.sandbox.temper = Temper(batches=QUICK, lines=Lines(overloaded=0.3))
    policy = Policy(linger_seconds=5, attempts=9)
    world.submit(40, canary=Canary(records=20, require=("failed <= 0%",)), policy=policy)
    until_judged(world)
    assert world.job().canary == "passed"
    assert len(world.batches()) > 1


@pytest.mark.parametrize(
    ("require", "code", "words"),
    [
        ("faild < 2%", "ORC1120", 'did you mean "failed"'),
        ("failed < 2", "ORC1120", 'did you mean "failed < 2%"'),
    ],
)
def test_a_condition_is_checked_when_the_job_is_submitted(world, require, code, words):
    with pytest.raises(UsageError) as caught:
        world.submit(5, canary=Canary(records=2, require=(require,)))
    assert caught.value.code == code
    assert words in caught.value.why


def test_a_condition_on_money_needs_a_price(world):
    canary = Canary(records=2, require=("cost_per_record < 1",))
    with pytest.raises(GuardError) as caught:
        world.submit(5, canary=canary, model="kimi-unknown")
    assert caught.value.code == "ORC7014"
    with pytest.raises(UsageError):
        world.submit(5, canary=Canary(records=0))
