"""Sinks as they are written: read, what kind one is of, and what its delivery is called."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from orchestrator.domain.spec import SinkSpec

Kind = Literal["file", "sql", "source", "webhook", "use"]

WEBHOOK = "webhook"
_KINDS = ("file", "sql", "source", "webhook", "use")
_NAME_LENGTH = 200
_HASH_LENGTH = 8
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WHERE = frozenset({"name", "table", "url"})
"""Options that belong to the place of a sink."""
_PLACES = {"env", "file", "credential", "command"}


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


def is_local(sink: SinkSpec) -> bool:
    """Whether the sink is a file of this machine."""
    return kind_of(sink) == "file" and not _URL.match(sink.location)


def delivery_name(sink: SinkSpec, job: str) -> str:
    """Return the name of a job's delivery to a sink: where it goes, without what may be secret."""
    given = sink.options.get("name")
    if isinstance(given, str) and given:
        return given[:_NAME_LENGTH]
    match kind_of(sink):
        case "webhook":
            return _webhook_name(sink)
        case "sql":
            return f"{_without_query(sink.location)}/{sink.options.get('table', '')}"[
                -_NAME_LENGTH:
            ]
    return placed(sink.location, job)[-_NAME_LENGTH:]


def says_how(sink: SinkSpec) -> bool:
    """Whether a sink says more than where it is: how it is to be written."""
    return sink.format not in {"auto", WEBHOOK} or not sink.options.keys() <= _WHERE


def is_same_place(one: SinkSpec, other: SinkSpec, job: str) -> bool:
    """Whether two sinks of a job are one place: what one has, the other has too."""
    return placed(one.location, job) == placed(other.location, job) and all(
        one.options.get(option) == other.options.get(option) for option in ("table", "url")
    )


def _without_query(location: str) -> str:
    return location.partition("?")[0]


def _webhook_name(sink: SinkSpec) -> str:
    """Return the host and a hash: a path often is as good as a password, yet tells two apart."""
    url = sink.options.get("url")
    place = sink.location if url is None else msgspec.json.encode(url, order="sorted").decode()
    parts = urlsplit(sink.location)
    shown = WEBHOOK
    if parts.hostname:
        # Of what may hold a user's name only host and port are shown.
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    digest = hashlib.sha256(place.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{shown[: _NAME_LENGTH - _HASH_LENGTH - 1]}#{digest}"


def placed(location: str, job: str) -> str:
    """Return the location with the job's name in the place of `{job}`."""
    return location.replace("{job}", job)


def is_reference(value: object) -> bool:
    """Whether a value tells where a secret is, rather than the secret."""
    return isinstance(value, dict) and bool(value) and value.keys() <= _PLACES


def read_sink(text: str, *, stream: bool = False) -> SinkSpec:
    """Return the sink that a text names.

    A path; `sql:CONNECTION/TABLE`; `source`; `use:NAME`; an http(s) address. Options of all but an
    address follow a question mark: `sql:warehouse/tags?mode=append`. Raises ValueError.
    """
    if text.startswith(("http://", "https://")):
        return SinkSpec(location=text, format=WEBHOOK, stream=stream)
    location, _, query = text.partition("?")
    options: dict[str, Any] = {name: _value(value) for name, value in parse_qsl(query)}
    if location.startswith("sql:"):
        location, _, table = location.rpartition("/")
        if not table or not location.removeprefix("sql:"):
            raise ValueError("a table is named as sql:CONNECTION/TABLE")
        options["table"] = table
    if not location:
        raise ValueError("it names no place")
    form = options.pop("format", "auto")
    return SinkSpec(location=location, format=str(form), stream=stream, options=options)


def _value(text: str) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def sink_of(table: dict[str, Any]) -> SinkSpec:
    """Return the sink that a table declares, `{ sql = "warehouse", table = "tags" }`.

    Exactly one member says the kind. Raises ValueError, for a secret in the clear too.
    """
    kinds = [kind for kind in _KINDS if kind in table]
    if len(kinds) != 1:
        have = " and ".join(kinds) or "none of them"
        raise ValueError(f"a sink has one of {', '.join(_KINDS)}; this one has {have}")
    options = dict(table)
    place = options.pop(kinds[0])
    stream, form = options.pop("stream", False), options.pop("format", "auto")
    if not isinstance(stream, bool) or not isinstance(form, str):
        raise ValueError("a sink's stream is true or false, its format a text")  # noqa: TRY004 - a setting's
    if "secret" in options and not is_reference(options["secret"]):
        raise ValueError('the secret of a sink is a reference like { env = "NAME" }')
    if kinds[0] == WEBHOOK:
        return _webhook(place, stream, options)
    if kinds[0] == "source":
        return SinkSpec(location="source", stream=stream, options=options)
    if not isinstance(place, str) or not place:
        raise ValueError(f"{kinds[0]} of a sink takes a text")
    location = place if kinds[0] == "file" else f"{kinds[0]}:{place}"
    return SinkSpec(location=location, format=form, stream=stream, options=options)


def _webhook(place: object, stream: bool, options: dict[str, Any]) -> SinkSpec:
    if is_reference(place):
        options["url"] = place
        return SinkSpec(location=WEBHOOK, format=WEBHOOK, stream=stream, options=options)
    if not isinstance(place, str) or not place.startswith(("http://", "https://")):
        raise ValueError('webhook takes an http(s) address or a reference like { env = "NAME" }')
    return SinkSpec(location=place, format=WEBHOOK, stream=stream, options=options)
