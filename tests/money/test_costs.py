"""The cost report: exact sums by whatever, in each currency apart."""

from datetime import date
from decimal import Decimal

import hypothesis.strategies as st
import msgspec
from hypothesis import given
from support.world import shipped_profile

from orchestrator.api.costing import BYS, _grouped, cost_lines, totals
from orchestrator.domain.charging import Charge
from orchestrator.domain.model import ChargeKind
from orchestrator.domain.pricing import priced, read_price
from orchestrator.domain.spec import Answer
from orchestrator.registry.charges import Row
from orchestrator.sandbox.temper import Batches, Lines, Temper

QUICK = Temper(batches=Batches(validating=(1, 1), running=(5, 25), finalizing=(1, 1)))

_charges = st.builds(
    Charge,
    kind=st.sampled_from(ChargeKind),
    requests=st.integers(1, 99),
    amount=st.integers(0, 10**15),
    online=st.integers(0, 10**15),
    currency=st.sampled_from(["USD", "CNY", ""]),
)
_rows = st.lists(
    st.builds(
        Row,
        st.integers(1, 3),
        st.dates(date(2026, 1, 1), date(2026, 1, 4)),
        st.sampled_from(["kimi", "openai"]),
        st.sampled_from(["a", "b"]),
        _charges,
    ),
    max_size=30,
)


@given(_rows, st.randoms())
def test_lines_add_up_to_the_ledger_in_each_currency_whatever_they_are_of(rows, rng):
    shuffled = list(rows)
    rng.shuffle(shuffled)
    whole = None
    for name_of in (lambda r: str(r.job_id), lambda r: r.model, lambda r: str(r.day)):
        for order in (rows, shuffled):
            lines = _grouped(order, name_of, lambda *_: None)
            sums = {
                line.currency: (line.amount, line.wasted, line.requests) for line in totals(lines)
            }
            assert whole is None or sums == whole
            whole = sums
    for currency, (amount, wasted, _) in (whole or {}).items():
        mine = [row.charge for row in rows if row.charge.currency == currency]
        assert amount == sum(charge.amount for charge in mine)
        assert wasted == sum(c.amount for c in mine if c.kind is not ChargeKind.ANSWERED)


def in_dollars(world):
    return lambda provider, model, day: world.providers.profile(provider).price_on(model, day)


def test_jobs_of_two_currencies_stand_apart(world):
    world.sandbox.temper = QUICK
    world.submit(20, body={"max_tokens": 64})
    world.run()
    yuan = read_price({"currency": "CNY", "input": 4, "cached_input": 1, "output": 16})
    profile = shipped_profile("sandbox")
    world.profiles["openai"] = msgspec.structs.replace(priced(profile, {"kimi-k2.6": [yuan]}))
    world.submit(10, name="other", provider="openai")
    other = world.run("other")
    for by in BYS:
        lines = cost_lines(world.registry, by=by, prices=in_dollars(world))
        whole = {line.currency: line for line in totals(lines)}
        assert whole.keys() == {"USD", "CNY"}
        fresh = other.tokens_in - other.tokens_cached
        yuans = fresh * 4 + other.tokens_cached + other.tokens_out * 16
        assert whole["CNY"].money(whole["CNY"].amount).amount == Decimal(yuans) / 10**6
        assert sum(line.requests for line in lines) == 30
    (mine,) = cost_lines(world.registry, job="labels", prices=in_dollars(world))
    assert (mine.name, mine.currency, mine.unpriced) == ("labels", "USD", 0)
    assert mine.estimated > mine.amount > 0
    assert mine.online > mine.amount
    assert cost_lines(world.registry, since=date(2027, 1, 1)) == []


def test_what_had_no_price_gets_one_when_it_is_known_and_is_told_until_then(world):
    world.sandbox.temper = QUICK
    world.submit(5, model="kimi-k2.7-code")
    profile = shipped_profile("sandbox")
    world.profiles["sandbox"] = msgspec.structs.replace(profile, models={})
    world.run()
    (line,) = cost_lines(world.registry, prices=in_dollars(world))
    assert (line.currency, line.unpriced, line.to_row()["cost"]) == ("", 5, None)
    assert totals([line]) == []
    world.profiles.clear()
    (line,) = cost_lines(world.registry, prices=in_dollars(world))
    assert (line.currency, line.unpriced) == ("USD", 0)
    assert line.amount > 0


def test_waste_is_what_brought_no_answer_that_counts(world):
    world.sandbox.temper = Temper(batches=QUICK.batches, lines=Lines(invalid=0.3))
    answer = {"type": "object", "properties": {"tag": {"type": "string"}}, "required": ["tag"]}
    world.submit(30, answer=Answer(schema=answer, repair=False), body={"max_tokens": 3})
    job = world.run()
    assert job.books.failed
    kinds = {line.name: line for line in cost_lines(world.registry, by="kind")}
    wasted = sum(line.wasted for line in kinds.values())
    assert wasted == kinds["invalid"].amount > 0
