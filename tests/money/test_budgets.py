"""A budget is never passed, whatever the answers cost, and holds before the batch that might."""

import datetime
import random
from decimal import Decimal

import hypothesis.strategies as st
import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given

from orchestrator import api
from orchestrator.domain.budget import (
    Budgets,
    Ceiling,
    Go,
    Limit,
    ProviderLimits,
    Stop,
    Wait,
    at_most,
    decide,
)
from orchestrator.domain.errors import BudgetExceeded, UsageError
from orchestrator.domain.model import JobState
from orchestrator.domain.money import Money
from orchestrator.domain.packing import Load
from orchestrator.domain.profile import Price
from orchestrator.domain.units import parse_money
from orchestrator.registry.tables import charges
from orchestrator.sandbox.temper import Batches, Lines, Temper

BOUND = {"max_tokens": 40}
SHORT = Temper(batches=Batches(validating=(1, 1), running=(5, 25), finalizing=(1, 1)))


def spent(world, **where):
    query = sa.select(sa.func.coalesce(sa.func.sum(charges.c.amount), 0))
    for name, value in where.items():
        query = query.where(charges.c[name] == value)
    with world.registry.read() as db:
        return Decimal(int(db.execute(query).scalar_one())).scaleb(-12)


def records_of_every_length(world, count, name="labels"):
    """Write records from a word to a page long, of dense text too; return the file."""
    rng = random.Random(count)
    words = ["word", "0x7f3a-11", "größer", "产品质量", "9817263540", "{[()]}", "the"]
    source = world.folder / f"{name}-source.csv"
    lines = ["id,text\n"]
    for number in range(count):
        text = " ".join(rng.choices(words, k=rng.choice([1, 3, 30, 200])))
        lines.append(f"r-{number:05d},{text}\n")
    source.write_text("".join(lines), encoding="utf-8")
    return str(source)


# What is decided


def _limit(amount, spent=0, in_flight=0, code="ORC7010"):
    return Limit(
        code=code,
        whose="the budget",
        money=Money(Decimal(1), "USD"),
        amount=amount,
        spent=spent,
        in_flight=in_flight,
    )


@pytest.mark.parametrize(
    ("limits", "costs", "decision"),
    [
        ([], [5, 5], Go(2)),
        ([_limit(10)], [5, 5], Go(2)),
        ([_limit(9)], [5, 5], Go(1)),
        ([_limit(20, spent=16)], [5, 5], Stop(_limit(20, spent=16))),
        ([_limit(20, in_flight=16)], [5, 5], Wait(_limit(20, in_flight=16))),
        ([_limit(20, 1, 9), _limit(11)], [5, 5], Go(2)),
        ([_limit(20, 1, 14)], [5, 5], Go(1)),
        ([_limit(20, 1, 14)], [5] * 5, Wait(_limit(20, 1, 14))),
        ([_limit(20), _limit(4)], [5], Stop(_limit(4))),
        ([_limit(400, 381)], [15, 15], Stop(_limit(400, 381))),
        ([_limit(400, 381)], [15], Go(1)),
    ],
)
def test_a_decision_keeps_every_limit(limits, costs, decision):
    assert decide(limits, costs) == decision


_limits = st.lists(
    st.builds(_limit, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99)), max_size=4
)


@given(_limits, st.lists(st.integers(0, 50), min_size=1, max_size=9))
def test_what_may_go_fits_into_every_limit_and_no_more_would(limits, costs):
    decision = decide(limits, costs)
    if isinstance(decision, Go):
        assert all(sum(costs[: decision.count]) <= limit.room for limit in limits)
        if decision.count < len(costs):
            assert any(sum(costs[: decision.count + 1]) > limit.room for limit in limits)
    elif isinstance(decision, Stop):
        limit = decision.limit
        assert costs[0] > limit.room or limit.room * 20 < limit.amount
        assert not decision.limit.in_flight


def test_a_prompt_is_taken_at_a_token_a_byte_until_the_job_has_shown_better():
    prices = [
        Price(
            currency="USD",
            input=Decimal(i),
            cached_input=Decimal(0),
            output=Decimal(o),
            as_of=datetime.date(2026, 1, 1),
        )
        for i, o in ((1, 5), (2, 4))
    ]
    ceiling = Ceiling.of(prices)
    assert (ceiling.fresh, ceiling.out) == (2_000_000, 5_000_000)
    load = Load(requests=10, bytes=4_000, est_in=1_000, est_out=640)
    assert at_most(load, ceiling, None) == 4_000 * 2_000_000 + 640 * 5_000_000
    assert at_most(load, ceiling, 900) == (1_125 + 80) * 2_000_000 + 640 * 5_000_000
    assert at_most(Load(10, 4_000, 1_000, None), ceiling, 900) is None
    assert at_most(Load(10, 0, 1_000, 0), ceiling, None) == 4_080 * 2_000_000


# What is kept


def test_a_job_is_held_before_its_budget_and_goes_on_with_a_larger_one(world):
    world.sandbox.temper = SHORT
    world.submit(200, body=BOUND, budget="0.005 USD")
    job = world.run(days=1)
    assert job.state is JobState.RUNNING
    assert (job.hold_code, job.books.in_flight, job.books.failed) == ("ORC7010", 0, 0)
    assert 0 < job.books.succeeded < 200
    assert Decimal("0.0045") < spent(world) <= Decimal("0.005")
    assert "the budget of labels is reached" in job.hold_reason
    world.boot()
    assert world.run(days=1).books == job.books

    raised = api.resume(world.context, names=["labels"], providers=[], budget=parse_money("1 USD"))
    assert raised.jobs == ["labels"]
    job = world.run()
    assert (job.state, job.books.succeeded, job.hold_code) == (JobState.FINISHED, 200, None)
    assert job.budget == "1 USD"


