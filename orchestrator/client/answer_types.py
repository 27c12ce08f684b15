"""From a Python type to the JSON Schema of an answer, and from an answer's JSON to the type."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from orchestrator.domain.errors import TemplateError
from orchestrator.domain.spec import Answer

NO_SCHEMA = "ORC1151"
DOES_NOT_FIT = "ORC1152"
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]+")


class AnswerType:
    """What an answer must be: a schema for the provider and the checks, a type for Python.

    Takes a JSON Schema as a mapping, a pydantic model, or whatever msgspec can read: a TypedDict,
    a dataclass, a Struct, `list[str]`. Raises TemplateError (ORC1151) for anything else.
    """

    def __init__(self, wanted: Any) -> None:  # noqa: ANN401 - any type there is
        self.wanted = wanted
        self._read: Callable[[str], Any] | None = None
        if isinstance(wanted, Mapping):
            self.schema = dict(wanted)
        elif hasattr(wanted, "model_json_schema"):
            self.schema = dict(wanted.model_json_schema())
            self._read = wanted.model_validate_json
        else:
            self.schema = _schema_of(wanted)
            self._read = msgspec.json.Decoder(wanted).decode

    def answer(self, *, repair: bool, native: bool | None) -> Answer:
        """Return what the job keeps of it."""
        title = self.schema.get("title") or getattr(self.wanted, "__name__", "")
        name = _NO_NAME.sub("_", str(title))[:64].strip("_") or "answer"
        return Answer(schema=self.schema, name=name, native=native, repair=repair)

    def read(self, text: str) -> Any:  # noqa: ANN401 - the type that was wanted
        """Return the answer as the type; JSON as it stands where only a schema was given.

        Raises TemplateError (ORC1152) for an answer that fits the schema and not the type.
        """
        try:
            return self._read(text) if self._read is not None else msgspec.json.decode(text)
        except (ValueError, TypeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise TemplateError(
                f"an answer does not fit the type {_name_of(self.wanted)}",
                code=DOES_NOT_FIT,
                why=first[:200],
                safe="the answer is in the registry; its JSON is in outcome.data",
                next="read outcome.data, or loosen what the type checks beyond its schema",
            ) from error


def _schema_of(wanted: Any) -> dict[str, Any]:  # noqa: ANN401 - any type there is
    try:
        schema = msgspec.json.schema(wanted)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TemplateError(
            f"{_name_of(wanted)} is nothing that an answer can be",
            code=NO_SCHEMA,
            why=str(error).splitlines()[0][:200],
            safe="nothing was registered, nothing was sent",
            next="give a pydantic model, a TypedDict, a dataclass, a Struct or a JSON Schema",
        ) from None
    return _with_the_root_in_place(schema)


def _with_the_root_in_place(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with an object at its root: providers take no mere reference there."""
    reference = schema.get("$ref", "")
    definitions = schema.get("$defs", {})
    name = reference.removeprefix("#/$defs/")
    if name not in definitions:
        return schema
    root = dict(definitions[name])
    others = {key: value for key, value in definitions.items() if key != name}
    used = reference in str(root) or reference in str(others)
    kept = definitions if used else others
    return {**root, "$defs": kept} if kept else root


def _name_of(wanted: Any) -> str:  # noqa: ANN401 - any type there is
    return str(getattr(wanted, "__name__", None) or repr(wanted))[:80]
