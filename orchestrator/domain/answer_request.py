"""How a provider is asked for answers that fit a schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from orchestrator.domain.dialects import is_mfjs, is_strict
from orchestrator.domain.profile import Profile
from orchestrator.domain.spec import JobSpec

FIELD = "response_format"


def asked_for(spec: JobSpec, profile: Profile | None) -> tuple[dict[str, Any], str]:
    """Return the fields of the body that ask for the job's schema, and words for the system text.

    Where the provider knows `json_schema`, and the schema is of its dialect, the schema stands in
    the body; where it knows JSON at all, `json_object` does, and the system text tells the schema;
    else the system text alone. `native` of the job's answer decides over the profile, a
    `response_format` of the job's own stands as it is.
    """
    answer = spec.answer
    if answer is None or FIELD in spec.body:
        return {}, ""
    known = profile.quirks.response_format if profile else "text"
    # Which draft it is written in is ours to know; no provider takes the word.
    schema = {name: value for name, value in answer.schema.items() if name != "$schema"}
    if answer.native or (answer.native is None and _takes(profile, schema)):
        form = {"name": answer.name, "schema": schema, "strict": is_strict(schema)}
        return {FIELD: {"type": "json_schema", "json_schema": form}}, ""
    told = msgspec.json.encode(schema).decode()
    words = f"Answer with nothing but JSON that fits this JSON Schema: {told}"
    fields = {} if known == "text" else {FIELD: {"type": "json_object"}}
    return fields, words


def _takes(profile: Profile | None, schema: Mapping[str, Any]) -> bool:
    """Whether the provider surely takes `schema` as it stands."""
    if profile is None or profile.quirks.response_format != "json_schema":
        return False
    return profile.quirks.schema_dialect == "any" or is_mfjs(schema)
