"""A job as Python declares it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from orchestrator.client.outcomes import Outcome

Row = Mapping[str, Any]
"""A row of a source: its columns by name, typed as far as the source tells types."""

Message = Mapping[str, Any]
"""One message of a conversation: role and content."""


class Frame(Protocol):
    """A table in memory: a pandas or polars frame, an Arrow table or stream of batches."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the table over as a stream of Arrow batches."""


class Lazy(Protocol):
    """A frame that is still to be computed, as polars has it."""

    def collect(self) -> object:
        """Compute it."""


Source = str | Path | Sequence[str | Path] | Frame | Lazy | Iterable[Row]
"""Where records come from.

A path, a pattern of paths, several paths, a URL, `sql:CONNECTION`, `job:NAME`; or the records
themselves: a frame, a table, any iterable of mappings.
"""


Take = Callable[["list[Outcome]"], object]
"""A function that outcomes are handed to, some at a time."""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A job: where its records come from, what is asked of each, how the answers are to be.

    One of `prompt` ("{column}" placeholders), `template` (text in Jinja syntax, or the Path of a
    file), `messages` (called with each row, returns its messages) and `lines` (the source holds
    ready batch lines) says how a record becomes a request. `provider`, `model` and `window` come
    from the configuration unless given, and so does what `retry` leaves out: attempts, rounds,
    back_off, on_expired, on_missing, on_cancelled.

    `answer` is what each answer must be: a pydantic model, a TypedDict, a dataclass, a msgspec
    Struct, or a JSON Schema; each outcome then has `data`, and for a type `answer`. `canary`
    records go first, the rest when each of `require` holds for them. `sinks` are those of the
    command line, as text or as tables of the configuration; a function among them gets outcomes
    while this process watches the job, or waits for it.
    """

    name: str
    source: Source = field(repr=False)
    key: str | Sequence[str] | None = None
    provider: str | None = None
    model: str | None = None
    prompt: str | None = field(default=None, repr=False)
    template: str | Path | None = field(default=None, repr=False)
    messages: Callable[[Row], Sequence[Message]] | None = field(default=None, repr=False)
    lines: bool = field(default=False, repr=False)
    system: str | None = field(default=None, repr=False)
    images: Sequence[str] = field(default=(), repr=False)
    answer: Any = field(default=None, repr=False)
    repair: bool = field(default=True, repr=False)
    native: bool | None = field(default=None, repr=False)
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    overrides: Mapping[str, str] = field(default_factory=dict, repr=False)
    where: str = field(default="", repr=False)
    limit: int | None = field(default=None, repr=False)
    on_duplicate: Literal["error", "suffix", "skip"] = field(default="error", repr=False)
    split_models: bool = field(default=False, repr=False)
    window: str | None = field(default=None, repr=False)
    endpoint: str = field(default="/v1/chat/completions", repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)
    source_format: str = field(default="auto", repr=False)
    source_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    series: str = field(default="", repr=False)
    changed_only: bool = field(default=False, repr=False)
    dedup: bool = field(default=False, repr=False)
    cache: bool | str = field(default=False, repr=False)
    budget: str | None = field(default=None, repr=False)
    canary: int | None = field(default=None, repr=False)
    require: Sequence[str] = field(default=(), repr=False)
    retry: Mapping[str, Any] = field(default_factory=dict, repr=False)
    delete_remote_files: bool | None = field(default=None, repr=False)
    sinks: Sequence[str | Mapping[str, Any] | Take] = field(default=(), repr=False)

    def with_(self, **changes: Any) -> JobSpec:  # noqa: ANN401 - the types of the fields above
        """Return a copy with `changes`."""
        return replace(self, **changes)
