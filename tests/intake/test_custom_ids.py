import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.custom_ids import DERIVED_LENGTH, custom_id, is_legal

KEYS = st.text() | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=66)


@pytest.mark.parametrize("key", ["a", "page-88121", "x" * 64, 'a "b" \\ c', "k-short", "~2"])
def test_a_legal_key_is_its_own_custom_id(key):
    assert custom_id(key) == key


@pytest.mark.parametrize("key", ["", "x" * 65, "é", "a\n", "a\x7f", " a", "a ", " ", "名前"])
def test_any_other_key_gets_a_short_stand_in(key):
    assert re.fullmatch(r"k-[a-z2-7]{26}", custom_id(key))


def test_a_key_that_looks_like_a_stand_in_gets_one_of_its_own():
    stand_in = custom_id("名前")
    assert is_legal(stand_in, 64)
    assert custom_id(stand_in) != stand_in


def test_the_limit_is_the_profiles():
    assert custom_id("x" * 40, 40) == "x" * 40
    assert len(custom_id("x" * 41, 40)) == DERIVED_LENGTH


@settings(deadline=None)
@given(st.lists(KEYS | KEYS.map(custom_id), unique=True))
def test_two_keys_never_share_a_custom_id(keys):
    ids = [custom_id(key) for key in keys]
    assert len(set(ids)) == len(keys)
    assert all(is_legal(each, 64) for each in ids)
    assert ids == [custom_id(key) for key in keys]