@pytest.mark.parametrize("seed", [1, 2])
def test_the_ledger_never_passes_the_budget_of_a_job(world, seed):
    lines = Lines(overloaded=0.1, invalid=0.05)
    world.sandbox.temper = Temper(batches=SHORT.batches, lines=lines)
    world.requests_per_batch = 10 + seed * 7
    world.boot()
    budget = Decimal(seed) / 200
    source = records_of_every_length(world, 100)
    world.submit(source=source, body=BOUND, budget=f"{budget} USD")
    held = 0
    end = world.clock.seconds + 86_400
    while not held and world.clock.seconds < end and world.advance():
        assert spent(world) <= budget
        job = world.job()
        held += job.hold_code is not None
    assert job.books.balanced
    assert spent(world) > budget * 9 / 10 if held else job.state is JobState.FINISHED


def test_two_workers_do_not_pass_a_provider_s_budget_together(world):
    world.sandbox.temper = SHORT
    world.budgets = Budgets(providers={"sandbox": ProviderLimits(total=parse_money("0.01 USD"))})
    first, second = world.boot(), None
    for name in ("a", "b", "c"):
        world.submit(source=records_of_every_length(world, 50, name), name=name, body=BOUND)
    second = world.boot()
    for _ in range(60):
        for world.context in (first, second):
            report = world.tick()
        assert spent(world) <= Decimal("0.01")
        if all(world.job(name).hold_code for name in ("a", "b", "c")):
            break
        world.clock.seconds = max(report.next_at.timestamp(), world.clock.seconds + 1)
    assert spent(world) > Decimal("0.008")
    held = [world.job(name) for name in ("a", "b", "c") if world.job(name).hold_code]
    assert {job.hold_code for job in held} == {"ORC7011"}
    assert all("the budget of provider sandbox" in job.hold_reason for job in held)


@pytest.mark.parametrize("whole", [False, True])
def test_a_budget_a_day_waits_for_the_next_day(world, whole):
    world.sandbox.temper = SHORT
    daily = parse_money("0.004 USD")
    limits = ProviderLimits(per_day=None if whole else daily)
    world.budgets = Budgets(per_day=daily if whole else None, providers={"sandbox": limits})
    world.boot()
    world.submit(100, body=BOUND)
    job = world.run(days=0.4)
    assert job.hold_code == ("ORC7013" if whole else "ORC7012")
    job = world.run(days=20)
    assert (job.state, job.hold_code, job.books.succeeded) == (JobState.FINISHED, None, 100)
    with world.registry.read() as db:
        days = set(db.execute(sa.select(charges.c.day)).scalars())
    assert len(days) > 1
    assert all(spent(world, day=day) <= Decimal("0.004") for day in days)


# What is refused


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"budget": "5 USD", "body": {}}, "ORC7015", "nothing bounds the answers of kimi-k2.6"),
        ({"budget": "5 CNY"}, "ORC7016", "is paid in USD"),
        ({"budget": "5 USD", "model": "kimi-unknown"}, "ORC7014", "the price of kimi-unknown"),
    ],
)
def test_a_budget_that_can_t_be_kept_refuses_to_start(world, changes, code, words):
    with pytest.raises(BudgetExceeded, match=words) as caught:
        world.submit(3, **{"body": BOUND, **changes})
    assert (caught.value.code, caught.value.exit_code) == (code, 7)
    assert caught.value.next
    with world.registry.read() as db:
        assert not db.execute(sa.text("SELECT 1 FROM jobs")).first()


def test_a_limit_of_the_configuration_refuses_what_it_can_t_count(world):
    world.budgets = Budgets(per_day=parse_money("5 USD"))
    world.boot()
    with pytest.raises(BudgetExceeded, match="the budget a day of all jobs") as caught:
        world.submit(3)
    assert caught.value.code == "ORC7015"


def test_a_budget_that_is_no_money_is_told(world):
    with pytest.raises(UsageError, match="no amount of money") as caught:
        world.submit(3, budget="25", body=BOUND)
    assert caught.value.code == "ORC1121"


def test_a_larger_budget_in_another_currency_is_refused(world):
    world.submit(3, body=BOUND, budget="0.000001 USD")
    world.run(days=1)
    with pytest.raises(BudgetExceeded) as caught:
        api.resume(world.context, names=["labels"], providers=[], budget=parse_money("9 CNY"))
    assert caught.value.code == "ORC7016"
    assert world.job().budget is None


def test_a_price_that_is_lost_meanwhile_holds_and_lets_go_when_it_is_back(world):
    world.submit(120, body=BOUND, budget="5 USD")
    profile = world.providers.profile("sandbox")
    world.profiles["sandbox"] = msgspec.structs.replace(profile, models={})
    world.tick()
    assert world.job().hold_code == "ORC7014"
    world.profiles.clear()
    job = world.run()
    assert (job.state, job.hold_code) == (JobState.FINISHED, None)
