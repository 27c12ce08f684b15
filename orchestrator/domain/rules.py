"""Every rule of the protocol that can be checked before anything is uploaded.

A rule answers with violations instead of raising, so that a user sees all of them at once. Those
of the job as a whole stand at position 0.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestrator.domain import custom_ids, windows
from orchestrator.domain.intake import Record, Violation
from orchestrator.domain.profile import Limits, Profile
from orchestrator.domain.prompt_text import as_text
from orchestrator.domain.record_keys import joined, key_columns
from orchestrator.domain.spec import RENDERED, JobSpec

CHAT = "/v1/chat/completions"
OWN_METADATA_PAIRS = 5
"""Metadata pairs of a batch that we need ourselves: token, instance, attempt, digest."""

MAX_KEY_BYTES = 1024
"""Longest key in UTF-8 bytes: an indexed column of PostgreSQL takes no more than 2,704."""

SUFFIX_ROOM = 16
"""Bytes by which `~2`, `~3` and so on may lengthen a line after its size was checked."""

_ANSWER_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What OpenAI takes as the name of a schema; others take no less."""

MAX_MODELS = 100
"""Different models one job may name: each is packed apart and counted apart."""

EMPTY = "ORC2004"
KEY = "ORC2010"
REPEATED_KEY = "ORC2011"
CUSTOM_ID = "ORC2012"
METHOD_OR_URL = "ORC2013"
BODY = "ORC2014"
MODEL = "ORC2015"
FORBIDDEN = "ORC2016"
SIZE = "ORC2017"
MIXED_MODELS = "ORC2018"
METADATA = "ORC2020"
ENDPOINT = "ORC2021"
CONTENT = "ORC2022"


def job_violations(spec: JobSpec, profile: Profile) -> list[Violation]:
    """Return the rules that `spec` breaks whatever its records are."""
    return [
        Violation(0, code, reason)
        for rule in (_content, _answer, _endpoint, _window, _metadata, _job_model, _job_body)
        for code, reason in rule(spec, profile)
    ]


def _content(spec: JobSpec, _profile: Profile) -> Iterator[tuple[str, str]]:
    given = [name for name in ("prompt", "template") if getattr(spec, name) is not None]
    given += ["lines"] if spec.lines else []
    given += ["messages"] if spec.source_format == RENDERED else []
    if len(given) != 1:
        found = " and ".join(given) or "none"
        yield CONTENT, f"a job takes one of prompt, template and lines; it has {found}"
    if spec.source_format == RENDERED and spec.system is not None:
        yield CONTENT, "the system text is one of the messages: leave out the other one"
    if spec.lines and spec.system is not None:
        yield CONTENT, "ready batch lines hold their own messages: leave out the system text"
    if spec.lines and spec.body:
        yield CONTENT, f"ready batch lines hold their own body: leave out {_names(spec.body)}"
    if spec.lines and (spec.images or spec.overrides):
        yield CONTENT, "ready batch lines hold their own body: leave out images and overrides"
    if spec.lines and spec.key not in (None, "custom_id"):
        yield CONTENT, f'ready batch lines are known by custom_id: leave out the key "{spec.key}"'
    if spec.changed_only and spec.on_duplicate != "error":
        yield CONTENT, f'what changed is told by the key: on_duplicate is "{spec.on_duplicate}"'
    if spec.changed_only and not (spec.lines or spec.key or spec.source.startswith("job:")):
        yield CONTENT, "what changed is told by the key: say which column identifies a record"
    if spec.limit is not None and spec.limit < 1:
        yield CONTENT, f"the limit is {spec.limit:,} records; the least is 1"


def _answer(spec: JobSpec, _profile: Profile) -> Iterator[tuple[str, str]]:
    if spec.answer is not None and not _ANSWER_NAME.fullmatch(spec.answer.name):
        named = shortened(spec.answer.name)
        yield CONTENT, f"an answer is called by 1 to 64 letters, digits, _ and -, not {named}"


def _endpoint(spec: JobSpec, profile: Profile) -> Iterator[tuple[str, str]]:
    if spec.endpoint not in profile.endpoints:
        offered = ", ".join(profile.endpoints)
        yield ENDPOINT, f"{profile.name} has no batches for {spec.endpoint}; it has {offered}"
    elif spec.endpoint != CHAT and not spec.lines:
        yield ENDPOINT, f"a prompt makes chat messages; {spec.endpoint} takes ready batch lines"


def _window(spec: JobSpec, profile: Profile) -> Iterator[tuple[str, str]]:
    if reason := windows.broken_rule(spec.window, profile.window):
        yield windows.CODE, reason


def _metadata(spec: JobSpec, profile: Profile) -> Iterator[tuple[str, str]]:
    limits = profile.limits
    most = max(0, limits.metadata_pairs - OWN_METADATA_PAIRS)
    if len(spec.metadata) > most:
        reason = f"metadata has {len(spec.metadata):,} pairs; at most {most} are left of "
        reason += f"{limits.metadata_pairs}, since {OWN_METADATA_PAIRS} serve to find batches again"
        yield METADATA, reason
    for key, value in spec.metadata.items():
        most_key, most_value = limits.metadata_key_chars, limits.metadata_value_chars
        if not 0 < len(key) <= most_key:
            reason = f"metadata key {shortened(key)} has {len(key):,} characters; "
            yield METADATA, f"{reason}1 to {most_key} are allowed"
        if len(value) > most_value:
            reason = f"the value of metadata key {shortened(key)} has {len(value):,} characters; "
            yield METADATA, f"{reason}at most {most_value} are allowed"


