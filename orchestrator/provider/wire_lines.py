"""One line of an output or error file: the hot path of collecting.

The shapes, all seen or promised somewhere:

1. `{"custom_id", "response": {"status_code", "request_id", "body"}, "error": null}`
   (platform.kimi.ai/docs/guide/use-batch-api; the status code decides, not the file it stands in)
2. `{"custom_id", "response": null, "error": {"code", "message"}}` (OpenAI for lines that never
   ran; DeepInfra for all failures, with `code` a string such as "400")
3. `{"custom_id", "error": {"message", "code"}}` (Together)
4. an error inside a body with status 200, or a body that is a JSON text in a string.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from orchestrator.domain.remote import Answer, OddLine
from orchestrator.provider.wire_faults import Fault, read_fault
from orchestrator.provider.wire_values import (
    OddAnswer,
    count,
    mend,
    moment,
    read_json,
    top_members,
    words,
)

_NONE = Raw(b"")
_EMPTY = frozenset({b"", b"null", b"{}", b'""', b"[]", b"false"})
_MAX_CUSTOM_ID = 4096
_MAX_TOKENS = 2**31 - 1
"""Of one answer: no context is that long, and the registry's column ends here."""

_KEY = b'"custom_id"'
_TWICE = "the line bears two custom_ids"

# msgspec says what it does not like in any of these ways.
_NOT_STRICT = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError)


class _Response(msgspec.Struct, gc=False):
    status_code: int | str | None = None
    request_id: str | None = None
    body: Raw = _NONE


