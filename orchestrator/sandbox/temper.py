"""How well or badly the sandbox behaves: rates of faults, quirks of other servers, its limits.

A rate is a share between 0 and 1. A temper is data: the presets `good` and `bad`, or a TOML file
with the same tables and words, which may begin with `preset = "bad"` and change a few of them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from orchestrator.domain.errors import ConfigError

Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Span = tuple[Seconds, Seconds]
ErrorLine = Literal["openai", "null_response", "no_response", "no_code", "in_output", "mixed"]


class Lines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Faults of single lines.

    `overloaded` (429) and `server_error` (500) are drawn anew in each batch, so a retry may
    succeed; `content_filter` and `invalid` belong to the custom_id and stay. `missing` lines are
    counted but delivered in no file, and not billed. `duplicated` and `garbage` add lines;
    `mangled` cuts an answer that was billed, so its retry is billed again. Of the answers to
    requests with a `response_format` of JSON, `wrapped` ones stand in a fence or between words,
    and `invalid_json` ones are no JSON, cut, or without what the schema requires; both are drawn
    anew in each batch.
    """

    overloaded: Rate = 0.0
    server_error: Rate = 0.0
    content_filter: Rate = 0.0
    invalid: Rate = 0.0
    missing: Rate = 0.0
    duplicated: Rate = 0.0
    garbage: Rate = 0.0
    mangled: Rate = 0.0
    wrapped: Rate = 0.0
    invalid_json: Rate = 0.0


class Calls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Faults of calls; see `faults.py` for what each does."""

    dropped: Rate = 0.0
    answer_lost: Rate = 0.0
    late: Rate = 0.0
    late_seconds: Seconds = 30.0
    server_error: Rate = 0.0
    server_error_after: Rate = 0.0
    unavailable: Rate = 0.0
    gateway_timeout: Rate = 0.0
    gateway_timeout_after: Rate = 0.0
    throttled: Rate = 0.0
    retry_after: Annotated[int, msgspec.Meta(ge=0)] = 1
    overloaded: Rate = 0.0
    empty: Rate = 0.0
    truncated: Rate = 0.0


class Batches(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long batches take, in seconds, and how many end badly.

    `expired` is the share that would need more than the window; `rejected` the share that fails
    validation without a fault of the file; `cancel_ignored` the share that runs on and completes
    although its cancellation was accepted.
    """

    validating: Span = (5.0, 60.0)
    running: Span = (120.0, 1800.0)
    finalizing: Span = (2.0, 30.0)
    cancelling: Span = (2.0, 60.0)
    expired: Rate = 0.0
    rejected: Rate = 0.0
    cancel_ignored: Rate = 0.0


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Habits of servers that call themselves compatible, and what no page of Kimi states."""

    list_lag: Seconds = 0.0
    """A new batch appears in the list only after so many seconds."""
    file_list_lag: Seconds = 0.0
    status_words: dict[str, str] = {}
    """Other words for states, such as `validating = "scheduling"`."""
    null_counts: bool = False
    """`request_counts` is null until validation has ended well."""
    empty_ids: bool = False
    """File ids that do not exist are empty strings instead of null."""
    empty_error_file: bool = False
    """An `error_file_id` is set although nothing failed; the file has no bytes."""
    error_line: ErrorLine = "openai"
    body_as_string: bool = False
    """`response.body` is JSON text in a JSON string."""
    id_length: Annotated[int, msgspec.Meta(ge=16, le=200)] = 29
    advance_when_asked: bool = False
    """Batches stand still until they are retrieved by id."""
    endless_list: bool = False
    """The list of batches ignores `after` and always says there is more."""
    no_file_list: bool = False
    max_limit: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Larger values of `limit` count as this one."""
    metadata_in_list: bool = True
    ranges: bool = False
    """`Range` is honoured on contents."""
    unfinished_lines: Literal["listed", "silent"] = "listed"
    """Whether lines that never ran stand in the error file of an expired or cancelled batch."""
    partial_results: bool = True
    """Whether an expired or cancelled batch hands out what was finished."""
    validation_errors: Literal["error_file", "errors", "nowhere"] = "error_file"
    deleted_input: Literal["runs_on", "fails"] = "runs_on"
    """What becomes of a validating batch whose input file is deleted."""
    create_over_deleted: bool = False
    """A deleted input file is still taken by create: deletion revokes nothing."""
    missing_input_status: Literal[400, 404] = 400


class Bounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The account's limits and models. Defaults: Kimi's pages of August 2026."""

    max_file_bytes: int = 100_000_000
    max_batch_files: int = 1000
    max_files: int = 1000
    max_storage_bytes: int = 10_000_000_000
    outputs_count: bool = False
    """Whether output and error files count in the quotas (not stated by Kimi)."""
    max_requests: int | None = None
    custom_id_max: int | None = None
    live_batches: int | None = None
    min_window_hours: int = 12
    max_window_hours: int = 168
    endpoint: str = "/v1/chat/completions"
    models: tuple[str, ...] = ("kimi-k2.6", "kimi-k2.7-code")
    """The models that batches may use; empty is any."""
    other_models: tuple[str, ...] = ("kimi-k3",)
    """Models that exist but are not for batches."""
    forbidden: tuple[str, ...] = (
        "temperature",
        "top_p",
        "n",
        "presence_penalty",
        "frequency_penalty",
        "stream",
        "stream_options",
    )
    balance: float = 100.0


class Temper(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All of a sandbox's behaviour; the default is the documented Kimi without any fault."""

    lines: Lines = Lines()
    calls: Calls = Calls()
    batches: Batches = Batches()
    quirks: Quirks = Quirks()
    limits: Bounds = Bounds()


msgspec.json.Decoder(Temper)  # made at import, by one thread: see the end of `domain.profile`

GOOD = Temper()
BAD = Temper(
    lines=Lines(
        overloaded=0.04,
        server_error=0.03,
        content_filter=0.01,
        invalid=0.01,
        missing=0.02,
        duplicated=0.02,
        garbage=0.01,
    ),
    calls=Calls(
        dropped=0.03,
        answer_lost=0.03,
        late=0.01,
        server_error=0.02,
        server_error_after=0.01,
        unavailable=0.02,
        gateway_timeout=0.01,
        gateway_timeout_after=0.01,
        throttled=0.02,
        overloaded=0.02,
        empty=0.01,
        truncated=0.01,
    ),
    batches=Batches(expired=0.05, rejected=0.03, cancel_ignored=0.2),
    quirks=Quirks(
        list_lag=20.0,
        status_words={"validating": "scheduling"},
        null_counts=True,
        empty_ids=True,
        empty_error_file=True,
        error_line="mixed",
        id_length=95,
        max_limit=100,
    ),
)
PRESETS = {"good": GOOD, "bad": BAD}


def read_temper(name: str) -> Temper:
    """Return the temper called `name`: `good`, `bad`, or the path of a TOML file.

    Raises ConfigError for a file that can't be read, an unknown word or a value out of range.
    """
    if name in PRESETS:
        return PRESETS[name]
    try:
        tables = tomllib.loads(Path(name).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise _bad(name, str(exc)) from exc
    base = PRESETS.get(str(tables.pop("preset", "good")))
    if base is None:
        raise _bad(name, f"its preset is not one of {', '.join(PRESETS)}")
    try:
        return msgspec.convert(_over(msgspec.to_builtins(base), tables), Temper)
    except msgspec.ValidationError as exc:
        raise _bad(name, str(exc)) from exc


def _over(base: dict[str, object], tables: dict[str, object]) -> dict[str, object]:
    merged = dict(base)
    for word, value in tables.items():
        below = merged.get(word)
        is_table = isinstance(below, dict) and isinstance(value, dict)
        merged[word] = {**below, **value} if is_table else value  # type: ignore[dict-item]
    return merged


def _bad(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"the sandbox's temper {name} can't be read: {why}",
        code="ORC3801",
        next="use good, bad, or a TOML file with the tables lines, calls, batches, quirks, limits",
    )
