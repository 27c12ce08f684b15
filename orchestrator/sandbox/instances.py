"""JSON answers: a small valid instance of a schema, or an object with the keys a prompt names."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import msgspec

DEPTH = 10
"""Levels of a schema that are filled; below them stands null."""

_KEYS = re.compile(r'"(\w{1,40})"\s*:')
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "12:00:00Z",
    "email": "a@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_WORDS = ("clear", "good", "mixed", "plain", "short", "useful", "warm", "wide")

Schema = Mapping[str, object]


class _Named(msgspec.Struct):
    schema: dict[str, object] = {}


class _Format(msgspec.Struct):
    type: str = ""
    json_schema: _Named | None = None


_FORMAT = msgspec.json.Decoder(_Format)


def instance_of(response_format: bytes, draw: int) -> str | None:
    """Return JSON text that `response_format`'s schema admits; None when it has no schema."""
    schema = _schema_in(response_format)
    if schema is None:
        return None
    return msgspec.json.encode(_fill(schema, schema, draw, DEPTH)).decode()


def json_object(prompt: str, draw: int) -> str:
    """Return a JSON object with the keys that `prompt` shows in quotes, or the key `answer`."""
    keys = list(dict.fromkeys(_KEYS.findall(prompt)))[:12] or ["answer"]
    filled = {key: _word(draw >> place) for place, key in enumerate(keys)}
    return msgspec.json.encode(filled).decode()


@functools.lru_cache(maxsize=64)
def _schema_in(response_format: bytes) -> dict[str, object] | None:
    try:
        read = _FORMAT.decode(response_format)
    except msgspec.DecodeError:
        return None
    if read.type != "json_schema" or read.json_schema is None:
        return None
    return read.json_schema.schema or None


def _fill(schema: object, root: Schema, draw: int, depth: int) -> object:
    if not isinstance(schema, Mapping) or depth == 0:
        return None
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[draw % len(choices)]
    elsewhere = _elsewhere(schema, root, draw)
    if elsewhere is not None:
        return _fill(elsewhere, root, draw >> 3, depth - 1)
    return _by_type(schema, root, draw, depth)


def _elsewhere(schema: Schema, root: Schema, draw: int) -> object | None:
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        found: object = root
        for step in reference[2:].split("/"):
            found = found.get(step) if isinstance(found, Mapping) else None
        return found
    for word in ("anyOf", "oneOf"):
        ways = schema.get(word)
        if isinstance(ways, list) and ways:
            way: object = ways[draw % len(ways)]
            return way
    parts = schema.get("allOf")
    if isinstance(parts, list) and parts:
        merged: dict[str, object] = {}
        for part in parts:
            merged.update(part if isinstance(part, Mapping) else {})
        return merged
    return None


def _by_type(schema: Schema, root: Schema, draw: int, depth: int) -> object:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "null"
    match kind:
        case "object":
            return _object(schema, root, draw, depth)
        case "array":
            count = max(1, _number(schema, "minItems", 1))
            count = min(count, _number(schema, "maxItems", count))
            return [
                _fill(schema.get("items", {}), root, draw >> n, depth - 1) for n in range(count)
            ]
        case "integer" | "number":
            return _quantity(schema, draw)
        case "boolean":
            return bool(draw & 1)
        case "null":
            return None
        case _:
            return _text(schema, draw)


def _object(schema: Schema, root: Schema, draw: int, depth: int) -> dict[str, object]:
    below = schema.get("properties")
    if not isinstance(below, Mapping):
        return {}
    # Deep down only what must be there, so that a schema that refers to itself comes to an end.
    required = schema.get("required")
    names = list(below) if depth > DEPTH - 4 or not isinstance(required, list) else required
    return {
        str(name): _fill(below.get(name), root, draw >> place, depth - 1)
        for place, name in enumerate(names)
    }


def _quantity(schema: Schema, draw: int) -> int:
    low = _number(schema, "minimum", _number(schema, "exclusiveMinimum", -1) + 1)
    high = _number(schema, "maximum", _number(schema, "exclusiveMaximum", low + 11) - 1)
    return low + draw % (high - low + 1) if high >= low else low


def _text(schema: Schema, draw: int) -> str:
    kind = schema.get("format")
    if isinstance(kind, str) and kind in _FORMATS:
        return _FORMATS[kind]
    text = _word(draw).ljust(_number(schema, "minLength", 0), "x")
    return text[: _number(schema, "maxLength", len(text))]


def _number(schema: Schema, word: str, default: int) -> int:
    value = schema.get(word)
    return int(value) if isinstance(value, int | float) else default


def _word(draw: int) -> str:
    return _WORDS[draw % len(_WORDS)]
