"""What the model says: short, plausible, and the same for the same seed, custom_id and body."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from hashlib import blake2b

import msgspec

from orchestrator.sandbox.instances import instance_of, json_object
from orchestrator.sandbox.lines import InputLine

SEARCHED = 1000
"""Characters of a prompt that are looked at, half from either end: prompts may be long."""

_LIST = re.compile(
    r"(?:one of|options?|choose from|choose between|labels?|categories|classes)\b"
    r"[^:\n(\[]{0,40}[:(\[]\s*([^\n\])]{1,200})"
)
_HINTS = ("one of", "option", "choose", "label", "categor", "class")
_QUOTED = re.compile(
    r'["`“][^"`”\n]{1,40}["`”](?:(?:\s|,|/|\||or\b|and\b){1,8}["`“][^"`”\n]{1,40}["`”])+'
)
_IN_QUOTES = re.compile(r'["`“]([^"`”\n]{1,40})["`”]')
_BRACKETED = re.compile(r"[(\[{<](\w[\w -]{0,30}(?:\s*[,|/]\s*\w[\w -]{0,30})+)[)\]}>]")
_EITHER = (("yes", "no"), ("true", "false"), ("positive", "negative"), ("good", "bad"))
_SCALE = re.compile(r"\b(\d{1,4}) ?(?:to|-|\u2013|and) ?(\d{1,4})\b")
_SEPARATORS = ("/", "|", ";", " or ", " and ")


class Part(msgspec.Struct, gc=False):
    """One part of a message's content; only text is read."""

    text: str = ""


class Message(msgspec.Struct, gc=False):
    """One message of a request."""

    content: str | list[Part] | None = None
    role: str = ""


class Thinking(msgspec.Struct, gc=False):
    """The `thinking` parameter."""

    type: str = "enabled"


class Said(msgspec.Struct, gc=False, omit_defaults=True):
    """The assistant's message; `reasoning_content` is left out where the model doesn't think."""

    content: str
    role: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | None = None


class Choice(msgspec.Struct, gc=False):
    """The only choice."""

    index: int
    message: Said
    finish_reason: str


class Usage(msgspec.Struct, gc=False):
    """Tokens; `cached_tokens` stands at the top level, as Kimi puts it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int


class Completion(msgspec.Struct, gc=False):
    """A chat completion body."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_count = msgspec.json.Decoder(int).decode
_decode_thinking = msgspec.json.Decoder(Thinking).decode


def _as_it_is(text: str) -> str:
    return text


def complete(
    line: InputLine,
    raw: bytes,
    key: bytes,
    created: int,
    spoilt: Callable[[str], str] = _as_it_is,
) -> Completion:
    """Return the answer to `line`, whose bytes are `raw`; `key` is drawn from the seed.

    `spoilt` makes of an answer in JSON what the model makes of it.
    """
    digest = blake2b(raw, digest_size=16, key=key)
    draw = int.from_bytes(digest.digest(), "big")
    body = line.body
    form = bytes(body.get("response_format", b""))
    text = say(_messages_of(body), form, draw)
    if b"json_" in form:
        text = spoilt(text)
    tokens = tokens_of(len(text))
    limit = _limit_of(body)
    finish = "stop"
    if limit is not None and tokens > limit:
        text, tokens, finish = text[: limit * 4], limit, "length"
    model = _decode_text(body["model"])
    thought = _thought(model, body, text)
    prompt = tokens_of(len(body["messages"]))
    tokens += tokens_of(len(thought)) if thought else 0
    if limit is not None:
        # The bound is on thoughts and text together, as at Kimi.
        tokens = min(tokens, limit)
    cached = prompt // 2 if draw & 1 and prompt > 64 else 0
    said = Said(text, "assistant", thought)
    usage = Usage(prompt, tokens, prompt + tokens, cached)
    name = "chatcmpl-" + digest.hexdigest()[:24]
    return Completion(name, "chat.completion", created, model, [Choice(0, said, finish)], usage)


def tokens_of(characters: int) -> int:
    """Estimate tokens from characters: four a token, never none."""
    return characters // 4 + 1