class _Line(msgspec.Struct, gc=False):
    custom_id: str
    response: _Response | None = None
    error: dict[str, Any] | None = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    """Chat and embeddings say `prompt_tokens`, the responses endpoint `input_tokens`.

    Kimi has `cached_tokens` at the top (platform.kimi.ai/docs/api/chat), OpenAI below details.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


class _Body(msgspec.Struct, gc=False):
    created: int | None = None
    created_at: int | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: dict[str, Any] | None = None


class _Peek(msgspec.Struct, gc=False):
    body: Raw


class _Head(msgspec.Struct, gc=False):
    custom_id: str
    response: _Peek


_LINE = msgspec.json.Decoder(_Line)
_HEAD = msgspec.json.Decoder(_Head)
_BODY = msgspec.json.Decoder(_Body)
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_TEXT = msgspec.json.Decoder(str)
_NO_RESPONSE = _Response()
_NO_BODY = _Body()
_NO_USAGE = _Usage()


def read_line(raw: bytes) -> Answer | OddLine:
    """Read one line of an output or error file; OddLine says why it is no usable answer.

    Total: no input raises. The body is kept byte for byte as it stands in the line, except that
    text no database can hold (lone surrogates, broken UTF-8, NaN) is mended first. A 2xx status
    without a body is a failure; a body without any status counts as 200.
    """
    try:
        line = _LINE.decode(raw)
        if not raw.isascii():
            raw.decode()
    except _NOT_STRICT:
        return _read_odd(raw)
    if _bears_two_ids(raw):
        return OddLine(_TWICE)
    return _answer(line.custom_id, line.response or _NO_RESPONSE, line.error)


def read_id(raw: bytes) -> str | None:
    """Return the custom_id of a line of the usual shape, three times as fast as `read_line`.

    None for every line that needs a closer look; whatever has an id here is an Answer to
    `read_line`, unless it nests as deep as a parser goes.
    """
    try:
        head = _HEAD.decode(raw)
    except _NOT_STRICT:
        return None
    body = bytes(head.response.body)
    if not raw.isascii() or body[:1] != b"{" or body == b"{}" or raw.find(_KEY) != raw.rfind(_KEY):
        return None
    usual = 0 < len(head.custom_id) <= _MAX_CUSTOM_ID and "\0" not in head.custom_id
    return head.custom_id if usual else None


class _Named(msgspec.Struct, gc=False):
    custom_id: str


_NAMED = msgspec.json.Decoder(_Named)


def name_of(raw: bytes) -> str | None:
    """Return the custom_id of a line of an input or result file; None where it shows none."""
    try:
        return _NAMED.decode(raw).custom_id or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _bears_two_ids(raw: bytes) -> bool:
    """Whether the line itself, not something inside it, says twice whose it is, and not the same.

    A parser takes the last of repeated keys; here that would be a guess at whose answer it is.
    """
    if raw.find(_KEY) == raw.rfind(_KEY):
        return False
    ids = [value for name, value in top_members(raw) if name == "custom_id"]
    return any(other != ids[0] for other in ids[1:])


def _read_odd(raw: bytes) -> Answer | OddLine:
    """Read a line that is no strict JSON of the usual types, member by member."""
    if _bears_two_ids(raw):
        return OddLine(_TWICE)
    try:
        members = _MEMBERS.decode(raw)
        raw.decode()
    except _NOT_STRICT:
        mended = mend(raw)
        if mended is None:
            return OddLine(_why_odd(raw))
        try:
            members = _MEMBERS.decode(mended)
        except _NOT_STRICT:
            return OddLine(_why_odd(mended))
        if "\ufffd" in str(_loose(members.get("custom_id", _NONE))):
            # What was mended is another id than the one that was sent.
            return OddLine("custom_id is broken text")
    return _read_members(members)


def _read_members(members: dict[str, Raw]) -> Answer | OddLine:
    custom_id = _loose(members.get("custom_id", _NONE))
    if not isinstance(custom_id, str):
        return OddLine("custom_id is missing" if custom_id is None else "custom_id is no string")
    error = _loose(members.get("error", _NONE))
    try:
        response = _MEMBERS.decode(members.get("response", _NONE))
    except _NOT_STRICT:
        # A response that is no object says nothing; the error member still may.
        return _answer(custom_id, _NO_RESPONSE, error)
    status = _loose(response.get("status_code", _NONE))
    request_id = _loose(response.get("request_id", _NONE))
    read = _Response(
        status_code=count(status),
        request_id=request_id if isinstance(request_id, str) else None,
        body=response.get("body", _NONE),
    )
    return _answer(custom_id, read, error)


def _loose(raw: Raw) -> object:
    try:
        return read_json(bytes(raw))
    except OddAnswer:
        return None


def _why_odd(raw: bytes) -> str:
    if not raw.strip(b" \t\r\n\0\xef\xbb\xbf"):
        return "an empty line"
    try:
        value = read_json(raw)
    except OddAnswer as exc:
        return str(exc).replace("the answer is", "the line is")
    if not isinstance(value, dict):
        return "the line is JSON, but no object"
    return "the line is JSON that no database can hold"


def _answer(custom_id: str, response: _Response, error: object) -> Answer | OddLine:
    if not custom_id or "\0" in custom_id or len(custom_id) > _MAX_CUSTOM_ID:
        return OddLine("custom_id is empty, too long or holds a NUL")
    text = bytes(response.body)
    if text[:1] == b'"':
        text = _unwrapped(text)
    body = _read_body(text)
    fault = _said(error) or _said(body.error)
    status = _status(response.status_code)
    if fault is None:
        if text[:1] == b"{" and text != b"{}" and (status is None or 200 <= status < 300):
            return _success(custom_id, status, response, text, body)
        if status is None and text in _EMPTY:
            return OddLine("neither an answer nor an error")
        fault = _fault_of_body(text, status)
    return _failure(custom_id, status, response, text, fault)


def _said(error: object) -> Fault | None:
    if not error:
        return None
    found = read_fault(error)
    if found is None and isinstance(error, dict) and any(error.values()):
        # An error in a shape nobody has shown yet is still an error: quote it as it is.
        return Fault("", "", words(error))
    return found


def _success(
    custom_id: str, status: int | None, response: _Response, text: bytes, body: _Body
) -> Answer:
    choices, usage = body.choices, body.usage or _NO_USAGE
    details = usage.prompt_tokens_details or usage.input_tokens_details
    return Answer(
        custom_id=custom_id,
        succeeded=True,
        status_code=status,
        body=text,
        tokens_in=_either(usage.prompt_tokens, usage.input_tokens),
        tokens_out=_either(usage.completion_tokens, usage.output_tokens),
        tokens_cached=_either(usage.cached_tokens, details.cached_tokens if details else None),
        finish_reason=words(choices[0].finish_reason, 64) if choices else "",
        request_id=words(response.request_id, 128),
        created_at=_time(body.created, body.created_at),
    )


def _failure(
    custom_id: str, status: int | None, response: _Response, text: bytes, fault: Fault
) -> Answer:
    if status is None and fault.code.isdigit() and len(fault.code) == 3:
        # DeepInfra has no response on a failed line and says the status as the error's code.
        status = int(fault.code)
    return Answer(
        custom_id=custom_id,
        succeeded=False,
        status_code=status,
        body=None if text in _EMPTY else text,
        error_code=fault.name,
        error_message=fault.message,
        request_id=words(response.request_id, 128),
    )


def _fault_of_body(text: bytes, status: int | None) -> Fault:
    if status is None or 200 <= status < 300:
        # Kimi's own word for a result it could not use (platform.kimi.ai/docs/api/errors).
        return Fault("unexpected_output", "", "an answer without a usable body")
    found = read_fault(_loose(Raw(text))) if text else None
    if found is None:
        return Fault(str(status), "", f"status {status} without a reason")
    return found if found.name else found._replace(code=str(status))


def _unwrapped(text: bytes) -> bytes:
    """Return the JSON document that stands in the string `text`; `text` itself if there is none."""
    try:
        inner = _TEXT.decode(text).encode()
        read_json(inner)
        return inner.strip() if inner.lstrip()[:1] == b"{" else text
    except (*_NOT_STRICT, OddAnswer):
        return text


def _read_body(text: bytes) -> _Body:
    if text[:1] != b"{":
        return _NO_BODY
    try:
        return _BODY.decode(text)
    except _NOT_STRICT:
        return _read_odd_body(text)


def _read_odd_body(text: bytes) -> _Body:
    """Read what can be read of a body whose members are not of the promised types."""
    try:
        members = _MEMBERS.decode(text)
    except _NOT_STRICT:
        return _NO_BODY
    return _Body(
        created=_seconds(_loose(members.get("created", _NONE))),
        created_at=_seconds(_loose(members.get("created_at", _NONE))),
        choices=_choices(_loose(members.get("choices", _NONE))),
        usage=_usage(_loose(members.get("usage", _NONE))),
        error=_object(_loose(members.get("error", _NONE))),
    )


def _seconds(value: object) -> int | None:
    at = moment(value)
    return None if at is None else int(at)


def _choices(value: object) -> list[_Choice] | None:
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return None
    return [_Choice(finish_reason=words(value[0].get("finish_reason"), 64))]


def _object(error: object) -> dict[str, Any] | None:
    return error if isinstance(error, dict) or error is None else {"message": words(error)}


def _usage(value: object) -> _Usage | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details") or value.get("input_tokens_details")
    return _Usage(
        prompt_tokens=count(value.get("prompt_tokens")),
        completion_tokens=count(value.get("completion_tokens")),
        input_tokens=count(value.get("input_tokens")),
        output_tokens=count(value.get("output_tokens")),
        cached_tokens=count(value.get("cached_tokens")),
        prompt_tokens_details=_Details(
            count(details.get("cached_tokens")) if isinstance(details, dict) else None
        ),
    )


def _either(first: int | None, second: int | None) -> int | None:
    value = second if first is None else first
    return value if value is not None and 0 <= value <= _MAX_TOKENS else None


def _time(first: int | None, second: int | None) -> int | None:
    value = second if first is None else first
    return value if value is not None and 0 < value <= _MAX_TOKENS else _seconds(value)


def _status(value: int | str | None) -> int | None:
    code = value if isinstance(value, int) else count(value)
    return code if code is not None and 100 <= code <= 599 else None


def chat_text(body: bytes) -> str:
    """Return the text of an answer, for exports; empty when it has none. Never raises.

    Reads chat completions (content as text or as parts) and the responses endpoint's `output`.
    Only the first choice is read; tool calls and reasoning are not text.
    """
    try:
        value = read_json(body)
    except OddAnswer:
        return ""
    if not isinstance(value, dict):
        return ""
    choices = value.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        message = choices[0].get("message")
        return _content(message.get("content")) if isinstance(message, dict) else ""
    output = value.get("output")
    items = output if isinstance(output, list) else []
    return "".join(_content(item.get("content")) for item in items if isinstance(item, dict))


def _content(value: object) -> str:
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    texts = (part.get("text") for part in value if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))
