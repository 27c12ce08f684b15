"""How a provider is asked for answers that fit a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.domain.profile import Profile
from orchestrator.domain.spec import JobSpec

FIELD = "response_format"


def asked_for(spec: JobSpec, profile: Profile | None) -> tuple[dict[str, Any], str]:
    """Return the fields of the body that ask for the job's schema, and words for the system text.

    Where the provider knows `json_schema`, the schema stands in the body; where it knows
    `json_object`, that does, and the system text tells the schema; else the system text alone.
    `native` of the job's answer decides over the profile, a `response_format` of the job's own
    stands as it is.
    """
    answer = spec.answer
    if answer is None or FIELD in spec.body:
        return {}, ""
    known = profile.quirks.response_format if profile else "text"
    if answer.native or (answer.native is None and known == "json_schema"):
        form = {
            "name": answer.name,
            "schema": answer.schema,
            "strict": closes_every_object(answer.schema),
        }
        return {FIELD: {"type": "json_schema", "json_schema": form}}, ""
    schema = msgspec.json.encode(answer.schema).decode()
    words = f"Answer with nothing but JSON that fits this JSON Schema: {schema}"
    fields = {} if known == "text" else {FIELD: {"type": "json_object"}}
    return fields, words


def closes_every_object(schema: object) -> bool:
    """Whether each object of `schema` names all its members, requires them, and allows no other.

    That is what providers that follow OpenAI ask of a schema they are to hold to strictly; any
    other is sent with `strict` false, and what comes back is checked here all the same.
    """
    if isinstance(schema, list):
        return all(map(closes_every_object, schema))
    if not isinstance(schema, Mapping):
        return True
    members = schema.get("properties")
    is_object = schema.get("type") == "object" or isinstance(members, Mapping)
    if is_object and not _is_closed(schema, members):
        return False
    return all(map(closes_every_object, schema.values()))


def _is_closed(schema: Mapping[str, Any], members: object) -> bool:
    named = set(members) if isinstance(members, Mapping) else set()
    required = schema.get("required")
    every = isinstance(required, list) and named <= {str(name) for name in required}
    return every and schema.get("additionalProperties") is False
