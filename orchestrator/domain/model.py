"""Rows as values: job, batch, account. What decisions read and events change."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any


class JobState(enum.StrEnum):
    """Where a job stands."""

    REGISTERING = "registering"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    FINISHED = "finished"
    CANCELLED = "cancelled"


class BatchState(enum.StrEnum):
    """Where a batch stands. The way of a healthy one is the first nine, in order."""

    PLANNED = "planned"
    BUILT = "built"
    UPLOADING = "uploading"
    UPLOADED = "uploaded"
    CREATING = "creating"
    LIVE = "live"
    REMOTE_DONE = "remote_done"
    COLLECTED = "collected"
    RECONCILED = "reconciled"
    CLOSED = "closed"
    UPLOAD_UNKNOWN = "upload_unknown"
    CREATE_UNKNOWN = "create_unknown"
    PARKED = "parked"
    SUPERSEDED = "superseded"


class RequestState(enum.StrEnum):
    """Where a request stands: two open states, four final words."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Gate(enum.StrEnum):
    """Whether an account may be called: as usual, not before a time, or not until mended."""

    OPEN = "open"
    SLOWED = "slowed"
    CLOSED = "closed"


class StrayVerdict(enum.StrEnum):
    """What became of a remote batch under our name that the registry did not know."""

    WAITING = "waiting"
    """Its job, or who its records are, is not known yet."""
    ADOPTED = "adopted"
    EXTRA = "extra"
    """A second one of the same batch, or one whose records all have their outcomes."""
    LOST = "lost"
    """It ended, and nothing of it can be read any more."""
    FOREIGN = "foreign"
    """Sent by another registry under our identity, after we had looked."""
    FORGOTTEN = "forgotten"
    """A person has decided that it does not matter."""


class DeliveryState(enum.StrEnum):
    """Where a delivery of outcomes to a sink stands."""

    WAITING = "waiting"
    """For the job's end, or for further outcomes."""
    RUNNING = "running"
    HELD = "held"
    """The sink refuses: a person decides. Nothing is lost, the outcomes are in the registry."""
    DONE = "done"


class StageState(enum.StrEnum):
    """Where a stage of a workflow stands, as long as it takes records from the one before."""

    WAITING = "waiting"
    FEEDING = "feeding"
    HELD = "held"
    FED = "fed"
    """Every record it will ever have is registered; the rest is its job's affair."""


class ChargeKind(enum.StrEnum):
    """What tokens were used for: answers that count, or waste of a kind."""

    ANSWERED = "answered"
    INVALID = "invalid"
    REFUSED = "refused"
    LOST = "lost"
    """Billed in a batch that expired, was cancelled or answered twice."""


OPEN_REQUESTS = (RequestState.PENDING, RequestState.ASSIGNED)
OUTCOMES = (
    RequestState.SUCCEEDED,
    RequestState.FAILED,
    RequestState.EXPIRED,
    RequestState.CANCELLED,
)


