"""Answers held against a schema: what is found in them, and what is said of what does not fit."""

from __future__ import annotations

import json
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain.answers import Checker, columns_of
from orchestrator.domain.errors import TemplateError
from orchestrator.domain.shape import Column
from orchestrator.domain.spec import Answer

VERDICT = {
    "type": "object",
    "properties": {
        "label": {"enum": ["positive", "negative"]},
        "score": {"type": "integer", "maximum": 10},
    },
    "required": ["label"],
    "additionalProperties": False,
}
ANYTHING = Checker(Answer(schema={"type": ["object", "array"]}))
GOOD = '{"label":"positive","score":3}'


@pytest.fixture(scope="module")
def checker():
    return Checker(Answer(schema=VERDICT))


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n  {GOOD}\n",
        '{"label": "positive",\n "score": 3}',
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"Sure! Here it is:\n\n```json\n{GOOD}\n```\nAnything else?",
        f"  ```JSON\r\n{GOOD}\r\n  ```",
        f"```json\n{GOOD}",
        f"The answer is {GOOD}, I think.",
        f"For {{text}} at [1] I say {GOOD}",
        f"I thought of [1, 2] first.\n{GOOD}",
        f"{GOOD}\nOnce more: {GOOD}",
        f"As in ```{GOOD}```",
        f'<think>{{"label": "posi</think>{GOOD}',
        f"\ufeff{GOOD}",
        f'<think>Is it {{"label": "negative"}}? No.</think>\n\n{GOOD}',
        f'\n<think>```json\n{{"label": "negative"}}\n```</think>```json\n{GOOD}\n```',
    ],
)
def test_json_is_found_in_whatever_stands_around_it(checker, text):
    assert checker.check(text).value == GOOD


def test_a_fenced_block_that_fits_is_taken_before_what_stands_beside_it(checker):
    text = f'Not {{"label": "negative"}} but\n```json\n{GOOD}\n```'
    assert checker.check(text).value == GOOD


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the answer is empty"),
        (" \n", "the answer is empty"),
        ("positive", "no JSON in the answer"),
        ('{"label": "positive"', "no JSON in the answer"),
        ('{"label": NaN}', "no JSON in the answer"),
        ("{}", '"label" is a required property'),
        ('"positive"', 'the value is not of type "object"'),
        ('{"label":"bad"}', '/label: the value is not one of "positive" or "negative"'),
        (
            'Well: {"label":"positive","score":11}!',
            "/score: the value is greater than the maximum of 10",
        ),
        (
            f'{GOOD} or rather {{"label":"negative"}}',
            "the answer holds 2 different values that fit",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_the_validators_words(checker, text, problem):
    checked = checker.check(text)
    assert checked.value is None
    assert checked.problem == problem


def test_the_words_about_an_answer_are_few_whatever_the_answer_holds(checker):
    secret = "s3cret" * 10_000
    answer = json.dumps({"label": secret, "score": secret, **{f"x{n}": secret for n in range(99)}})
    problem = checker.check(answer).problem
    assert len(problem) <= 800
    assert secret[:20] not in problem


def test_numbers_keep_every_digit():
    text = '{"n": 123456789012345678901234567890, "d": 0.10000000000000000000000001, "z": 1.50}'
    assert ANYTHING.check(text).value == text.replace(" ", "")
    assert ANYTHING.check(f"here: {text}").value == text.replace(" ", "")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(st.text(), json_values, max_size=3).map(lambda d: {"answer": 1, **d})
chatter = st.text() | st.sampled_from(["{", "[[", '["', "{x}", "```", "```json\n", '{"a": [', "\\"])


@given(chatter, objects, st.text(alphabet=st.characters(exclude_characters="]}")))
def test_an_object_is_found_behind_any_chatter(before, value, after):
    schema = {"type": "object", "required": ["answer"]}
    text = json.dumps(value, ensure_ascii=False)
    checked = Checker(Answer(schema=schema)).check(before + text + after)
    assert checked.value is not None, checked.problem
    assert json.loads(checked.value) == value


@given(st.text(alphabet='{}[]",:1e-.\\nut`\n ') | st.text())
def test_no_text_makes_it_raise(text):
    checked = ANYTHING.check(text)
    assert (checked.value is None) == bool(checked.problem)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 300_000,
        '{"a":' * 100_000,
        ("[" + "0," * 400) * 400,
        "```a\n" * 100_000,
        "[1]" * 100_000,
        "x [" + "1" * 300_000 + "]",
        '["' * 150_000,
        "<think></think>" * 20_000,
    ],
)
def test_hostile_answers_cost_no_more_than_long_ones(checker, text):
    began = process_time()
    assert checker.check(text).value is None
    assert process_time() - began < 2


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "objekt"}, "/type: "),
        ({"$ref": "https://example.com/verdict.json"}, "inside the schema only"),
        ({"$ref": "file:///etc/passwd"}, "inside the schema only"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
        ({"type": "string", "pattern": "("}, "/pattern: "),
        ({"label": "positive"}, "no keyword that says what fits, only label"),
        ({"required": "label"}, "/required: "),
        (["label"], "not of types"),
    ],
)
def test_a_schema_that_is_none_is_refused_with_the_reason(schema, why):
    with pytest.raises(TemplateError) as caught:
        Checker(Answer(schema=schema))
    assert caught.value.code == "ORC2110"
    assert why in caught.value.why


def test_the_draft_that_a_schema_names_is_the_one_it_is_read_by():
    old = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"n": {"maximum": 3, "exclusiveMaximum": True}},
    }
    assert Checker(Answer(schema=old)).check('{"n": 3}').problem
    assert not Checker(Answer(schema=old)).check('{"n": 2}').problem


def test_columns_are_the_members_of_the_object_with_their_types():
    schema = {
        "$ref": "#/$defs/Verdict",
        "$defs": {
            "Label": {"enum": ["good", "bad"]},
            "Verdict": {
                "type": "object",
                "properties": {
                    "label": {"$ref": "#/$defs/Label"},
                    "why": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "stars": {"type": ["integer", "null"]},
                    "score": {"type": "number"},
                    "sure": {"type": "boolean"},
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "points": {"type": "array", "items": {"type": ["number", "integer"]}},
                    "people": {"type": "array", "items": {"type": "object"}},
                    "place": {"type": "object"},
                    "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                    "fixed": {"const": 3},
                    "free": True,
                    "loop": {"$ref": "#/$defs/Loop"},
                },
            },
            "Loop": {"$ref": "#/$defs/Loop"},
        },
    }
    assert columns_of(schema) == (
        Column("label", "string"),
        Column("why", "string"),
        Column("stars", "int64"),
        Column("score", "double"),
        Column("sure", "bool"),
        Column("tags", "list<item: string>"),
        Column("points", "list<item: double>"),
        Column("people", "string"),
        Column("place", "string"),
        Column("either", "string"),
        Column("fixed", "int64"),
        Column("free", "string"),
        Column("loop", "string"),
    )


def test_an_answer_that_is_no_object_has_no_columns():
    assert columns_of({"type": "array", "items": {"type": "string"}}) == ()
    assert columns_of({"type": "string"}) == ()
