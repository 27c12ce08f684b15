"""The text of an answer, for exports: fast where it is an ordinary chat completion."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.provider.wire_lines import chat_text


class _Message(msgspec.Struct, gc=False):
    content: str


class _Choice(msgspec.Struct, gc=False):
    message: _Message


class _Completion(msgspec.Struct, gc=False):
    choices: list[_Choice]


_FAST = msgspec.json.Decoder(_Completion)
_ALL = msgspec.json.Decoder(list[_Completion | None])
_EACH = msgspec.json.Decoder(list[msgspec.Raw])
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_CHOICES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_CALLS = ("tool_calls", "function_call")
_NOTHING = (b"null", b"[]", b"")


def answer_text(body: str) -> str:
    """Return what a response body says; never raises.

    The text of a chat completion or of the responses endpoint; for tool calls the JSON of the
    message, for any other endpoint the JSON of the body, each exactly as received.
    """
    try:
        choices = _FAST.decode(body).choices
        if choices and choices[0].message.content:
            return choices[0].message.content
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass  # an unusual shape: the slower way reads it
    text = chat_text(body.encode("utf-8", "replace"))
    if text:
        return _storable(text)
    return _as_json(body)


def answer_texts(bodies: str | bytes) -> list[str] | None:
    """Return what each response body in a JSON array says, as `answer_text` does; never raises.

    Of null, where there is no body, it returns anything. None where the array can't be taken apart:
    one body holds what is no text, such as half a surrogate pair.
    """
    try:
        texts = [each.choices[0].message.content if each else "-" for each in _ALL.decode(bodies)]
        if all(texts):
            return texts
    except (msgspec.DecodeError, UnicodeError, RecursionError, IndexError):
        pass  # an unusual shape among them: the slower way reads each
    try:
        each_body = _EACH.decode(bodies)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return [answer_text(bytes(body).decode("utf-8", "replace")) for body in each_body]


def _as_json(body: str) -> str:
    try:
        members = _MEMBERS.decode(body)
        if "choices" not in members:
            return body
        choices = _CHOICES.decode(members["choices"])
        message = choices[0].get("message") if choices else None
        calls = _MEMBERS.decode(message) if message is not None else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return body
    return _raw(message) if any(_raw(calls.get(name)) for name in _CALLS) else ""


def _raw(value: Any) -> str:  # noqa: ANN401 - msgspec.Raw or None
    text = b"" if value is None else bytes(value)
    return "" if text in _NOTHING else text.decode("utf-8", "replace")


def _storable(text: str) -> str:
    """Return `text` with half surrogate pairs (a cut emoji) as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