def _job_model(spec: JobSpec, profile: Profile) -> Iterator[tuple[str, str]]:
    if spec.model:
        if reason := model_reason(spec.model, profile):
            yield MODEL, reason
    elif not spec.lines and "model" not in spec.overrides:
        known = ", ".join(name for name, model in profile.models.items() if model.batch)
        yield MODEL, "no model is given" + (f"; {profile.name} has {known}" if known else "")


def _job_body(spec: JobSpec, profile: Profile) -> Iterator[tuple[str, str]]:
    if spec.lines:
        return
    for name in ("model", "messages"):
        if name in spec.body:
            yield CONTENT, f"body.{name} is set by the job itself: leave it out"
    set_by_records = {field.partition(".")[0]: True for field in spec.overrides}
    for name in forbidden({**spec.body, **set_by_records}, spec.model or "", profile):
        yield FORBIDDEN, _forbidden_reason(f"body.{name}", spec.model or "", profile)


def longest_line(limits: Limits) -> int:
    """Return the bytes of the longest batch line that the provider takes, line break included."""
    return min(limits.max_line_bytes or limits.max_file_bytes, limits.max_file_bytes)


def model_reason(model: str, profile: Profile) -> str:
    """Say why `model` can't be used in batches of this provider; empty if it can."""
    known = profile.models.get(model)
    if known is not None:
        return "" if known.batch else f'model "{model}" is not offered in batches by {profile.name}'
    if not profile.models_closed:
        return ""
    usable = [name for name, facts in profile.models.items() if facts.batch]
    near = difflib.get_close_matches(model, usable, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(usable)}"
    return f'{profile.name} has no model "{model[:80]}" in batches; {hint}'


def forbidden(body: Mapping[str, Any], model: str, profile: Profile) -> list[str]:
    """Return the parameters of `body` that the provider or the model refuses in a batch."""
    facts = profile.models.get(model)
    names = profile.forbidden_always + (facts.forbidden if facts else ())
    return [name for name in names if name in body]


def _forbidden_reason(name: str, model: str, profile: Profile) -> str:
    plain = name.removeprefix("body.")
    who = f"batches of {profile.name}" if plain in profile.forbidden_always else f'model "{model}"'
    return f"{name} is not allowed in {who}: leave it out"


def _key_columns(spec: JobSpec) -> tuple[str, ...]:
    if spec.lines:
        return ("custom_id",)
    return key_columns(spec.key) if spec.key is not None else ()


