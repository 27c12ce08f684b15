import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.intake import Record, Violation
from orchestrator.domain.record_keys import joined, key_columns
from orchestrator.domain.rules import RecordRules

PARTS = st.lists(st.text(min_size=1), min_size=1, max_size=4)


@given(PARTS, PARTS)
def test_no_two_lists_of_columns_make_the_same_key(one, other):
    assert (joined(one) == joined(other)) == (one == other)


def test_a_comma_parts_the_columns():
    assert key_columns("country, id") == ("country", "id")


@pytest.mark.parametrize(
    ("data", "key"),
    [
        ({"country": "de", "id": 1042}, "de|1042"),
        ({"country": "a|b", "id": "c\\"}, "a\\|b|c\\\\"),
    ],
)
def test_a_key_of_several_columns_is_their_texts_joined(world, kimi, data, key):
    rules = RecordRules(world.job(key="country,id").spec, kimi)
    assert rules.key(Record(1, data)) == key


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"country": "de"}, 'no key column "id"'),
        ({"country": "", "id": 1}, '"country" is blank'),
        ({"country": "de", "id": 1.5}, '"id" is a number'),
        ({"country": "x" * 1000, "id": "y" * 100}, '"country, id" has 1,101 bytes'),
    ],
)
def test_each_column_of_a_key_keeps_the_rules(world, kimi, data, reason):
    found = RecordRules(world.job(key="country,id").spec, kimi).key(Record(7, data))
    assert isinstance(found, Violation)
    assert reason in found.reason
    assert found.position == 7
