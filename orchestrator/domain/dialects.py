"""Which JSON Schemas a provider takes: each knows less than the whole language.

MFJS, "Moonshot Flavored JSON Schema", is Kimi's: docs/mfjs-spec.md and
docs/mfjs-walle-vs-draft-2020-12.md of github.com/MoonshotAI/walle, 2026. Where these and what users
have met (github.com/MoonshotAI/kimi-cli/issues/1595) disagree, the narrower reading is taken: a
schema that is refused fails every line of a batch, one that is told in words fails none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_TYPES = {"null", "boolean", "object", "array", "number", "integer", "string"}
_NOTES = {"title", "description"}
_BOUNDS = {"minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems"}
_MFJS = {
    *_NOTES,
    *_BOUNDS,
    "type",
    "enum",
    "default",
    "properties",
    "required",
    "additionalProperties",
    "items",
}
_ROOT = {"$defs", "$id"}
_RESERVED = {"$defs", "$ref", "anyOf", "required", "additionalProperties"}
_STRICT = {*_NOTES, "type", "enum", "properties", "required", "additionalProperties", "items"}
_STRICT |= {"anyOf", "$ref", "$defs"}
_BY_NAME = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains")


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether `schema` may be sent with `strict`: each object names, requires, closes its members.

    That, in few keywords, is what platform.openai.com/docs/guides/structured-outputs asks.
    """
    return all(part.keys() <= _STRICT and _is_closed(part) for part in _parts(schema))


def is_mfjs(schema: Mapping[str, Any]) -> bool:
    """Whether Kimi surely takes `schema`."""
    if schema.get("type") != "object" and "$ref" not in schema:
        return False
    root = {name: value for name, value in schema.items() if name not in _ROOT}
    definitions = schema.get("$defs", {})
    if not isinstance(definitions, Mapping) or any("/" in name for name in definitions):
        return False
    parts = [root, *definitions.values()]
    return all(
        _is_mfjs_part(part, definitions)
        for whole in parts
        if isinstance(whole, Mapping)
        for part in _parts(whole)
    )


def _parts(schema: object) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and every one below it; a boolean one says nothing."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for word in _BY_NAME:
        named = schema.get(word)
        for part in named.values() if isinstance(named, Mapping) else ():
            yield from _parts(part)
    for word in _LISTS:
        listed = schema.get(word)
        for part in listed if isinstance(listed, list) else ():
            yield from _parts(part)
    for word in _SINGLE:
        yield from _parts(schema.get(word))


def _is_closed(part: Mapping[str, Any]) -> bool:
    members = part.get("properties", {})
    if part.get("type") != "object" and not members:
        return True
    every = set(members) <= set(part.get("required", ()))
    return every and part.get("additionalProperties") is False


def _is_mfjs_part(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    reference = part.get("$ref")
    if reference is not None:
        name = str(reference).removeprefix("#/$defs/")
        return part.keys() <= _NOTES | {"$ref"} and (reference == "#" or name in definitions)
    if "anyOf" in part:
        return part.keys() <= _NOTES | {"anyOf"}
    if not part:
        return False
    return (
        part.keys() <= _MFJS
        and _is_typed(part)
        and _names_its_members(part)
        and all(_is_natural(part[word]) for word in _BOUNDS & part.keys())
    )


def _is_typed(part: Mapping[str, Any]) -> bool:
    kind, choices = part.get("type"), part.get("enum")
    if isinstance(kind, list):
        return set(kind) <= _TYPES and part.keys() <= _NOTES | {"type"}
    if choices is None:
        return kind in _TYPES
    kinds = {type(choice) for choice in choices}
    return bool(kinds) and (kinds == {str} or kinds <= {int, float})


def _names_its_members(part: Mapping[str, Any]) -> bool:
    members = part.get("properties", {})
    known = set(part.get("required", ())) <= set(members)
    described = all(isinstance(member, Mapping) for member in members.values())
    return known and described and not _RESERVED & set(members)


def _is_natural(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
