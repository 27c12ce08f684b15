"""Estimates: assumed with 20 %, then measured with the spread of what was seen."""

import datetime
from decimal import Decimal

import hypothesis.strategies as st
from hypothesis import given

from orchestrator.domain.estimating import NOTHING, Seen, estimate, measured, together
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price
from orchestrator.domain.tally import ModelStats
from orchestrator.registry import charges
from orchestrator.sandbox.temper import Batches, Temper

PRICE = Price(
    currency="USD",
    input=Decimal(1),
    cached_input=Decimal("0.1"),
    output=Decimal(10),
    online_input=Decimal(2),
    online_output=Decimal(20),
    as_of=datetime.date(2026, 8, 13),
)


def stats(requests=100, tokens=1_000, bound=64):
    return ModelStats(
        model="m",
        first_position=1,
        requests=requests,
        quarter_tokens_in=tokens * 4,
        tokens_out_known=0 if bound is None else bound * requests,
        unbounded=requests if bound is None else 0,
    )


def test_before_any_result_tokens_are_assumed_and_answers_unknown():
    found = estimate(stats(), PRICE, ())
    assert (found.answers, found.tokens_in) == (0, 1_000)
    assert (found.tokens_in_low, found.tokens_in_high) == (800, 1_200)
    assert (found.tokens_out, found.tokens_out_max, found.expected) == (None, 6_400, None)
    assert found.at_most == Money(Decimal("0.0652"), "USD")
    assert found.online_at_most == Money(Decimal("0.1304"), "USD")


def test_results_replace_the_guess_with_their_own_spread():
    seen = [Seen(50, 1_000, 1_500, 500), Seen(150, 3_000, 3_300, 1_100)]
    found = estimate(stats(), PRICE, seen)
    assert (found.answers, found.tokens_in) == (200, 1_200)
    assert (found.tokens_in_low, found.tokens_in_high) == (1_100, 1_500)
    assert (found.tokens_out, found.tokens_out_max) == (800, 6_400)
    assert found.expected == Money(Decimal("0.0092"), "USD")
    assert found.at_most == Money(Decimal("0.0655"), "USD")


def test_an_expected_answer_is_never_longer_than_its_bound():
    assert estimate(stats(bound=2), PRICE, [Seen(10, 10, 10, 1_000)]).tokens_out == 200


def test_what_is_unknown_of_one_model_is_unknown_of_all():
    known, unbounded = estimate(stats(), PRICE, ()), estimate(stats(bound=None), PRICE, ())
    other = estimate(stats(), Price(currency="CNY", input=Decimal(1), cached_input=Decimal(1),
                                    output=Decimal(1), as_of=PRICE.as_of), ())  # fmt: skip
    assert together([known, unbounded]).at_most is None
    assert together([known, unbounded]).tokens_out_max is None
    assert together([known, other]).at_most is None
    assert together([known, estimate(stats(), None, ())]).input_cost is None
    assert together([known, known]).at_most == Money(Decimal("0.1304"), "USD")
    assert together([]).tokens_in == NOTHING.tokens_in


@given(st.lists(st.builds(Seen, *(st.integers(1, 10**9) for _ in range(4))), min_size=1))
def test_a_measured_ratio_lies_within_its_spread(seen):
    found = measured(seen)
    assert found.lowest < found.ratio < found.highest
    for each in seen:
        assert found.lowest <= each.tokens_in / each.est_in * (1 + 1e-9)
        assert found.highest * (1 + 1e-9) >= each.tokens_in / each.est_in


def test_a_job_s_results_are_the_history_of_the_next_one(world):
    quick = Batches(validating=(1, 1), running=(5, 25), finalizing=(1, 1))
    world.sandbox.temper = Temper(batches=quick)
    world.submit(60, body={"max_tokens": 64})
    world.run()
    with world.registry.read() as db:
        seen = charges.seen(db, "sandbox", "kimi-k2.6")
        assert charges.seen(db, "sandbox", "another") == []
    found = measured(seen)
    assert found.answers == 60
    job = world.job()
    assert found.mean_out == job.tokens_out / 60
