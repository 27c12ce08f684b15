"""What a job's schema asks of its answers: the JSON found in a text, and whether it fits.

A block `<think>...</think>` that the text begins with is passed over: what a model tries out there
is not its answer. How JSON is found in the rest, in this order:

1. the whole text is JSON;
2. a fenced block (three backquotes on lines of their own) is a JSON object or array;
3. a JSON object or array stands in the text, outside any other.

The first of these that brings something that fits decides. Where several that fit say different
things, none is taken: a guess would be recorded as the model's word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

import jsonschema_rs
import msgspec

from orchestrator.domain.answer_columns import columns_of
from orchestrator.domain.errors import TemplateError
from orchestrator.domain.spec import Answer

__all__ = ["Checked", "Checker", "columns_of"]

NO_SCHEMA = "ORC2110"

NO_JSON = "no JSON in the answer"
EMPTY = "the answer is empty"
MOST_WORDS = 800
"""Characters of the words about one answer."""

_MOST_ERRORS = 3
_ONE_ERROR = 300
_VALUE = "the value"
_FENCE = "```"
_THINKS, _THOUGHT = "<think>", "</think>"
_BRACKET = re.compile(r"[{\[]")
_decode = msgspec.json.decode


class Checked(msgspec.Struct, frozen=True, gc=False):
    """An answer held against the schema.

    `value` is its JSON as accepted, compact, every digit as received; None where it does not fit,
    and `problem` says why in at most 800 characters, without the answer's own text.
    """

    value: str | None
    problem: str = ""


class Checker:
    """Holds answers against the schema of a job. Raises TemplateError (ORC2110) for no schema."""

    def __init__(self, answer: Answer) -> None:
        self._validator = _compiled(answer.schema)
        self._fits = self._validator.is_valid

    def check(self, text: str) -> Checked:
        """Return the JSON that `text` holds if it fits the schema. Never raises."""
        said = _behind_thought(text)
        for whole in (text,) if said is text else (text, said):
            try:
                value = _decode(whole)
            except (msgspec.DecodeError, UnicodeError, RecursionError):
                continue
            return Checked(_compact(whole)) if self._fits(value) else self._misfit(value)
        return self._unwrapped(said)

    def _misfit(self, value: object) -> Checked:
        return Checked(None, self._words(value))

    def _unwrapped(self, text: str) -> Checked:
        misfit: Any = msgspec.UNSET
        for found in (_fenced(text), _standing(text)):
            fitting: dict[str, None] = {}
            for part, value in found:
                if self._fits(value):
                    fitting[_compact(part)] = None
                else:
                    misfit = value
            if len(fitting) == 1:
                return Checked(next(iter(fitting)))
            if fitting:
                count = len(fitting)
                return Checked(None, f"the answer holds {count:,} different values that fit")
        if misfit is msgspec.UNSET:
            return Checked(None, NO_JSON if text.strip() else EMPTY)
        return self._misfit(misfit)

    def _words(self, value: object) -> str:
        told = []
        for number, error in enumerate(self._validator.iter_errors(value), 1):
            if number > _MOST_ERRORS:
                told.append("and more")
                break
            told.append(_capped(f"{_pointer(error.instance_path)}{error.message}", _ONE_ERROR))
        # Nested deeper than the validator goes, a value does not fit without a word why.
        return _capped("; ".join(told) or "the JSON is nested too deeply", MOST_WORDS)


def _compiled(schema: object) -> jsonschema_rs.Validator:
    try:
        validator = jsonschema_rs.validator_for(
            schema,  # type: ignore[arg-type]  # what else it may be is what is checked here
            validate_formats=False,
            mask=_VALUE,
            offline=True,  # a schema that is fetched would be another one tomorrow
        )
    except (ValueError, TypeError, RecursionError, jsonschema_rs.ReferencingError) as error:
        _refuse(_why_no_schema(error))
    if isinstance(schema, dict) and schema and not schema.keys() & _KEYWORDS:
        shown = ", ".join(sorted(schema)[:5])
        _refuse(f"it has no keyword that says what fits, only {shown}")
    return validator


def _refuse(why: str) -> NoReturn:
    raise TemplateError(
        "the answer's schema is not a JSON Schema that can be used",
        code=NO_SCHEMA,
        why=_capped(why, MOST_WORDS),
        safe="nothing was registered, nothing was sent",
        next='mend it, as in {"type": "object", "properties": {"label": {"type": "string"}}}',
    )


def _why_no_schema(error: Exception) -> str:
    if not isinstance(error, jsonschema_rs.ValidationError):
        return str(error)
    if "Retrieval is disabled" in error.message:
        return f"{error.message}: references are followed inside the schema only"
    return _pointer(error.instance_path) + error.message


_KEYWORDS = frozenset(
    {
        "$dynamicRef",
        "$recursiveRef",
        "$ref",
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "contains",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "if",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "oneOf",
        "pattern",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "required",
        "type",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    }
)
"""What narrows the values that fit: without any of these everything does."""


def _pointer(path: list[str | int]) -> str:
    """Return where in the value an error is, as a JSON pointer; nothing for the value itself."""
    return "".join(f"/{part}" for part in path) + ": " if path else ""


def _capped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _compact(text: str) -> str:
    """Return valid JSON without blanks; numbers and escapes stay as they are."""
    return msgspec.json.format(text, indent=-1)


def _behind_thought(text: str) -> str:
    """Return what stands behind the thoughts that `text` begins with; `text` if it has none."""
    if not text.lstrip().startswith(_THINKS):
        return text
    _thoughts, ends, said = text.partition(_THOUGHT)
    return said if ends else text


def _fenced(text: str) -> Iterator[tuple[str, Any]]:
    """Yield what stands in fenced blocks and is a JSON object or array. The last may be open."""
    inside: list[str] | None = None
    for line in text.split("\n"):
        mark = line.strip()
        if inside is None:
            if mark.startswith(_FENCE) and "`" not in mark[3:]:
                inside = []
        elif mark == _FENCE:
            yield from _container("\n".join(inside))
            inside = None
        else:
            inside.append(line)
    if inside is not None:
        yield from _container("\n".join(inside))


def _standing(text: str) -> Iterator[tuple[str, Any]]:
    """Yield the JSON objects and arrays in `text` that stand in no other one.

    A bracket that begins no JSON is passed over. What is read in vain is bounded by a few times
    the text, so that hostile brackets cost no more than a long answer.
    """
    end, spare = 0, 16 * len(text) + 100_000
    while spare > 0:
        bracket = _BRACKET.search(text, end)
        if bracket is None:
            return
        start = bracket.start()
        try:
            _, end = _SCANNER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            # To make the error, the lines of all the text before it were counted.
            spare -= error.pos - start + error.pos // 32 + 1
            end = start + 1
        except (ValueError, RecursionError):
            spare -= len(text) - start
            end = start + 1
        else:
            yield from _container(text[start:end])


def _container(text: str) -> Iterator[tuple[str, Any]]:
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    if isinstance(value, dict | list):
        yield text, value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Numbers are passed over as text: one of a million digits costs nothing then.
_SCANNER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)
