"""A job as the user declares it, before anything is registered."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is tried again, and how often.

    `attempts`: how often the provider may refuse one request before it fails (only a refusal of
    that very line burns one). `rounds`: how many batches one request may travel in, whatever ended
    them. `on_expired`, `on_missing`: retry, or close with what is known. `on_cancelled` is for
    batches that somebody else cancelled: hold asks a person.
    """

    attempts: int = 3
    rounds: int = 6
    on_expired: Literal["retry", "close"] = "retry"
    on_missing: Literal["retry", "close"] = "retry"
    on_cancelled: Literal["hold", "retry", "close"] = "hold"
    delete_remote_files: bool = True
    linger_seconds: int = 300
    """How long refused requests wait for company before a retry batch is made of them."""


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One submission: where records come from, how they become requests, where they are sent.

    Exactly one of `prompt` ("{column}" placeholders), `template` (text in Jinja syntax) and
    `lines` (the source holds ready batch lines) says how a record becomes a request.
    """

    name: str
    source: str
    source_format: str = "auto"
    key: str | None = None
    lines: bool = False
    prompt: str | None = None
    system: str | None = None
    template: str | None = None
    provider: str
    model: str | None = None
    body: dict[str, Any] = {}
    endpoint: str = "/v1/chat/completions"
    window: str = "24h"
    on_duplicate: Literal["error", "suffix", "skip"] = "error"
    split_models: bool = False
    limit: int | None = None
    metadata: dict[str, str] = {}
    policy: Policy = Policy()

    def digest(self, source_digest: str) -> str:
        """Return the job's content hash: what is asked of which records, whatever its name.

        A field that came with a later release counts only where it is set, so that a job that was
        submitted before is still the same one.
        """
        parts = msgspec.to_builtins(self)
        for name in _NO_CONTENT:
            parts.pop(name)
        for field in msgspec.structs.fields(self):
            if field.name not in _FIRST and parts.get(field.name) == field.default:
                del parts[field.name]
        text = msgspec.json.encode([parts, source_digest], order="sorted")
        return hashlib.sha256(text).hexdigest()


_NO_CONTENT = frozenset({"name", "source", "policy"})
"""What may differ between two submissions of the same content."""

_FIRST = frozenset(
    {
        "body",
        "endpoint",
        "key",
        "limit",
        "lines",
        "metadata",
        "model",
        "on_duplicate",
        "prompt",
        "provider",
        "source_format",
        "split_models",
        "system",
        "template",
        "window",
    }
)
"""The fields of the first release: they count at their defaults too."""