@dataclass(frozen=True, slots=True)
class Books:
    """The counts that must always add up. `waiting` and `in_flight` together are the open ones."""

    records: int = 0
    waiting: int = 0
    in_flight: int = 0
    succeeded: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0

    @property
    def open(self) -> int:
        """Records without an outcome."""
        return self.waiting + self.in_flight

    @property
    def recorded(self) -> int:
        """Records with an outcome."""
        return self.succeeded + self.failed + self.expired + self.cancelled

    @property
    def balanced(self) -> bool:
        """Whether the books add up."""
        return self.records == self.open + self.recorded


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One submission by the user, as the registry holds it.

    `spec` is the JobSpec as JSON text, `shape` the Shape of its source. The rest as in
    `registry.tables`.
    """

    id: int
    name: str
    state: JobState
    provider: str
    spec: str = field(repr=False)
    digest: str
    books: Books
    batches: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    shape: str = ""
    series: str = ""
    source_digest: str = ""
    stamp: int = 0
    growing: bool = False
    shared: int = 0
    cached: int = 0
    settled: int = 0
    canary: str | None = None
    budget: str | None = None
    hold_code: str | None = None
    hold_reason: str | None = None
    held_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One input file and the one remote batch made from it, as the registry holds it.

    `token` is in the file name and in the metadata; it is new for each upload. `requests` counts
    members, `bytes` measures the input file. `tries` counts what went wrong in a row with the
    current move. `looks` counts empty looks for an unanswered call. `cursor` counts the answers
    recorded so far. `splits` says how often the batch was halved to come to be. `est_*`: estimated
    tokens of the members, `est_out` None where one has no bound.
    """

    id: int
    job_id: int
    number: int
    provider: str
    fingerprint: str | None = None
    state: BatchState
    epoch: int = 0
    model: str = ""
    requests: int
    bytes: int
    sha256: str | None = None
    token: str
    planned_at: datetime
    due_at: datetime
    state_at: datetime
    tries: int = 0
    reason: str | None = None
    code: str | None = None
    parked_from: str | None = None
    input_file_id: str | None = None
    spare_tokens: str = ""
    create_began_at: datetime | None = None
    unknown_since: datetime | None = None
    looks: int = 0
    revoked_at: datetime | None = None
    renewals: int = 0
    splits: int = 0
    remote_id: str | None = None
    remote_status: str | None = None
    remote_word: str | None = None
    remote_raw: str | None = field(default=None, repr=False)
    remote_total: int | None = None
    remote_completed: int | None = None
    remote_failed: int | None = None
    remote_created_at: datetime | None = None
    remote_ended_at: datetime | None = None
    expires_at: datetime | None = None
    deadline_at: datetime | None = None
    looked_at: datetime | None = None
    changed_at: datetime | None = None
    gone_since: datetime | None = None
    cancel_asked_at: datetime | None = None
    cancel_sent_at: datetime | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    output_sha256: str | None = None
    output_bytes: int | None = None
    error_sha256: str | None = None
    error_bytes: int | None = None
    cursor: int = 0
    succeeded: int = 0
    failed: int = 0
    missing: int = 0
    odd: int = 0
    est_in: int = 0
    est_out: int | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0

    @property
    def label(self) -> str:
        """The batch's short name inside its job, as users type it."""
        return f"b{self.number:02d}"

    def with_(self, **changes: Any) -> Batch:  # noqa: ANN401 - the types of the fields above
        """Return a copy with `changes`."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One configured provider as the registry knows it: its gate, and when to list next."""

    provider: str
    fingerprint: str | None = None
    gate: Gate = Gate.OPEN
    code: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    strikes: int = 0
    paused: bool = False
    refresh_due_at: datetime
    refreshed_at: datetime | None = None
    epoch: int = 0
    audit_due_at: datetime | None = None
    audited_at: datetime | None = None
    next_call_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A remote batch under our name that no row had sent. `label`, `job_name`: what it says."""

    provider: str
    remote_id: str
    verdict: StrayVerdict
    job_name: str
    label: str
    token: str
    boot: str
    word: str
    reason: str
    remote_created_at: datetime | None
    seen_at: datetime
    batch_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a workflow: what feeds a job of its name with the outcomes of job `upstream`.

    `spec` is the JobSpec as JSON text; `job_id` its job, once that exists. `after_*`: the last
    outcome that was read. `rows`: records registered; `passed_over`: outcomes that gave none.
    """

    id: int
    workflow: str
    name: str
    upstream: str
    spec: str
    digest: str
    stream: bool
    state: StageState
    job_id: int | None = None
    epoch: int = 0
    after_stamp: int = 0
    after_id: int = 0
    rows: int = 0
    passed_over: int = 0
    tries: int = 0
    code: str | None = None
    reason: str | None = None
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None = None

    def with_(self, **changes: Any) -> Stage:  # noqa: ANN401 - the types of the fields above
        """Return a copy with `changes`."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Outcomes of a job on their way to a sink, as the registry holds it.

    `sink` is the SinkSpec as JSON text. `after_*`: the last outcome that the sink surely has;
    `memo`: what the sink itself noted there. `tries` counts what went wrong in a row.
    """

    id: int
    job_id: int
    name: str
    sink: str
    stream: bool
    state: DeliveryState
    epoch: int = 0
    after_stamp: int = 0
    after_id: int = 0
    rows: int = 0
    memo: str = ""
    tries: int = 0
    code: str | None = None
    reason: str | None = None
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None = None

    def with_(self, **changes: Any) -> Delivery:  # noqa: ANN401 - the types of the fields above
        """Return a copy with `changes`."""
        return replace(self, **changes)
