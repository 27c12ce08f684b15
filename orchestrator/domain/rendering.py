r"""From a record to the body of a request, and from stored bodies to lines of a batch file.

Bodies are compact JSON in ASCII: every other character is written as `\uXXXX`, since some servers
split lines at U+2028 or U+0085. Escaping costs nothing where there is nothing to escape: on 1 KB
of text `msgspec.json.encode` takes 0.5 us where `json.dumps` takes 5.5 us; on 2.3 KB of Chinese
the standard library's own C escaper takes 4.1 us, and no other way that was measured is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any

import msgspec

from orchestrator.domain import cost
from orchestrator.domain.answer_request import asked_for
from orchestrator.domain.answers import Checker
from orchestrator.domain.errors import TemplateError
from orchestrator.domain.intake import Record
from orchestrator.domain.overriding import Overrides
from orchestrator.domain.pictures import Load, Pictures, no_files
from orchestrator.domain.profile import Profile
from orchestrator.domain.prompt_text import RENDER, Text, system_text, user_text
from orchestrator.domain.spec import RENDERED, JobSpec

_encode = msgspec.json.encode


class Rendered(msgspec.Struct, frozen=True, gc=False):
    """The body of one request.

    `quarter_tokens` estimates its prompt in quarters of a token; `max_out` is the most tokens the
    answer may have, None where the body sets no bound.
    """

    body: bytes
    model: str
    quarter_tokens: int
    max_out: int | None


def text_json(text: str) -> bytes:
    """Return `text` as a JSON string in ASCII. Half a surrogate pair is written as it stands."""
    if text.isascii():
        return _encode(text)
    return encode_basestring_ascii(text).encode("ascii")


def ascii_json(raw: bytes) -> bytes:
    """Return the JSON text `raw` in ASCII; numbers, order of keys, spaces stay as they are.

    `raw` is valid JSON in UTF-8 without control characters (compact, or spaced with blanks only).
    """
    if raw.isascii():
        return raw
    # The C escaper takes the whole text for one string. Outside ASCII it does what is wanted; the
    # quotes and backslashes it doubled are taken back, in this order: after the first step each
    # backslash of the text stands as a pair, and a single one can only be followed by u.
    escaped = encode_basestring_ascii(raw.decode())[1:-1]
    return escaped.replace('\\"', '"').replace("\\\\", "\\").encode("ascii")


def compact_json(raw: bytes) -> bytes:
    """Return the JSON text `raw` without blanks and in ASCII; all else stays as it is."""
    return ascii_json(msgspec.json.format(raw, indent=-1))


def batch_line(custom_id: str, endpoint: str, body: bytes) -> bytes:
    """Return one line of a batch input file, line break included. The same input, the same bytes.

    `body` is JSON text in ASCII, as stored with the request.
    """
    return b'{"custom_id":%b,"method":"POST","url":%b,"body":%b}\n' % (
        text_json(custom_id),
        text_json(endpoint),
        body,
    )


class Renderer:
    """What `spec` makes of records that have `columns`, for the provider that `profile` describes.

    `load` reads the pictures that records name by a path. Raises TemplateError if prompt, system
    text, template or schema can't be used, or name a column that is not there. Without `columns` a
    missing column shows only with the record that lacks it.
    """

    def __init__(
        self,
        spec: JobSpec,
        columns: Sequence[str] | None = None,
        *,
        profile: Profile | None = None,
        load: Load = no_files,
    ) -> None:
        if spec.answer is not None:
            Checker(spec.answer)
        self.render: Callable[[Record], Rendered]
        """Render one record. Raises TemplateError naming what it lacks."""
        if spec.source_format == RENDERED:
            self.render = _Told(spec, columns, profile).render
        elif spec.lines:
            self.render = _ready_line
        elif spec.images or spec.overrides:
            self.render = _Rich(spec, columns, profile, load).render
        else:
            self.render = _Chat(spec, columns, profile).render


class _Chat:
    """Bodies with `messages`. All that no record changes is encoded once."""

    def __init__(
        self, spec: JobSpec, columns: Sequence[str] | None, profile: Profile | None
    ) -> None:
        fields, words = asked_for(spec, profile)
        self._model = spec.model or ""
        self._max_out = cost.output_bound(spec.body)
        self._user = user_text(spec, columns)
        self._system = _with_words(spec, columns, words)
        self._quarters = cost.QUARTERS_PER_MESSAGE * (1 if self._system is None else 2)
        self._middle = b'{"role":"user","content":'
        self._start = _opening(self._model)
        if self._system is not None:
            self._start += _SYSTEM
            self._middle = b"}," + self._middle
        self._end = b"}]" + _members({**spec.body, **fields})

    def render(self, record: Record) -> Rendered:
        data = record.data
        user = self._user(data)
        system = self._system(data) if self._system is not None else None
        quarters = self._quarters
        quarters += len(user) if user.isascii() else cost.quarter_tokens(user)
        if system is None:
            body = b"%b%b%b%b" % (self._start, self._middle, text_json(user), self._end)
        else:
            quarters += cost.quarter_tokens(system)
            parts = (self._start, text_json(system), self._middle, text_json(user), self._end)
            body = b"".join(parts)
        return Rendered(body, self._model, quarters, self._max_out)


class _Rich:
    """Bodies with pictures, or with fields that their records set."""

    def __init__(
        self,
        spec: JobSpec,
        columns: Sequence[str] | None,
        profile: Profile | None,
        load: Load,
    ) -> None:
        self._fields, words = asked_for(spec, profile)
        self._user = user_text(spec, columns)
        self._system = _with_words(spec, columns, words)
        self._overrides = Overrides(spec, columns, profile)
        schemes = profile.quirks.image_urls if profile else ("data",)
        self._pictures = Pictures(spec, columns, schemes, load)

    def render(self, record: Record) -> Rendered:
        model, further = self._overrides.of(record)
        parts = [_opening(model)]
        quarters = cost.QUARTERS_PER_MESSAGE
        if self._system is not None:
            system = self._system(record.data)
            quarters += cost.QUARTERS_PER_MESSAGE + cost.quarter_tokens(system)
            parts += [_SYSTEM, text_json(system), b"},"]
        user = self._user(record.data)
        quarters += cost.quarter_tokens(user)
        content = _content(user, self._pictures.of(record.data))
        parts += [b'{"role":"user","content":', content, b"}]", _members(self._fields | further)]
        return Rendered(b"".join(parts), model, quarters, cost.output_bound(further))


_SYSTEM = b'{"role":"system","content":'


def _opening(model: str) -> bytes:
    return b'{"model":%b,"messages":[' % text_json(model)


def _members(further: dict[str, Any]) -> bytes:
    """Return the end of a body behind its messages."""
    return b"," + ascii_json(_encode(further))[1:] if further else b"}"


def _content(user: str, urls: Sequence[str]) -> bytes:
    """Return the content of the user's message: text alone, or text and pictures as parts."""
    if not urls:
        return text_json(user)
    parts = [b'{"type":"text","text":%b}' % text_json(user)]
    parts += [b'{"type":"image_url","image_url":{"url":%b}}' % text_json(url) for url in urls]
    return b"[%b]" % b",".join(parts)