class RecordRules:
    """The rules that every single record must keep. Remembers only which models it found good."""

    def __init__(self, spec: JobSpec, profile: Profile) -> None:
        self._spec = spec
        self._profile = profile
        self._columns = _key_columns(spec)
        self._column = self._columns[0] if len(self._columns) == 1 else None
        self._good_models: set[str] = set()
        self.max_line = longest_line(profile.limits)
        if spec.on_duplicate == "suffix":
            self.max_line -= SUFFIX_ROOM
        """The longest batch line in bytes, line break included."""

    def key(self, record: Record) -> str | Violation:
        """Return the record's key, or the rule that it breaks.

        A key is text, a whole number, or what a typed source writes as text (a date, a UUID);
        without a key column it is the record's own key, or its position; several columns are
        joined. In a ready batch line it is the custom_id, which has to be legal as it stands.
        """
        if self._column is None:
            return self._joined(record) if self._columns else record.key or str(record.position)
        return self._of_column(record, self._column)

    def _joined(self, record: Record) -> str | Violation:
        parts: list[str] = []
        for column in self._columns:
            part = self._of_column(record, column)
            if isinstance(part, Violation):
                return part
            parts.append(part)
        key = joined(parts)
        reason = _unstorable_reason(", ".join(self._columns), key)
        return Violation(record.position, KEY, reason) if reason else key

    def _of_column(self, record: Record, column: str) -> str | Violation:
        value = record.data.get(column)
        text = value if type(value) is str else self._key_text(value)
        if text and len(text) <= 64 and text.isascii() and text.isprintable() and text[0] != " ":
            return text
        code = CUSTOM_ID if self._spec.lines else KEY
        reason = self._key_reason(record, column, value, text)
        return Violation(record.position, code, reason) if reason or text is None else text

    def _key_text(self, value: object) -> str | None:
        if self._spec.lines or isinstance(value, bool | float | list | dict):
            return None
        try:
            return as_text(value)
        except (TypeError, ValueError):
            return None

    def _key_reason(self, record: Record, column: str, value: object, text: str | None) -> str:
        if column not in record.data:
            return f'the record has no key column "{column}"'
        if value is None or (text is not None and not text.strip()):
            return f'the key "{column}" is blank'
        if text is None:
            wanted = "text" if self._spec.lines else "text or a whole number"
            return f'the key "{column}" is {_kind(value)}; it must be {wanted}'
        limit = self._profile.limits.custom_id_max
        if self._spec.lines and not custom_ids.is_legal(text, limit):
            return (
                f"custom_id {shortened(text)} has {len(text):,} characters; a ready line needs "
                f"1 to {limit} printable ASCII characters, no space at either end"
            )
        return _unstorable_reason(column, text)

    def line(self, record: Record) -> list[Violation]:
        """Return the rules that a ready batch line breaks, its custom_id and its size apart."""
        data = record.data
        found: list[tuple[str, str]] = []
        if data.get("method") != "POST":
            found.append((METHOD_OR_URL, f"method is {_shown(data, 'method')}; it must be POST"))
        if data.get("url") != self._spec.endpoint:
            wanted = f"the job's endpoint is {self._spec.endpoint}"
            found.append((METHOD_OR_URL, f"url is {_shown(data, 'url')}; {wanted}"))
        body = data.get("body")
        if isinstance(body, dict):
            found += self._body(body)
        else:
            found.append((BODY, f"body is {_shown(data, 'body')}; it must be an object"))
        return [Violation(record.position, code, reason) for code, reason in found]

    def _body(self, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        model = body.get("model")
        found: list[tuple[str, str]] = []
        if not isinstance(model, str) or not model:
            found.append((MODEL, f"body.model is {_shown(body, 'model')}; it must name a model"))
            model = ""
        elif model not in self._good_models:
            found += [(MODEL, reason) for reason in self._model_reasons(model)]
            if not found and len(self._good_models) < MAX_MODELS:
                self._good_models.add(model)
        found += [
            (FORBIDDEN, _forbidden_reason(f"body.{name}", model, self._profile))
            for name in forbidden(body, model, self._profile)
        ]
        messages = body.get("messages")
        if self._spec.endpoint == CHAT and not (isinstance(messages, list) and messages):
            found.append((BODY, f"body.messages is {_shown(body, 'messages')}; it must hold some"))
        return found

    def _model_reasons(self, model: str) -> Iterator[str]:
        if reason := model_reason(model, self._profile):
            yield reason
        if self._spec.model and model != self._spec.model:
            yield f'body.model is {shortened(model)}; the job asks for "{self._spec.model}"'

    def too_large(self, position: int, key: str, size: int) -> Violation:
        """Return the rule broken by a request whose batch line has `size` bytes."""
        return Violation(
            position,
            SIZE,
            f"request {shortened(key)} is {size:,} bytes; one line holds at most "
            f"{self.max_line:,}: shorten its record or leave it out",
        )


def mixed_models(
    first_lines: Mapping[str, int], spec: JobSpec, profile: Profile
) -> list[Violation]:
    """Return the rule broken by ready lines of several models, with the first line of each.

    `first_lines` maps each model to the line where it is first named.
    """
    if len(first_lines) < 2 or spec.split_models or profile.limits.models_per_file == "many":
        return []
    ordered = sorted(first_lines.items(), key=lambda item: item[1])
    shown = ", ".join(f"{shortened(name)} from line {line:,}" for name, line in ordered[:10])
    more = f" and {len(ordered) - 10:,} more" if len(ordered) > 10 else ""
    return [
        Violation(
            0,
            MIXED_MODELS,
            f"the lines name {len(ordered):,} models, one file takes one: {shown}{more}; "
            "give each model its own source, or let --split-models part them",
        )
    ]


def too_many_models(position: int) -> Violation:
    """Return the rule broken by the first line with one model too many."""
    return Violation(
        position, MIXED_MODELS, f"the line names one model more; a job holds at most {MAX_MODELS}"
    )


def no_records(source_name: str) -> Violation:
    """Return the rule broken by a source without a single record."""
    return Violation(0, EMPTY, f"{source_name} has no record: check what was to write it")


def repeated_key(position: int, first: int, key: str) -> Violation:
    """Return the rule broken by a record whose key was seen before, at `first`."""
    return Violation(
        position, REPEATED_KEY, f"key {shortened(key)} repeats the key of line {first:,}"
    )


def shortened(text: str, most: int = 80) -> str:
    """Return `text` in quotes, printable, cut after `most` characters."""
    shown = text if len(text) <= most else text[:most] + "…"
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown) + '"'


def _unstorable_reason(column: str, text: str) -> str:
    if "\0" in text:
        return f'the key "{column}" holds a NUL character, which the registry can\'t keep'
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        return f'the key "{column}" holds half a surrogate pair, which is no character'
    if length > MAX_KEY_BYTES:
        return f'the key "{column}" has {length:,} bytes; at most {MAX_KEY_BYTES:,} are kept'
    return ""


def _shown(data: Mapping[str, Any], name: str) -> str:
    if name not in data:
        return "missing"
    value = data[name]
    return shortened(value) if isinstance(value, str) else _kind(value)


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list" if value else "an empty list"
        case dict():
            return "an object" if value else "an empty object"
    return f"of type {type(value).__name__}"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"body.{name}" for name in names)