def say(messages: list[Message], response_format: bytes, draw: int) -> str:
    """Return a short text that fits the prompt: a label, a number, JSON, or a sentence."""
    texts = _texts(messages)
    if b"json_" in response_format:
        schema = instance_of(response_format, draw)
        return json_object("\n".join(texts), draw) if schema is None else schema
    # All lines of a file often share their first message; only the last one is new each time.
    wishes = [_common_wish(text) for text in texts[:-1]]
    wish = next((wish for wish in wishes if wish), None) or _wish(texts[-1])
    if len(wish) > 1:
        return wish[draw % len(wish)]
    words = _words(texts[-1])
    if wish:
        return words[draw % len(words)]
    first, second, third = (words[(draw >> shift) % len(words)] for shift in (8, 24, 40))
    return f"In short, {first} goes with {second} and {third}."


def _texts(messages: list[Message]) -> list[str]:
    texts = []
    for message in messages if len(messages) < 4 else (messages[0], *messages[-2:]):
        content = message.content
        if isinstance(content, list):
            content = " ".join(part.text for part in content)
        if content:
            half = SEARCHED // 2
            cut = len(content) > SEARCHED
            texts.append(f"{content[:half]}\n{content[-half:]}" if cut else content)
    return texts or [""]


def _words(text: str) -> list[str]:
    ends = text[-200:].lower().split()
    return [word for word in ends if word.isalpha() and 3 < len(word) < 20] or ["nothing"]


def _wish(prompt: str) -> tuple[str, ...]:
    """Return the options that `prompt` gives, one item if it wants any single word, or none."""
    lowered = prompt.lower()
    for found in (_listed(prompt, lowered), _quoted(prompt), _bracketed(prompt)):
        if len(found) > 1:
            return tuple(found)
    if " or " in lowered:
        for one, other in _EITHER:
            if f"{one} or {other}" in lowered:
                return one, other
    if "one word" in lowered or "single word" in lowered:
        return ("",)
    return tuple(_scale(lowered))


_common_wish = functools.lru_cache(maxsize=256)(_wish)


def _listed(prompt: str, lowered: str) -> list[str]:
    if not any(hint in lowered for hint in _HINTS):
        return []
    match = _LIST.search(lowered)
    if match is None or len(prompt) != len(lowered):
        return []
    text = prompt[match.start(1) : match.end(1)].split(". ", maxsplit=1)[0]
    return _split(text)


def _quoted(prompt: str) -> list[str]:
    if '"' not in prompt and "`" not in prompt and "“" not in prompt:
        return []
    match = _QUOTED.search(prompt)
    return _IN_QUOTES.findall(match.group()) if match else []


def _bracketed(prompt: str) -> list[str]:
    match = _BRACKETED.search(prompt)
    return _split(match.group(1)) if match else []


def _scale(lowered: str) -> list[str]:
    if "scale" not in lowered and "number" not in lowered and "rate" not in lowered:
        return []
    match = _SCALE.search(lowered)
    if match is None:
        return []
    low, high = int(match.group(1)), int(match.group(2))
    return [str(number) for number in range(low, min(high, low + 100) + 1)]


def _split(text: str) -> list[str]:
    for separator in _SEPARATORS:
        text = text.replace(separator, ",")
    parts = (part.strip(" \t\"'`“”.!?") for part in text.split(","))
    return [part for part in parts if part and len(part) <= 40]


def _messages_of(body: dict[str, msgspec.Raw]) -> list[Message]:
    try:
        return _decode_messages(body["messages"])
    except msgspec.DecodeError:
        return []


def _limit_of(body: dict[str, msgspec.Raw]) -> int | None:
    raw = body.get("max_completion_tokens") or body.get("max_tokens")
    try:
        return max(1, _decode_count(raw)) if raw else None
    except msgspec.DecodeError:
        return None


def _thought(model: str, body: dict[str, msgspec.Raw], text: str) -> str | None:
    if not model.startswith("kimi-k2."):
        return None
    if model.startswith("kimi-k2.6") and "thinking" in body:
        try:
            if _decode_thinking(body["thinking"]).type == "disabled":
                return None
        except msgspec.DecodeError:
            return None
    return f"The prompt asks for something short; {text[:40]!r} fits."
