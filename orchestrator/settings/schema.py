"""Every setting there is: its name, type, default and one line of help, in one place.

The loader, `config check`, `config explain`, `config schema` and the suggestions for mistyped keys
are all derived from these structs; a new setting is a new field. Durations are `timedelta`, sizes
bytes, paths absolute once loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price
from orchestrator.domain.spec import SinkSpec
from orchestrator.settings.references import SecretReference

Window = Annotated[str, "window"]
"""A completion window as the provider takes it: whole hours or days, `24h`, `7d`."""

Zone = Annotated[str, "zone"]
"""The name of a time zone, `Europe/Berlin`; `local` is the machine's."""

ProfileName = Annotated[str, "profile"]
"""The name of a shipped profile, or the path of a profile file (`.toml`)."""

DatabaseUrl = Annotated[str | SecretReference, "url"]
"""A database URL without a password, or a reference to one."""

Count = Annotated[int, "count"]
"""A whole number from 1."""


class Size(int):
    """Bytes, written with their unit: `64MB`."""

    __slots__ = ()

    def written(self) -> str:
        """Return the shortest exact form that the configuration takes."""
        for unit, octets in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
            if self and self % octets == 0:
                return f"{self // octets}{unit}"
        return f"{self:d}B"


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked again, and how often."""

    attempts: Annotated[Count, "how often the provider may refuse one request"] = 3
    rounds: Annotated[Count, "how many batches one request may travel in"] = 6
    back_off: Annotated[timedelta, "how long refused requests wait for company"] = timedelta(
        minutes=5
    )
    on_expired: Annotated[
        Literal["retry", "close"], "requests of a batch whose window ended unanswered"
    ] = "retry"
    on_missing: Annotated[
        Literal["retry", "close"], "requests that a finished batch has no line for"
    ] = "retry"
    on_cancelled: Annotated[
        Literal["hold", "retry", "close"], "requests of a batch that somebody else cancelled"
    ] = "hold"


class JobRetry(msgspec.Struct, frozen=True, kw_only=True):
    """The same for one job spec; what is None is taken from `[defaults] retry`."""

    attempts: Annotated[Count | None, "how often the provider may refuse one request"] = None
    rounds: Annotated[Count | None, "how many batches one request may travel in"] = None
    back_off: Annotated[timedelta | None, "how long refused requests wait for company"] = None
    on_expired: Annotated[
        Literal["retry", "close"] | None, "requests of a batch whose window ended unanswered"
    ] = None
    on_missing: Annotated[
        Literal["retry", "close"] | None, "requests that a finished batch has no line for"
    ] = None
    on_cancelled: Annotated[
        Literal["hold", "retry", "close"] | None,
        "requests of a batch that somebody else cancelled",
    ] = None


class RegistrySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The database that holds all state."""

    url: Annotated[
        DatabaseUrl | None, "SQLAlchemy URL; SQLite in the state directory unless given"
    ] = None


class SpoolSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Files on local disk, made from the registry and thrown away freely."""

    dir: Annotated[Path | None, "folder; in the state directory unless given"] = None
    reserve: Annotated[Size, "below so much free space nothing is built or downloaded"] = Size(
        64_000_000
    )


class DefaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a job gets when it says nothing."""

    timezone: Annotated[Zone, "the zone times are shown in"] = "local"
    provider: Annotated[str | None, "where jobs go"] = None
    model: Annotated[str | None, "the model they ask"] = None
    window: Annotated[Window, "completion window"] = "24h"
    retry: Retry = Retry()
    requests_per_batch: Annotated[Count, "at most, whatever the provider would take"] = 50_000
    delete_remote_files: Annotated[bool, "delete remote files once their answers are recorded"] = (
        True
    )
    budget_per_day: Annotated[
        Money | None, "all jobs together spend at most this in a day (UTC)"
    ] = None


class DaemonSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How often work is looked for, and how long it is held."""

    tick: Annotated[timedelta, "how often due work is looked for"] = timedelta(seconds=5)
    poll_min: Annotated[timedelta, "shortest time between two looks at a batch"] = timedelta(
        seconds=15
    )
    poll_max: Annotated[timedelta, "longest time between two looks at a batch"] = timedelta(
        minutes=10
    )
    lease: Annotated[timedelta, "after which a silent worker's batch is taken over"] = timedelta(
        seconds=60
    )
    drain: Annotated[timedelta, "time to end short calls after TERM"] = timedelta(seconds=25)
    settle: Annotated[
        timedelta, "how long an unanswered creation is looked for before it is sent anew"
    ] = timedelta(minutes=3)
    keep_remote: Annotated[
        timedelta, "how long files stay at the provider after their answers are recorded"
    ] = timedelta(0)


class ProviderBudget(msgspec.Struct, frozen=True, kw_only=True):
    """What all jobs of a provider may spend there together."""

    per_day: Annotated[Money | None, "in a day (UTC); the next one begins anew"] = None
    total: Annotated[Money | None, "in all"] = None


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One account at one provider. What is None is the profile's."""

    name: Annotated[str, "set"]
    profile: Annotated[
        ProfileName, "shipped profile, or path of a .toml; the section's name unless given"
    ] = ""
    base_url: Annotated[str | None, "where its API is, with /v1"] = None
    api_key: Annotated[SecretReference | None, "reference to the key"] = None
    max_batches_in_flight: Annotated[Count | None, "at most this many live batches"] = None
    max_calls_per_minute: Annotated[Count | None, "at most this many calls, of all workers"] = None
    budget: ProviderBudget = ProviderBudget()
    prices: Annotated[
        Mapping[str, tuple[Price, ...]], "prices", "of a model, in the place of the profile's"
    ] = {}
    connect_timeout: Annotated[timedelta, "for a connection to stand"] = timedelta(seconds=10)
    read_timeout: Annotated[timedelta, "for the next bytes to come"] = timedelta(seconds=60)


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A database of the user's, for sources and sinks."""

    name: Annotated[str, "set"]
    url: Annotated[DatabaseUrl, "SQLAlchemy URL without a password, or a reference to one"]


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job's records come from; a plain string is the file, or `job:NAME`."""

    file: Annotated[str | None, "place", "path, pattern or URL of a file"] = None
    files: Annotated[tuple[str, ...], "places", "several files: a list of such"] = ()
    sql: Annotated[str | None, "connection whose table or query it is"] = None
    table: Annotated[str | None, "of sql: the table or view to read"] = None
    query: Annotated[str | None, "of sql: the statement to read"] = None
    query_file: Annotated[Path | None, "of sql: the file with the statement"] = None
    sheet: Annotated[str | None, "of a workbook: the sheet to read; the first"] = None
    job: Annotated[str | None, "another job, whose outcomes are the records"] = None
    outcomes: Annotated[
        Literal["succeeded", "all"], "which outcomes of that job become records"
    ] = "succeeded"
    answer: Annotated[str | None, "column that its answers stand in; else text"] = None
    stream: Annotated[bool, "in a workflow: as they come, rather than at its end"] = False
    format: Annotated[str, "jsonl, csv, parquet, or auto: by the name"] = "auto"
    key: Annotated[str | None, "column that identifies a record; several with commas"] = None
    where: Annotated[str | None, "condition over its columns; other records are passed over"] = None


class AnswerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer must be: JSON that fits a schema."""

    schema: Annotated[Path | None, "file with a JSON Schema that answers must fit"] = None
    name: Annotated[str | None, "what the provider is told it is called; answer"] = None
    native: Annotated[bool | None, "send it as response_format; as the provider's profile says"] = (
        None
    )
    repair: Annotated[bool | None, "ask again for answers that do not fit; true"] = None


class CanarySettings(msgspec.Struct, frozen=True, kw_only=True):
    """The first records of a job go ahead, and the rest when they meet the conditions."""

    records: Annotated[Count | None, "how many go ahead"] = None
    require: Annotated[tuple[str, ...], "conditions", "conditions, `failed < 2%`"] = ()


class JobDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """A job spec: `[jobs.NAME]`. Exactly one of prompt, template, lines."""

    spec: Annotated[str, "set"]
    name: Annotated[str | None, "name of the job it makes; the spec's own unless given"] = None
    source: SourceSettings
    key: Annotated[str | None, "column that identifies a record"] = None
    lines: Annotated[bool, "the source holds ready batch lines"] = False
    prompt: Annotated[str | None, "text with {column} placeholders"] = None
    template: Annotated[Path | None, "template file: Jinja syntax, or .toml"] = None
    system: Annotated[str | None, "system message"] = None
    images: Annotated[tuple[str, ...], "columns", "columns of pictures: one name or a list"] = ()
    overrides: Annotated[
        Mapping[str, str], "fields of the body, each with the column it comes from"
    ] = {}
    answer: AnswerSettings = AnswerSettings()
    request: Annotated[Mapping[str, Any], "further fields of each request body"] = {}
    provider: Annotated[str | None, "where it goes"] = None
    model: Annotated[str | None, "the model it asks"] = None
    endpoint: Annotated[str, "url of every batch line"] = "/v1/chat/completions"
    window: Annotated[Window | None, "completion window"] = None
    on_duplicate: Annotated[
        Literal["error", "suffix", "skip"], "what a key that comes twice does"
    ] = "error"
    split_models: Annotated[bool, "one job over several models: a file for each"] = False
    limit: Annotated[Count | None, "read this many records only"] = None
    changed_only: Annotated[bool, "send only records that earlier jobs of the spec lack"] = False
    metadata: Annotated[Mapping[str, str], "tags kept with the job"] = {}
    dedup: Annotated[bool, "equal requests are sent once and answered to all"] = False
    cache: Annotated[
        bool | timedelta, "age", "use answers of earlier jobs: true, or those of at most that age"
    ] = False
    budget: Annotated[Money | None, "nothing is sent that may lead beyond it"] = None
    canary: CanarySettings = CanarySettings()
    retry: JobRetry = JobRetry()
    delete_remote_files: Annotated[
        bool | None, "delete remote files once their answers are recorded"
    ] = None
    sink: Annotated[
        tuple[SinkSpec, ...], "sinks", "where outcomes go by themselves: a sink or a list of them"
    ] = ()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting, with what nobody set at its default."""

    registry: RegistrySettings = RegistrySettings()
    spool: SpoolSettings = SpoolSettings()
    defaults: DefaultSettings = DefaultSettings()
    daemon: DaemonSettings = DaemonSettings()
    providers: Mapping[str, ProviderSettings] = {}
    jobs: Mapping[str, JobDeclaration] = {}
    connections: Mapping[str, ConnectionSettings] = {}


LATER: Mapping[str, str] = {
    "web": "the web pages",
    "providers.*.stop_after": "stopping a provider after equal failures",
    "spool.keep": "keeping spool files",
    "jobs.*.schedule": "schedules",
    "jobs.*.deadline": "deadlines",
    "jobs.*.notify": "notifications",
}
"""Keys of the interface specification that do nothing yet: refused rather than ignored."""
