"""The JSON Schema of the configuration file, from the same structs that read it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from orchestrator.domain.money import Money
from orchestrator.domain.units import format_duration
from orchestrator.settings.keys import Key, Kind, all_keys
from orchestrator.settings.schema import Size

_REFERENCE: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": False,
    "properties": {
        "credential": {"type": "string"},
        "file": {"type": "string"},
        "env": {"type": "string"},
        "command": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    },
}
_AMOUNT: dict[str, Any] = {"type": ["number", "string"]}
_PRICE: dict[str, Any] = {
    "type": "object",
    "required": ["currency", "input", "cached_input", "output"],
    "additionalProperties": False,
    "properties": {
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "input": _AMOUNT,
        "cached_input": _AMOUNT,
        "output": _AMOUNT,
        "online_input": _AMOUNT,
        "online_output": _AMOUNT,
        "as_of": {"type": "string", "format": "date"},
        "source": {"type": "string"},
    },
}
_TYPES: dict[Kind, dict[str, Any]] = {
    "text": {"type": "string"},
    "age": {
        "anyOf": [
            {"type": "boolean"},
            {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|min|m|h|d|w)\s*)+$"},
        ]
    },
    "bool": {"type": "boolean"},
    "count": {"type": "integer", "minimum": 1},
    "choice": {"type": "string"},
    "columns": {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}},
        ]
    },
    "place": {"type": "string", "minLength": 1},
    "places": {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
    "size": {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[A-Za-z]+$"},
    "duration": {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|min|m|h|d|w)\s*)+$"},
    "money": {"type": "string", "pattern": r"^\d+(\.\d+)?\s*[A-Z]{3}$"},
    "path": {"type": "string", "minLength": 1},
    "profile": {"type": "string", "minLength": 1},
    "secret": _REFERENCE,
    "url": {"anyOf": [{"type": "string", "pattern": "://"}, _REFERENCE]},
    "window": {"type": "string", "pattern": r"^[1-9]\d{0,3}(m|h|d)$"},
    "zone": {"type": "string"},
    "prices": {"anyOf": [_PRICE, {"type": "array", "items": _PRICE, "minItems": 1}]},
    "conditions": {"type": "array", "items": {"type": "string"}},
    "any": {},
    "sinks": {"type": ["string", "object", "array"]},
}


def configuration_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema 2020-12) of `orchestrator.toml`."""
    root = _table()
    for key in all_keys().values():
        _place(root, key)
    source = root["properties"]["jobs"]["additionalProperties"]["properties"]["source"]
    root["properties"]["jobs"]["additionalProperties"]["properties"]["source"] = {
        "anyOf": [{"type": "string", "minLength": 1}, source]
    }
    overlay = {"type": "object", "additionalProperties": {"$ref": "#/$defs/tables"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "orchestrator.toml",
        "$defs": {"tables": root},
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "schema": {"const": 1},
            **{name: {"$ref": f"#/$defs/tables/properties/{name}"} for name in root["properties"]},
            "env": overlay,
        },
    }


def _table() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _place(root: dict[str, Any], key: Key) -> None:
    table = root
    for part in key.path[:-1]:
        if part == "*":
            if table["additionalProperties"] is False:
                table["additionalProperties"] = _table()
            table = table["additionalProperties"]
        else:
            table = table["properties"].setdefault(part, _table())
    if key.path[-1] == "*":
        table["additionalProperties"] = _leaf(key)
        return
    table["properties"][key.path[-1]] = _leaf(key)
    if key.required:
        table.setdefault("required", []).append(key.path[-1])


def _leaf(key: Key) -> dict[str, Any]:
    leaf = dict(_TYPES[key.kind])
    if key.help:
        leaf["description"] = key.help
    if key.choices:
        leaf["enum"] = list(key.choices)
    match key.default:
        case timedelta():
            leaf["default"] = format_duration(key.default)
        case Money():
            leaf["default"] = str(key.default)
        case Size():
            leaf["default"] = key.default.written()
        case str() | int() | bool() if key.default != "":
            leaf["default"] = key.default
    return leaf
