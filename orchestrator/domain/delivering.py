"""Sinks as they are written: what kind a spec is of, and what its delivery is called."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from orchestrator.domain.spec import SinkSpec

Kind = Literal["file", "sql", "source", "webhook", "use"]

WEBHOOK = "webhook"
_NAME_LENGTH = 200


def kind_of(sink: SinkSpec) -> Kind:
    """Return what kind of sink it is, by its location."""
    location = sink.location
    if location == "source":
        return "source"
    if WEBHOOK in {sink.format, location}:
        return "webhook"
    head = location.partition(":")[0]
    if head == "sql":
        return "sql"
    return "use" if head == "use" else "file"


def delivery_name(sink: SinkSpec, job: str) -> str:
    """Return the name of a job's delivery to a sink: where it goes, without what may be secret."""
    given = sink.options.get("name")
    if isinstance(given, str) and given:
        return given[:_NAME_LENGTH]
    match kind_of(sink):
        case "webhook":
            return _webhook_name(sink.location)
        case "sql":
            return f"{sink.location}/{sink.options.get('table', '')}"[:_NAME_LENGTH]
    return placed(sink.location, job)[-_NAME_LENGTH:]


def _webhook_name(location: str) -> str:
    """Return the host only: a path often is as good as a password."""
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else WEBHOOK


def placed(location: str, job: str) -> str:
    """Return the location with the job's name in the place of `{job}`."""
    return location.replace("{job}", job)


def is_reference(value: object) -> bool:
    """Whether a value tells where a secret is, rather than the secret."""
    places = {"env", "file", "credential", "command"}
    return isinstance(value, dict) and bool(value) and value.keys() <= places


def without_secrets(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as they may be shown: references stay, they are no secrets."""
    return {name: value for name, value in options.items() if name != "url" or is_reference(value)}
