"""Asking again for an answer that does not fit: the same conversation, and what was wrong."""

from __future__ import annotations

import msgspec

from orchestrator.domain.rendering import text_json

SHOWN = 4_000
"""Characters of the answer that the model is shown again."""

CUT_OFF = "the answer was cut off at its token limit"

_BODY = msgspec.json.Decoder(dict[str, msgspec.Raw])


def words_of(problem: str, *, cut_off: bool) -> str:
    """Return what is said of an answer with this problem."""
    return f"{CUT_OFF}; {problem}" if cut_off else problem


def note(answer: str, problem: str) -> bytes:
    """Return the messages that ask again, as they follow others in a JSON array, in ASCII."""
    shown = answer if len(answer) <= SHOWN else f"{answer[:SHOWN]} ..."
    said = b',{"role":"assistant","content":%b}' % text_json(shown) if shown.strip() else b""
    asked = f"That answer can't be used: {problem}. Answer again with nothing but the corrected "
    asked += "JSON: no fence, no comment" + (", and shorter." if CUT_OFF in problem else ".")
    return said + b',{"role":"user","content":%b}' % text_json(asked)


def repaired(body: bytes, messages: bytes) -> bytes | None:
    """Return `body` with `messages`, made by `note`, behind its own; None if it has none.

    All else stays byte for byte, so that the line grows by the length of `messages`.
    """
    try:
        members = _BODY.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    own = bytes(members.get("messages", b""))
    if not own.startswith(b"[{") or not own.endswith(b"]"):
        return None
    members["messages"] = msgspec.Raw(own[:-1] + messages + b"]")
    return msgspec.json.encode(members)
