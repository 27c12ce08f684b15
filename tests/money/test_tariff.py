"""Prices in whole numbers say what exact decimals say."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.cost import actual
from orchestrator.domain.profile import Price
from orchestrator.domain.tariff import Tariff

DIGITS = st.decimals(0, 1000, places=6, allow_nan=False, allow_infinity=False)


@given(DIGITS, DIGITS, DIGITS, *[st.integers(0, 10**9)] * 3)
def test_a_tariff_says_exactly_what_the_price_says(one, two, three, tokens_in, out, cached):
    known = Price(currency="USD", input=one, cached_input=two, output=three, as_of="2026-01-01")
    tariff = Tariff(known)
    text = tariff.written(tariff.units(tokens_in, out, cached))
    assert Decimal(text) == actual(tokens_in, out, cached, known).amount
    assert "e" not in text.lower()
