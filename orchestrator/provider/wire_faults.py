"""A provider's faults in every shape seen: error members, error bodies, files of validation errors.

Shapes: `{"error": {"message", "type", "code"}}` (Kimi, platform.kimi.ai/docs/api/batch-create),
`{"detail": string, object or list}` (DeepInfra, FastAPI), `{"error": "words"}`, `{"message"}`,
`errors.data[]` with a line number (github.com/openai/openai-openapi, Batch object).
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from orchestrator.provider.wire_values import OddAnswer, count, identifier, read_json, words

_MAX_FAULTS = 10_000
_MAX_DEPTH = 4


class Fault(NamedTuple):
    """What a provider says went wrong. `line` counts as the provider counts."""

    code: str
    kind: str
    message: str
    line: int | None = None
    custom_id: str | None = None

    @property
    def name(self) -> str:
        """The most telling word: `code` unless it is only a number, else `type`."""
        return self.code if self.code and not self.code.isdigit() else self.kind or self.code

    @property
    def quote(self) -> str:
        """The provider's words in quotation marks, and its word for them."""
        said = f'"{self.message}"' if self.message else ""
        return f"{said} ({self.name})".strip() if self.name else said


class LineFault(NamedTuple):
    """One entry of the error file of a batch that failed validation."""

    line: int | None
    custom_id: str | None
    code: str
    message: str


def read_fault(value: object, depth: int = 0) -> Fault | None:
    """Return the fault in an `error` member of any shape; None if it says nothing."""
    if isinstance(value, str):
        return Fault("", "", words(value)) if value.strip() else None
    if isinstance(value, dict):
        return _from_object(value, depth)
    if isinstance(value, list):
        return _from_list(value, depth)
    return Fault("", "", words(value)) if value else None


def _from_object(value: dict[str, Any], depth: int) -> Fault | None:
    nested = _inner(value)
    inner = read_fault(nested, depth + 1) if nested and depth < _MAX_DEPTH else None
    fault = Fault(
        code=_word(value.get("code")) or (inner.code if inner else ""),
        kind=_word(value.get("type")) or (inner.kind if inner else ""),
        message=_message(value) or (inner.message if inner else ""),
        line=count(value.get("line")) if "line" in value else (inner.line if inner else None),
        custom_id=identifier(value.get("custom_id")) or (inner.custom_id if inner else None),
    )
    return fault if fault.code or fault.kind or fault.message else None


def _inner(value: dict[str, Any]) -> object:
    for name in ("error", "detail", "errors", "data", "response", "body"):
        if isinstance(value.get(name), dict | list) and value[name]:
            return value[name]
    return None


def _message(value: dict[str, Any]) -> str:
    for name in ("message", "msg", "detail", "error", "error_description", "reason", "errors"):
        if isinstance(value.get(name), str) and value[name].strip():
            return words(value[name])
    return ""


def _from_list(value: list[Any], depth: int) -> Fault | None:
    if depth >= _MAX_DEPTH:
        return None
    faults = [fault for item in value[:3] if (fault := read_fault(item, depth + 1))]
    if not faults:
        return None
    return faults[0]._replace(message=words("; ".join(f.message for f in faults if f.message)))


def _word(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return words(value, 80)


def read_error_body(raw: bytes) -> Fault | None:
    """Return the fault in the body of a refused call; None if it is not a parsed error.

    Only a parsed error counts as the provider's own word: an HTML page, an empty body or JSON
    that names no error may come from anything on the way.
    """
    try:
        value = read_json(raw)
    except OddAnswer:
        return None
    return read_fault(value) if isinstance(value, dict | list | str) else None


def read_request_id(raw: bytes) -> str:
    """Return the `request_id` that an error body may carry, else an empty string."""
    try:
        value = read_json(raw)
    except OddAnswer:
        return ""
    places = (value, value.get("error")) if isinstance(value, dict) else ()
    for place in places:
        if isinstance(place, dict) and (found := identifier(place.get("request_id"))):
            return found
    return ""


def read_validation_errors(raw: bytes) -> list[LineFault]:
    """Return what the error file of a failed batch says, in whatever shape, at most 10,000 faults.

    The format is not documented (platform.kimi.ai/docs/api/batch-retrieve only names the place):
    JSONL with `custom_id` or `line`, one JSON document, plain text and an empty file are read.
    """
    if not raw.strip():
        return []
    try:
        return _faults_of(read_json(raw))
    except OddAnswer:
        pass
    found: list[LineFault] = []
    for line in raw.splitlines():
        if len(found) >= _MAX_FAULTS:
            break
        if line.strip():
            found.extend(_faults_of_line(line))
    return found[:_MAX_FAULTS]


def _faults_of_line(line: bytes) -> list[LineFault]:
    try:
        return _faults_of(read_json(line))
    except OddAnswer:
        text = words(line[:4096].decode("utf-8", "replace"))
        numbered = re.search(r"\bline\s+(\d{1,9})", text, re.IGNORECASE)
        return [LineFault(int(numbered[1]) if numbered else None, None, "", text)] if text else []


def _faults_of(value: object) -> list[LineFault]:
    entries = _entries(value)
    faults = (read_fault(entry) for entry in entries[:_MAX_FAULTS])
    return [LineFault(f.line, f.custom_id, f.name, f.message) for f in faults if f]


def _entries(value: object, depth: int = 0) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and "custom_id" not in value and depth < _MAX_DEPTH:
        for name in ("errors", "data", "detail"):
            if isinstance(value.get(name), dict | list) and value[name]:
                return _entries(value[name], depth + 1)
    return [value]
