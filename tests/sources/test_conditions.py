"""Conditions over the columns of a source."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.conditions import Condition, ConditionFails
from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import BadRow
from orchestrator.sources.filtered import Filtered
from orchestrator.sources.registry import open_source

HOLDS = [
    ("stars >= 4 and lang == 'en'", {"stars": 4, "lang": "en"}, True),
    ("stars >= 4 and lang == 'en'", {"stars": 4, "lang": "de"}, False),
    ("stars|int >= 4", {"stars": "10"}, True),
    ("n == 9007199254740993", {"n": 9007199254740992}, False),
    ("'a' in tags", {"tags": ["a", "b"]}, True),
    ("doc.kind == \"%}\"", {"doc": {"kind": "%}"}}, True),
    ("row['a b'] == 1", {"a b": 1}, True),
    ("row == 1", {"row": 1}, True),
    ("x is defined and x > 1", {}, False),
    ("x is none", {"x": None}, True),
    ("x", {"x": ""}, False),
    ("lang == 'stars >= 4'", {"lang": "stars >= 4"}, True),
    ("self == 1 and name == 2", {"self": 1, "name": 2}, True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "data", "answer"), HOLDS)
def test_a_condition_holds_or_does_not(text, data, answer):
    assert Condition(text, list(data)).holds(data) is answer


@pytest.mark.parametrize("text", ["", "a b", "stars >=", "x %} {{ y", "1)", "stars > 4 %}1{% else"])
def test_what_is_no_expression_is_refused(text):
    with pytest.raises(SourceError, match="can't be used") as caught:
        Condition(text)
    assert caught.value.code == "ORC2041"


def test_a_column_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(SourceError) as caught:
        Condition("starz > 4", ["id", "stars"])
    assert 'no column "starz"; did you mean "stars"?' in caught.value.why


@pytest.mark.parametrize(
    "text", ["stars >= 4", "4 <= stars", "stars==4", "id == 'a' or stars != -1"]
)
def test_text_is_never_compared_with_a_number(text):
    with pytest.raises(ConditionFails, match=r"stars\|float"):
        Condition(text).holds({"stars": "5", "id": "b"})


@pytest.mark.parametrize(("text", "data"), [("stars > 4", {}), ("t|int > 1", {"t": "many"})])
def test_a_record_without_an_answer_is_no_answer(text, data):
    with pytest.raises(ConditionFails):
        Condition(text).holds(data)


@given(st.lists(st.integers(0, 9)), st.integers(0, 9))
def test_records_pass_that_fit_at_their_own_positions(tmp_path_factory, numbers, least):
    file = tmp_path_factory.mktemp("c") / "a.jsonl"
    file.write_bytes(b"\n" + b"".join(msgspec.json.encode({"n": n}) + b"\n" for n in numbers))
    source = Filtered(open_source(str(file)), f"n >= {least}")
    for _ in range(2):
        found = [(row.position, row.data["n"]) for row in source.records()]
        assert found == [(at, n) for at, n in enumerate(numbers, 2) if n >= least]
        assert source.passed_over == len(numbers) - len(found)


def test_a_record_without_an_answer_is_handed_out_as_a_bad_row(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("n,x\n5,1\n1,2,3\n")
    rows = list(Filtered(open_source(str(file)), "n > 4").records())
    assert [(type(row), row.position, row.code) for row in rows] == [
        (BadRow, 2, "ORC2042"),
        (BadRow, 3, "ORC2008"),
    ]
