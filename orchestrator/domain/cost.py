"""Tokens and money: what a job may cost before it runs, what it did cost after.

Token estimates assume a quarter of a token for each ASCII character, half a token for a character
of two UTF-8 bytes (accents, Greek, Cyrillic, Arabic), one for a character of three (Chinese,
Japanese, Korean), one and a half beyond (emoji), and four tokens a message for its frame. That is
within about 20 % for prose and too low for dense code or numbers. Images and video count nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price

QUARTERS_PER_MESSAGE = 16
_MILLION = Decimal(1_000_000)
_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


def quarter_tokens(text: str) -> int:
    """Return the estimated tokens of `text`, in quarters of a token, so that sums stay whole."""
    if text.isascii():
        return len(text)
    encoded = len(text.encode("utf-8", "surrogatepass"))
    ascii_characters = len(text.encode("ascii", "ignore"))
    # n characters in u bytes, a of them ASCII: a + 2 (u - n) is 2 a character of two bytes, 4 of
    # three, 6 of four.
    return ascii_characters + 2 * (encoded - len(text))


def message_quarters(messages: object) -> int:
    """Return the estimated tokens of chat `messages`, in quarters; only their text counts."""
    if not isinstance(messages, list):
        return 0
    return sum(QUARTERS_PER_MESSAGE + _content_quarters(message) for message in messages)


def _content_quarters(message: object) -> int:
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return quarter_tokens(content)
    if not isinstance(content, list):
        return 0
    texts = (part.get("text") for part in content if isinstance(part, dict))
    return sum(quarter_tokens(text) for text in texts if isinstance(text, str))


def output_bound(body: Mapping[str, Any]) -> int | None:
    """Return the most tokens a request with this body may answer with, None if it sets no bound."""
    for name in _BOUNDS:
        bound = body.get(name)
        if isinstance(bound, int) and not isinstance(bound, bool) and bound >= 0:
            return bound
    return None


def estimate(tokens_in: int, tokens_out: int, price: Price | None) -> Money | None:
    """Return the batch price of so many tokens, nothing cached; None if the price is not known."""
    return actual(tokens_in, tokens_out, 0, price)


def actual(
    tokens_in: int, tokens_out: int, tokens_cached: int, price: Price | None
) -> Money | None:
    """Return what the used tokens cost in a batch; None if the price is not known.

    `tokens_in` is the whole prompt, as `usage.prompt_tokens` counts it; the `tokens_cached` among
    it are charged at the cached price.
    """
    if price is None:
        return None
    cached = _cached(tokens_in, tokens_cached)
    cost = (tokens_in - cached) * price.input
    cost += cached * price.cached_input + tokens_out * price.output
    return Money(cost / _MILLION, price.currency)


def online(
    tokens_in: int, tokens_out: int, tokens_cached: int, price: Price | None
) -> Money | None:
    """Return what the same tokens would cost outside a batch; None if that is not known.

    No page states an online cached price, so that the batch's own ratio of cached to fresh input
    is assumed: the saving is not made to look larger than it is.
    """
    if price is None or price.online_input is None or price.online_output is None:
        return None
    cached = _cached(tokens_in, tokens_cached)
    ratio = price.cached_input / price.input if price.input else Decimal(1)
    cost = (tokens_in - cached) * price.online_input
    cost += cached * price.online_input * ratio + tokens_out * price.online_output
    return Money(cost / _MILLION, price.currency)


def saved(tokens_in: int, tokens_out: int, tokens_cached: int, price: Price | None) -> Money | None:
    """Return what the batch saves against the online price; None if either is not known."""
    outside = online(tokens_in, tokens_out, tokens_cached, price)
    inside = actual(tokens_in, tokens_out, tokens_cached, price)
    return None if outside is None or inside is None else outside - inside


def _cached(tokens_in: int, tokens_cached: int) -> int:
    return max(0, min(tokens_cached, tokens_in))
