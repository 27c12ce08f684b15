"""A job as the user declares it, before anything is registered."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

RENDERED = "rendered"
"""The format of a source that brings the messages of each record with it."""


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


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an answer must be: JSON that fits `schema`, a JSON Schema.

    `name` is what the provider is told it is called. `native`: whether the schema is sent as
    `response_format`; None where the provider's profile says. `repair`: an answer that does not
    fit is asked for again, with a note of what is wrong, within the policy's attempts.
    """

    schema: dict[str, Any]
    name: str = "answer"
    native: bool | None = None
    repair: bool = True


class Canary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first `records` go ahead; the rest follows when each of `require` holds for them.

    A condition reads `failed < 2%`, `valid_json > 99%`, `cost_per_record < 0.001`.
    """

    records: int
    require: tuple[str, ...] = ()


class SinkSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where outcomes go by themselves: `location` as `export -o` takes it, and how.

    `location`: a path or URL of a file, `sql:CONNECTION`, `source` (back into the source table),
    an http(s) address with the format `webhook`, or what a sink of one's own understands.
    `stream`: as outcomes arrive, else once at the end. `options` are the sink's own.
    """

    location: str
    format: str = "auto"
    stream: bool = False
    options: dict[str, Any] = {}


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
    source_options: dict[str, Any] = {}
    """What the source's kind needs besides: `query`, `table`, `sheet`."""
    where: str = ""
    """A condition over the columns of the source: other records are passed over."""
    images: tuple[str, ...] = ()
    """Columns that hold the path or URL of a picture for the user's message."""
    overrides: dict[str, str] = {}
    """Fields of the body, each with the column that it is taken from, where that is not null."""
    answer: Answer | None = None
    dedup: bool = False
    """Equal requests are sent once and answered to all."""
    cache: bool = False
    """Requests that an earlier job with `cache` has had answered are answered from the registry."""
    cache_max_age: int | None = None
    """In seconds; None is any age."""
    series: str = ""
    """What this job is a run of, where it has several: `changed_only` compares with those."""
    changed_only: bool = False
    budget: str | None = None
    """Money, `25 USD`: nothing is sent that may lead beyond it."""
    canary: Canary | None = None
    sinks: tuple[SinkSpec, ...] = ()

    def digest(self, source_digest: str) -> str:
        """Return the job's content hash: what is asked of which records, whatever its name.

        A field that came with a later release counts only where it is set, so that a job that was
        submitted before is still the same one.
        """
        parts = msgspec.to_builtins(self)
        for name in _NO_CONTENT:
            parts.pop(name)
        plain = JobSpec(name="", source="", provider="")
        for name in parts.keys() - _FIRST:
            if getattr(self, name) == getattr(plain, name):
                del parts[name]
        text = msgspec.json.encode([parts, source_digest], order="sorted")
        return hashlib.sha256(text).hexdigest()


_NO_CONTENT = frozenset({"name", "source", "policy", "budget", "canary", "sinks", "series"})
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


class Guarded(msgspec.Struct, frozen=True):
    """What of a stored spec its guards need: quick to read, whatever else it holds."""

    budget: str | None = None
    canary: Canary | None = None


_GUARDED = msgspec.json.Decoder(Guarded)


def read_guards(text: str) -> Guarded:
    """Read budget and canary of a stored spec."""
    return _GUARDED.decode(text)
