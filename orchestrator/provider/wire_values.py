"""Tolerant readings of single JSON values: a provider's oddity becomes None, never a crash."""

from __future__ import annotations

import datetime
import json
import math
import re
from typing import Any

MAX_WORDS = 300
"""Characters of a provider's own words that we quote; they may quote a prompt in turn."""

_MAX_COUNT = 2**53
_KEY = re.compile(r"(?i)\bsk-[\w*.\-]{4,}|\bbearer\s+[\w*.\-+/=]{4,}")


class OddAnswer(ValueError):
    """The bytes are not the JSON document that the protocol promises."""


def read_json(raw: bytes) -> Any:  # noqa: ANN401 - a JSON value is any value
    """Return the value of one JSON document, whatever odd text it holds.

    A BOM is dropped, broken UTF-8 is replaced, NaN and infinities become None. Raises OddAnswer
    for anything that is not one JSON document, nests too deep or holds a number without end.
    """
    try:
        return json.loads(
            raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace"),
            parse_constant=lambda _word: None,
            parse_float=_finite,
        )
    except (ValueError, RecursionError) as exc:
        raise OddAnswer(_why_not_json(raw, exc)) from None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def top_members(raw: bytes) -> list[tuple[str, Any]]:
    """Return the members of the one JSON object in `raw`, repeated keys too; [] if it is none."""
    last: list[tuple[str, Any]] = []

    def keep(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        # Objects are told from the inside out: the outermost one comes last.
        nonlocal last
        last = pairs
        return pairs

    text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    try:
        value = json.loads(text, object_pairs_hook=keep)
    except (ValueError, RecursionError):
        return []
    return last if value is last else []


def read_object(raw: bytes) -> dict[str, Any]:
    """Return the one JSON object in `raw`. Raises OddAnswer."""
    value = read_json(raw)
    if not isinstance(value, dict):
        raise OddAnswer(f"a JSON object was expected, this is {_kind(value)}")
    return value


def _why_not_json(raw: bytes, exc: Exception) -> str:
    if not raw.strip():
        return "the answer is empty"
    if raw.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "the answer is an HTML page, not JSON"
    if isinstance(exc, json.JSONDecodeError):
        return f"the answer is not JSON: {exc.msg.lower()} at character {exc.pos:,}"
    return "the answer is JSON nested too deep or with a number too long"


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def mend(raw: bytes) -> bytes | None:
    """Return `raw` as strict JSON of the same meaning, None if it is beyond repair.

    Lone surrogates (a model's answer cut inside an emoji) and broken UTF-8 become U+FFFD, NaN and
    infinities null. An answer that was paid for is worth more than its exact bytes.
    """
    try:
        text = json.dumps(read_json(raw), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return whole_text(text).encode()


def whole_text(text: str) -> str:
    """Return `text` with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def words(value: object, cap: int = MAX_WORDS) -> str:
    """Return a provider's words on one line, printable, without keys, at most `cap` characters."""
    if not value and value != 0:
        return ""
    if isinstance(value, str) and len(value) <= cap and value.isidentifier():
        # Nearly every word on the hot path: `stop`, `length`, an error's type.
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    # Room for redaction and folding to shorten it, without walking through megabytes.
    text = text[: cap * 8]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(_KEY.sub("[key]", text).split())
    return text if len(text) <= cap else text[: cap - 1] + "…"


def identifier(value: object) -> str | None:
    """Return an id; None for null, the empty string, and what no id looks like."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > 512:
        return None
    return value.strip() or None


def count(value: object) -> int | None:
    """Return a whole number from 0 up; None for anything else. Floats and digits are read too."""
    if isinstance(value, str):
        value = float(value) if re.fullmatch(r"\d{1,15}(\.\d{1,6})?", value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value <= _MAX_COUNT:
        return None
    return int(value)


def moment(value: object) -> float | None:
    """Return a time as Unix seconds; None if it is none.

    Takes seconds or milliseconds as a number or digits, and ISO 8601 text; text without a zone is
    UTC. Zero and the year 1 are how some servers say null.
    """
    if isinstance(value, str):
        value = _from_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 < value < 1e14 or not math.isfinite(value):
        return None
    return float(value / 1000 if value > 1e11 else value)


def _from_text(text: str) -> float | None:
    if re.fullmatch(r"\d{1,14}(\.\d{1,9})?", text):
        return float(text)
    try:
        at = datetime.datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
