"""Conditions of a canary: read with near misses told, judged exactly."""

from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given

from orchestrator.domain.canary import NAMES, Slice, judge, measured, read_condition


@pytest.mark.parametrize(
    ("text", "name", "sign", "value"),
    [
        ("failed < 2%", "failed", "<", Fraction(2, 100)),
        ("valid_json>=99.5 %", "valid_json", ">=", Fraction(995, 1000)),
        ("failed <= 0.02", "failed", "<=", Fraction(2, 100)),
        (" tokens_out < 120 ", "tokens_out", "<", 120),
        ("cost_per_record < 0.001", "cost_per_record", "<", Fraction(1, 1000)),
        ("cost_per_record < .5 USD", "cost_per_record", "<", Fraction(1, 2)),
    ],
)
def test_conditions_are_read(text, name, sign, value):
    read = read_condition(text)
    assert (read.name, read.sign, read.value) == (name, sign, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("faild < 2%", 'did you mean "failed"'),
        ("latency < 2", "there are succeeded, failed"),
        ("failed < 2", 'did you mean "failed < 2%"'),
        ("failed < 120%", "more than all"),
        ("failed = 2%", "is not of the form"),
        ("failed < two", "is not of the form"),
        ("failed", "is not of the form"),
        ("failed < 2 USD", "it takes a percentage"),
        ("tokens_out < 5%", "it takes a number"),
        ("tokens_out < 5 USD", "it takes a number"),
        ("", "is not of the form"),
    ],
)
def test_what_is_no_condition_is_told_with_what_was_meant(text, words):
    with pytest.raises(ValueError, match=words.replace("%", "%")) as caught:
        read_condition(text)
    assert len(str(caught.value)) < 250


def test_a_canary_is_judged_by_all_of_its_records():
    found = Slice(
        records=200,
        succeeded=197,
        failed=3,
        refused=2,
        invalid=1,
        valid_json=197,
        told=197,
        tokens_in=19_700,
        tokens_out=1_970,
        cost=2 * 10**12,
        currency="USD",
    )
    holding = ["failed < 2%", "valid_json > 98%", "tokens_out <= 10", "cost_per_record <= 0.01"]
    verdicts = judge(found, [read_condition(text) for text in holding])
    assert all(verdict.holds for verdict in verdicts)
    assert verdicts[0].measured == "failed 1.5% (3 of 200)"
    broken = ["failed < 1.5%", "refused < 1%", "valid_json > 98.5%", "cost_per_record < 0.01 CNY"]
    assert not any(verdict.holds for verdict in judge(found, map(read_condition, broken)))


def test_nothing_holds_of_what_is_not_known():
    found = Slice(records=5, succeeded=5)
    conditions = ["cost_per_record < 1000000", "tokens_out < 1000000"]
    verdicts = judge(found, [read_condition(text) for text in conditions])
    assert [(verdict.holds, verdict.measured) for verdict in verdicts] == [
        (False, "cost_per_record unknown"),
        (False, "tokens_out unknown"),
    ]


@given(
    st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    st.decimals(0, 100, places=3),
)
def test_a_share_below_a_bound_is_never_also_above_it(counts, bound):
    records, failed = counts
    found = Slice(records=records, failed=failed)
    signs = {
        sign: judge(found, [read_condition(f"failed {sign} {bound:f}%")])[0].holds
        for sign in ("<", "<=", ">", ">=")
    }
    assert signs["<"] is not signs[">="]
    assert signs[">"] is not signs["<="]
    assert signs["<"] == (Fraction(failed, records) * 100 < Fraction(bound))


@given(st.text(max_size=60) | st.sampled_from(NAMES).map(lambda name: f"{name} < 1%"))
def test_any_text_is_read_or_refused_with_a_reason(text):
    try:
        read = read_condition(text)
    except ValueError:
        return
    assert measured(Slice(records=0), read.name) is None
