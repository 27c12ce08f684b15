"""Which schemas providers take."""

from __future__ import annotations

import pydantic
import pytest

from orchestrator.domain.dialects import is_mfjs, is_strict

INNER = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = {**INNER, "additionalProperties": False}


def test_strict_is_what_closes_every_object():
    assert is_strict(CLOSED)
    assert is_strict({"type": "array", "items": CLOSED})
    assert not is_strict({"type": "array", "items": INNER})
    assert not is_strict({**CLOSED, "required": []})
    assert not is_strict({**CLOSED, "$defs": {"x": INNER}})
    assert not is_strict({**CLOSED, "properties": {"a": {"type": "string", "minLength": 1}}})


def of(member):
    return {"type": "object", "properties": {"m": member}}


@pytest.mark.parametrize(
    "member",
    [
        {"type": "string", "description": "d", "title": "t", "minLength": 1},
        {"type": "integer", "minimum": 0, "maximum": 5, "default": 3},
        {"enum": ["a", "b"]},
        {"type": "string", "enum": ["a"]},
        {"type": ["string", "null"], "title": "t"},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "title": "t"},
        {"type": "array", "items": {"type": "number"}, "maxItems": 3},
        {"type": "object", "properties": {}, "additionalProperties": {"type": "string"}},
        {"$ref": "#", "description": "again"},
    ],
)
def test_kimi_takes_what_its_specification_shows(member):
    assert is_mfjs(of(member))


@pytest.mark.parametrize(
    "member",
    [
        {},
        True,
        {"description": "no type"},
        {"type": "text"},
        {"type": "string", "pattern": "a"},
        {"type": "string", "format": "date"},
        {"const": "a"},
        {"enum": ["a", 1]},
        {"enum": [True]},
        {"enum": []},
        {"type": "number", "minimum": -1},
        {"type": "number", "maximum": 0.5},
        {"type": ["string", "integer"], "minLength": 1},
        {"type": "string", "anyOf": [{"minLength": 1}]},
        {"anyOf": [{"description": "no type"}]},
        {"oneOf": [{"type": "string"}]},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com/a.json"},
        {"$ref": "#", "type": "object"},
        {"type": "array", "items": {}},
        {"type": "object", "required": ["x"]},
        {"type": "object", "properties": {"required": {"type": "string"}}},
        {"type": "object", "$defs": {"x": {"type": "string"}}},
    ],
)
def test_kimi_may_refuse_all_else(member):
    assert not is_mfjs(of(member))


def test_kimi_asks_for_an_object_at_the_root_and_definitions_there():
    assert not is_mfjs({"type": "array", "items": {"type": "string"}})
    whole = {**of({"$ref": "#/$defs/x"}), "$id": "verdict", "$defs": {"x": {"type": "string"}}}
    assert is_mfjs(whole)
    assert not is_mfjs({**whole, "$defs": {"x": {"type": "string", "pattern": "a"}}})
    assert not is_mfjs({**whole, "$defs": {"x": {"type": "string"}, "a/b": {"type": "string"}}})


class Point(pydantic.BaseModel):
    at: int


class Verdict(pydantic.BaseModel):
    label: str
    why: str | None
    points: list[Point]


def test_what_pydantic_makes_of_a_plain_model_is_taken():
    assert is_mfjs(Verdict.model_json_schema())
