"""How models spoil JSON: fences and chatter around it, and answers that are not what was asked."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from orchestrator.sandbox.temper import Lines

_PARTS = 1 << 32

_WRAPPED = (
    "```json\n%s\n```",
    "Sure! Here is the JSON you asked for:\n\n```json\n%s\n```\nLet me know if you need more.",
    "The answer is %s as far as I can tell [1].",
)


class Clumsy:
    """Draws which answers of a batch are wrapped or spoilt; `key` belongs to the batch."""

    def __init__(self, faults: Lines, key: bytes) -> None:
        self._spoilt = faults.invalid_json
        self._either = faults.invalid_json + faults.wrapped
        self._key = key

    def hand(self, custom_id: str) -> Callable[[str], str]:
        """Return what becomes of the JSON that answers a line."""
        if not self._either:
            return _as_it_is
        name = custom_id.encode("utf-8", "surrogatepass")
        draw = int.from_bytes(blake2b(name, digest_size=8, key=self._key).digest(), "big")
        share, which = (draw % _PARTS) / _PARTS, draw // _PARTS
        if share < self._spoilt:
            return (_sorry, _unasked, _cut)[which % 3]
        if share < self._either:
            return _WRAPPED[which % 3].__mod__
        return _as_it_is


def _as_it_is(text: str) -> str:
    return text


def _sorry(_text: str) -> str:
    return "I am sorry, but I can't tell."


def _unasked(_text: str) -> str:
    return '{"unasked": true}'


def _cut(text: str) -> str:
    return "```json\n" + text[: len(text) // 2]
