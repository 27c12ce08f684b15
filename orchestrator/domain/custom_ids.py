"""The provider's `custom_id` of a request: the record's key, or a short stand-in for it."""

from __future__ import annotations

import base64
import hashlib
import re

_LEGAL = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_DERIVED = re.compile(r"k-[a-z2-7]{26}")
DERIVED_LENGTH = 28


def is_legal(text: str, limit: int) -> bool:
    """Tell whether `text` may stand as a custom_id: 1 to `limit` printable ASCII characters.

    A space at either end counts as not printable: a server that trims would hand back another id.
    """
    return len(text) <= limit and _LEGAL.fullmatch(text) is not None


def custom_id(key: str, limit: int = 64) -> str:
    """Return `key` itself where it is legal, else `k-` and 26 base32 characters made from it.

    The same key always gives the same id, and two keys never share one: a legal key that has the
    form of a stand-in gets a stand-in too, and stand-ins are 128 bits of BLAKE2b. `limit` is the
    profile's `custom_id_max`, at least 28. The strictest known limit is 64 (Anthropic, Bedrock).
    """
    if is_legal(key, limit) and not _DERIVED.fullmatch(key):
        return key
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return "k-" + base64.b32encode(digest).decode("ascii").rstrip("=").lower()