def _with_words(spec: JobSpec, columns: Sequence[str] | None, words: str) -> Text | None:
    """Return what writes the system text, with `words` behind the user's own."""
    own = system_text(spec, columns) if spec.system is not None else None
    if not words or own is None:
        return own if not words else lambda _data: words
    return lambda data: f"{own(data)}\n\n{words}"


class _Told:
    """Bodies with the messages that the source brings with each record."""

    def __init__(
        self, spec: JobSpec, columns: Sequence[str] | None, profile: Profile | None
    ) -> None:
        self._fields, words = asked_for(spec, profile)
        self._overrides = Overrides(spec, columns, profile)
        self._words = b"%b%b}," % (_SYSTEM, text_json(words)) if words else b""
        self._quarters = cost.quarter_tokens(words) + cost.QUARTERS_PER_MESSAGE if words else 0

    def render(self, record: Record) -> Rendered:
        if not record.messages:
            raise TemplateError("the source brings no messages for the record", code=RENDER)
        model, further = self._overrides.of(record)
        messages = compact_json(record.messages)
        quarters = self._quarters + cost.message_quarters(msgspec.json.decode(messages))
        parts = (_opening(model), self._words, messages[1:], _members(self._fields | further))
        return Rendered(b"".join(parts), model, quarters, cost.output_bound(further))


class _Line(msgspec.Struct):
    body: msgspec.Raw = msgspec.Raw(b"null")


def _ready_line(record: Record) -> Rendered:
    """Take the body out of a ready batch line, with its own order of keys and its own numbers."""
    body = record.data.get("body")
    if not isinstance(body, dict):
        raise TemplateError("the line has no body object", code=RENDER)
    raw = msgspec.json.decode(record.raw, type=_Line).body if record.raw else _encode(body)
    model = body.get("model")
    return Rendered(
        compact_json(bytes(raw)),
        model if isinstance(model, str) else "",
        cost.message_quarters(body.get("messages")),
        cost.output_bound(body),
    )
