"""Sums of the ledger are exact, however they are cut, and never add two currencies."""

import datetime
from decimal import Decimal

import hypothesis.strategies as st
from hypothesis import given

from orchestrator.domain import cost
from orchestrator.domain.charging import Charge, Used, charge, in_units, money, totals
from orchestrator.domain.model import ChargeKind
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Model, Price

_amounts = st.decimals(0, 1000, places=6)
_tokens = st.none() | st.integers(0, 2**31 - 1)
_answers = st.lists(
    st.tuples(_tokens, _tokens, _tokens, st.integers(0, 10**6), st.none() | st.integers(0, 10**6)),
    max_size=20,
)


@st.composite
def _prices(draw):
    online = draw(st.none() | st.tuples(_amounts, _amounts)) or (None, None)
    return Price(
        currency=draw(st.sampled_from(["USD", "CNY"])),
        input=draw(_amounts),
        cached_input=draw(_amounts),
        output=draw(_amounts),
        online_input=online[0],
        online_output=online[1],
        as_of=datetime.date(2026, 8, 13),
    )


def _used(answers):
    used = Used()
    for answer in answers:
        used.add(*answer)
    return used


@given(_answers, _prices(), st.randoms())
def test_a_sum_is_the_same_in_any_order_and_in_any_parts(answers, price, rng):
    whole = charge(ChargeKind.ANSWERED, _used(answers), price)
    shuffled = list(answers)
    rng.shuffle(shuffled)
    cut = rng.randrange(len(shuffled) + 1)
    parts = [charge(ChargeKind.ANSWERED, _used(p), price) for p in (shuffled[:cut], shuffled[cut:])]
    for name in ("requests", "unpriced", "tokens_in", "tokens_cached", "amount", "online"):
        assert getattr(whole, name) == sum(getattr(part, name) for part in parts), name


@given(_answers, _prices())
def test_the_ledger_says_what_the_exact_price_of_each_answer_says(answers, price):
    used = charge(ChargeKind.ANSWERED, _used(answers), price)
    exact = sum(
        (cost.actual(a or 0, b or 0, c or 0, price).amount for a, b, c, *_ in answers
         if a is not None or b is not None),
        Decimal(0),
    )  # fmt: skip
    assert money(used.amount, used.currency) == Money(exact, price.currency)
    assert in_units(exact) == used.amount


@given(_answers)
def test_without_a_price_nothing_costs_nothing_but_is_counted_as_unpriced(answers):
    used = charge(ChargeKind.INVALID, _used(answers), None)
    assert used.unpriced == used.requests == len(answers)
    assert (used.amount, used.online, used.currency) == (0, 0, "")


def test_an_answer_without_usage_is_unpriced_and_leaves_the_others_comparable():
    used = _used([(None, None, None, 7, 9), (10, 2, 99, 8, 64)])
    price = Price(
        currency="USD",
        input=Decimal(1),
        cached_input=Decimal(0),
        output=Decimal(2),
        as_of=datetime.date(2026, 1, 1),
    )
    found = charge(ChargeKind.ANSWERED, used, price)
    assert (found.requests, found.unpriced) == (2, 1)
    assert (found.tokens_in, found.est_in, found.est_out) == (10, 8, 64)
    # More cached tokens than the prompt has are nobody's: the rest of it is not below zero.
    assert found.amount == 2 * 2 * 10**6
    assert found.online == found.amount  # no online price: no saving is claimed


def test_two_currencies_are_never_added():
    charges = [
        Charge(kind=ChargeKind.ANSWERED, amount=5, currency="USD"),
        Charge(kind=ChargeKind.LOST, amount=7, currency="CNY"),
        Charge(kind=ChargeKind.INVALID, amount=1, currency="USD"),
        Charge(kind=ChargeKind.INVALID, requests=3, unpriced=3),
    ]
    assert totals(charges) == {"USD": 6, "CNY": 7}


def test_the_price_in_force_on_a_day_counts():
    def price(day, amount):
        return Price(
            currency="USD",
            input=amount,
            cached_input=0,
            output=0,
            as_of=datetime.date.fromisoformat(day),
        )

    model = Model(
        price=price("2026-08-13", 1), prices=(price("2026-10-01", 3), price("2026-09-01", 2))
    )
    in_force = {
        "2026-01-01": 1,
        "2026-08-31": 1,
        "2026-09-01": 2,
        "2026-09-30": 2,
        "2027-01-01": 3,
    }
    for day, amount in in_force.items():
        assert model.price_on(datetime.date.fromisoformat(day)).input == amount, day
    sent = datetime.date(2026, 9, 15)
    assert [price.input for price in model.prices_from(sent)] == [2, 3]
    assert Model().price_on(sent) is None
    assert Model().prices_from(sent) == ()
