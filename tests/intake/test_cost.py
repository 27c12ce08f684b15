import datetime
from decimal import Decimal

import pytest

from orchestrator.domain.cost import (
    Money,
    actual,
    estimate,
    message_quarters,
    online,
    output_bound,
    quarter_tokens,
    saved,
)
from orchestrator.domain.profile import Price

PRICE = Price(
    currency="USD",
    input=Decimal("0.57"),
    cached_input=Decimal("0.114"),
    output=Decimal("2.40"),
    online_input=Decimal("0.95"),
    online_output=Decimal("4.00"),
    as_of=datetime.date(2026, 8, 13),
)
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("four", 1), ("éé", 1), ("产品质量", 4), ("😀", 1.5), ("abcd产é", 2.5)],
)
def test_tokens_are_estimated_by_the_script_of_the_text(text, tokens):
    assert quarter_tokens(text) / 4 == tokens


def test_only_the_text_of_messages_counts():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 99_999}}
    parts = [{"type": "text", "text": "abcd"}, image, "odd"]
    messages = [{"content": "abcdefgh"}, {"content": parts}, {"content": None}, "odd"]
    assert message_quarters(messages) / 4 == 4 * 4 + 2 + 1
    assert message_quarters(None) == 0


@pytest.mark.parametrize(
    ("body", "bound"),
    [
        ({"max_tokens": 9}, 9),
        ({"max_completion_tokens": 5, "max_tokens": 9}, 5),
        ({}, None),
        ({"max_tokens": "9"}, None),
        ({"max_tokens": True}, None),
    ],
)
def test_answers_are_bounded_by_the_body(body, bound):
    assert output_bound(body) == bound


def test_money_is_exact():
    assert estimate(MILLION, MILLION, PRICE) == Money(Decimal("2.97"), "USD")
    assert estimate(1, 0, PRICE).amount == Decimal("0.00000057")
    assert sum([estimate(1, 0, PRICE)] * 99, Money(Decimal(0), "USD")).amount == Decimal(
        "0.00005643"
    )


def test_cached_tokens_are_charged_at_their_own_price():
    assert actual(MILLION, 0, MILLION, PRICE).amount == Decimal("0.114")
    assert actual(MILLION, 0, 500_000, PRICE).amount == Decimal("0.342")
    assert actual(10, 0, 99, PRICE) == actual(10, 0, 10, PRICE)


def test_the_saving_is_against_the_online_price():
    assert online(MILLION, MILLION, 0, PRICE).amount == Decimal("4.95")
    assert saved(MILLION, MILLION, 0, PRICE).amount == Decimal("1.98")
    assert saved(MILLION, 0, MILLION, PRICE).amount == Decimal("0.19") - Decimal("0.114")


def test_an_unknown_price_is_none_and_never_nothing():
    assert estimate(5, 5, None) is None
    assert saved(5, 5, 0, None) is None
    batch_only = Price(
        currency="CNY", input=1, cached_input=1, output=1, as_of=datetime.date(2026, 1, 1)
    )
    assert online(5, 5, 0, batch_only) is None
    assert saved(5, 5, 0, batch_only) is None


def test_two_currencies_do_not_add_up():
    with pytest.raises(ValueError, match="USD and CNY"):
        Money(Decimal(1), "USD") + Money(Decimal(1), "CNY")


@pytest.mark.parametrize(
    ("amount", "text"), [("5.9", "5.90"), ("5", "5.00"), ("1E+2", "100.00"), ("0.00057", "0.00057")]
)
def test_money_in_json_is_text_without_rounding(amount, text):
    assert Money(Decimal(amount), "USD").to_dict() == {"amount": text, "currency": "USD"}
