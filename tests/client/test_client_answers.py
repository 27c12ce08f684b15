"""An answer is what the program's own type says: asked for, checked, and read as it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest
from client.conftest import a_spec

from orchestrator import Orchestrator, Outcome, errors
from orchestrator.client.answer_types import AnswerType

Mood = Literal["good", "bad"]


class Verdict(pydantic.BaseModel):
    mood: Mood
    stars: int


class TypedVerdict(TypedDict):
    mood: Mood
    stars: int


class StructVerdict(msgspec.Struct):
    mood: Mood
    stars: int


@dataclass
class DataVerdict:
    mood: Mood
    stars: int


class Tree(msgspec.Struct):
    name: str
    below: list[Tree] = []


class Picky(Verdict):
    @pydantic.field_validator("stars")
    @classmethod
    def never(cls, _value: int) -> int:
        raise ValueError("no number is good enough")


SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}, "stars": {"type": "integer"}},
    "required": ["mood", "stars"],
    "additionalProperties": False,
}


def answered(orc: Orchestrator, wanted: Any, **changes: Any) -> list[Outcome]:
    job = orc.submit(a_spec(answer=wanted, **changes))
    return list(job.wait(timeout="60s", raise_on_failed=True).outcomes())


def test_answers_are_instances_of_the_model(orc: Orchestrator):
    found = answered(orc, Verdict)
    assert all(isinstance(one.answer, Verdict) for one in found)
    assert found[0].data == found[0].answer.model_dump()
    frame = orc.job("labels").outcomes().to_polars()
    assert {"mood", "stars"} <= set(frame.columns)
    assert frame["stars"].dtype.is_integer()
    assert all(isinstance(o.data, dict) for o in orc.job("labels").outcomes())
    again = orc.job("labels", answer=StructVerdict).outcomes()
    assert all(isinstance(o.answer, StructVerdict) for o in again)


@pytest.mark.parametrize("wanted", [TypedVerdict, StructVerdict, DataVerdict, SCHEMA])
def test_whatever_says_what_an_answer_is_will_do(wanted: Any, lite: Orchestrator):
    for outcome in answered(lite, wanted):
        assert outcome.data["mood"] in ("good", "bad")
        kind = dict if wanted in (TypedVerdict, SCHEMA) else wanted
        assert isinstance(outcome.answer, kind)


def test_an_answer_that_does_not_fit_is_asked_again_and_then_failed(registry_url: str, home: Path):
    (home / "clumsy.toml").write_text("[lines]\ninvalid_json = 1.0\n")
    with Orchestrator.sandbox(registry=registry_url, temper="clumsy.toml") as orc:
        job = orc.submit(a_spec(answer=Verdict)).wait(timeout="120s")
        for outcome in job.outcomes():
            assert outcome.succeeded == isinstance(outcome.answer, Verdict)
            if not outcome.succeeded:
                assert outcome.error is not None
                assert outcome.attempts > 1
                assert outcome.data is None


def test_a_type_that_refuses_what_its_schema_allows_says_so_when_it_is_read(lite: Orchestrator):
    outcome = answered(lite, Picky)[0]
    assert outcome.data["stars"] is not None
    with pytest.raises(errors.TemplateError) as refused:
        _ = outcome.answer
    assert refused.value.code == "ORC1152"
    assert "Picky" in refused.value.message


def test_what_no_answer_can_be_is_refused(lite: Orchestrator):
    with pytest.raises(errors.TemplateError) as refused:
        lite.plan(a_spec(answer=complex))
    assert refused.value.code == "ORC1151"


def test_the_schema_of_a_type_has_an_object_at_its_root():
    schema = AnswerType(StructVerdict).schema
    assert schema["type"] == "object"
    assert "$defs" not in schema


def test_a_type_that_holds_itself_keeps_its_definition():
    answer = AnswerType(Tree)
    assert answer.schema["properties"]["below"]["items"] == {"$ref": "#/$defs/Tree"}
    assert "Tree" in answer.schema["$defs"]
    assert answer.read('{"name":"a","below":[{"name":"b"}]}') == Tree("a", [Tree("b")])


def test_the_name_that_a_provider_is_told_is_one_that_it_takes():
    generic = AnswerType({"title": "A verdict, please!", "type": "object"})
    assert generic.answer(repair=True, native=None).name == "A_verdict_please"
    assert AnswerType({}).answer(repair=True, native=None).name == "answer"
