"""The columns that a job's schema adds to its outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.domain.shape import Column

JSON_TEXT = "string"
"""The type of what has no plain one: it stands in its column as JSON text."""

_PLAIN = {"string": "string", "integer": "int64", "number": "double", "boolean": "bool"}
_MOST_REFERENCES = 32


def columns_of(schema: Mapping[str, Any]) -> tuple[Column, ...]:
    """Return the members of the object that `schema` describes, with Arrow's words for their types.

    Text, whole numbers (`int64`), numbers (`double`), booleans and lists of these, each of which
    may be null; anything else is `string` and holds JSON text. A schema of something other than
    an object has no columns.
    """
    described = _followed(schema, schema)
    members = described.get("properties")
    if not isinstance(members, dict) or _kinds(described) - {"object"}:
        return ()
    return tuple(Column(name, arrow_type(part, schema)) for name, part in members.items())


def arrow_type(part: object, schema: Mapping[str, Any]) -> str:
    """Return the Arrow type of what `part` of `schema` describes."""
    described = _without_null(part, schema)
    kinds = _kinds(described)
    if kinds == {"integer", "number"}:
        return "double"
    if len(kinds) != 1:
        return JSON_TEXT
    kind = kinds.pop()
    if kind == "array" and "items" in described:
        items = described["items"]
        item = arrow_type(items, schema)
        return f"list<item: {item}>" if _is_plain(items, schema) else JSON_TEXT
    return _PLAIN.get(kind, JSON_TEXT)


def _is_plain(part: object, schema: Mapping[str, Any]) -> bool:
    kinds = _kinds(_without_null(part, schema))
    return bool(kinds) and kinds <= _PLAIN.keys() and (len(kinds) == 1 or "string" not in kinds)


def _without_null(part: object, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `part` describes besides null: `anyOf` a thing and null is that thing."""
    described = _followed(part, schema)
    for word in ("anyOf", "oneOf"):
        choices = described.get(word)
        if isinstance(choices, list):
            left = [_followed(choice, schema) for choice in choices]
            left = [choice for choice in left if choice.get("type") != "null"]
            return left[0] if len(left) == 1 else {}
    return described


def _followed(part: object, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return `part` with its references followed inside `schema`; empty where there is none."""
    for _ in range(_MOST_REFERENCES):
        if not isinstance(part, dict):
            return {}
        reference = part.get("$ref")
        if not isinstance(reference, str):
            return part
        part = _at(reference, schema)
    return {}


def _at(reference: str, schema: Mapping[str, Any]) -> object:
    if not reference.startswith("#"):
        return None
    found: object = schema
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _kinds(described: Mapping[str, Any]) -> set[str]:
    """Return the types that a schema names, null apart; those of its constants if it names none."""
    named = described.get("type")
    if isinstance(named, str):
        return {named} - {"null"}
    if isinstance(named, list):
        return {kind for kind in named if isinstance(kind, str)} - {"null"}
    if "const" in described:
        return {_kind(described["const"])} - {"null"}
    if isinstance(described.get("enum"), list):
        return {_kind(value) for value in described["enum"]} - {"null"}
    return {"object"} if "properties" in described else set()


def _kind(value: object) -> str:
    # A truth value is a whole number to Python: it stands first.
    for kind, word in (
        (type(None), "null"),
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
    ):
        if isinstance(value, kind):
            return word
    return "object"
