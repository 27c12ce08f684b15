"""The lifecycles of batches and jobs: one literal table each, then a short interpreter.

A batch is one input file and the one remote batch made from it:

    planned ─► built ─► uploading ─► uploaded ─► creating ─► live ─► remote_done
                 ▲          │                       │                    │
                 │    upload_unknown          create_unknown         collected
                 └──────────┴───────── renewed ─────┘                    │
                                                         closed ◄── reconciled

Each outside call has its intent state (`uploading`, `creating`), committed before the call is
sent, and its unknown state, from which the step looks for its token before it tries anew. `parked`
waits for a person; `superseded` gave its members back. Events are in the past tense and carry what
they change; "final" is computed, never retyped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from orchestrator.domain.errors import IllegalTransition
from orchestrator.domain.model import Batch, BatchState, JobState, RequestState

S = BatchState
J = JobState
R = RequestState


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a batch. Its fields are the columns that it changes."""

    resets: ClassVar[Mapping[str, Any]] = {"tries": 0, "reason": None, "code": None}
    """Columns that the event puts back, because a move was made."""

    def values(self) -> dict[str, Any]:
        """Return the event's own facts by name."""
        return {name: getattr(self, name) for name in self.__struct_fields__}

    def changes(self) -> dict[str, Any]:
        """Return the columns this event sets."""
        return {**self.resets, **self.values()}


class Built(Event, frozen=True, kw_only=True):
    """The input file is complete on disk."""

    sha256: str
    bytes: int


class SpoolLost(Event, frozen=True, kw_only=True):
    """The input file is not on disk any more, or not what was built: build it again."""


class UploadBegan(Event, frozen=True, kw_only=True):
    """The upload is about to be sent under this account."""

    resets: ClassVar[Mapping[str, Any]] = {"looks": 0, "unknown_since": None}
    fingerprint: str
    unknown_since: datetime | None = None


class Uploaded(Event, frozen=True, kw_only=True):
    """The provider holds the input file, uploaded for this batch or found by its token."""

    resets: ClassVar[Mapping[str, Any]] = {**Event.resets, "looks": 0, "unknown_since": None}
    input_file_id: str


class UploadUnanswered(Event, frozen=True, kw_only=True):
    """The upload may or may not have arrived."""

    resets: ClassVar[Mapping[str, Any]] = {"looks": 0}
    reason: str
    unknown_since: datetime


class UploadNeverArrived(Event, frozen=True, kw_only=True):
    """The file list shows nothing of ours: upload again, under a new token."""

    token: str
    spare_tokens: str


class CallRefusedForNow(Event, frozen=True, kw_only=True):
    """The provider certainly did nothing, and may do it later: back to before the call."""

    resets: ClassVar[Mapping[str, Any]] = {}
    reason: str
    code: str
    tries: int


class CreateBegan(Event, frozen=True, kw_only=True):
    """The create call is about to be sent."""

    resets: ClassVar[Mapping[str, Any]] = {"looks": 0, "unknown_since": None}
    create_began_at: datetime


class Created(Event, frozen=True, kw_only=True):
    """The provider made the batch and told us so, or it was found by its token (adopted)."""

    resets: ClassVar[Mapping[str, Any]] = {**Event.resets, "looks": 0, "unknown_since": None}
    remote_id: str
    remote_status: str
    remote_word: str
    remote_raw: str
    remote_created_at: datetime | None
    expires_at: datetime | None
    deadline_at: datetime
    changed_at: datetime


class Adopted(Created, frozen=True, kw_only=True):
    """A create without an answer had its effect: the batch was found at the provider."""


class Recovered(Adopted, frozen=True, kw_only=True):
    """The registry knew of no create, yet the batch is there: an audit found it by its name.

    A registry that lost its latest commits, or an old backup, forgets what it has sent.
    """

    resets: ClassVar[Mapping[str, Any]] = {
        **Adopted.resets,
        "revoked_at": None,
        "parked_from": None,
        "gone_since": None,
    }
    token: str
    spare_tokens: str
    input_file_id: str | None
    fingerprint: str


class CreateUnanswered(Event, frozen=True, kw_only=True):
    """The create call may or may not have had its effect, now or later."""

    resets: ClassVar[Mapping[str, Any]] = {"looks": 0}
    reason: str
    unknown_since: datetime


class LookedInVain(Event, frozen=True, kw_only=True):
    """The token was looked for and not found."""

    resets: ClassVar[Mapping[str, Any]] = {}
    looks: int


class InputRevoked(Event, frozen=True, kw_only=True):
    """The input file is deleted: a create that is still on its way will now be refused."""

    resets: ClassVar[Mapping[str, Any]] = {"looks": 0}
    revoked_at: datetime


class Renewed(Event, frozen=True, kw_only=True):
    """No batch was made, and none can be any more: start over with a fresh upload."""

    resets: ClassVar[Mapping[str, Any]] = {
        **Event.resets,
        "looks": 0,
        "unknown_since": None,
        "input_file_id": None,
        "revoked_at": None,
    }
    token: str
    spare_tokens: str
    renewals: int


class InputVanished(Event, frozen=True, kw_only=True):
    """The provider does not know the uploaded input file: upload it again."""

    resets: ClassVar[Mapping[str, Any]] = {**Event.resets, "input_file_id": None}
    token: str
    spare_tokens: str


class Observed(Event, frozen=True, kw_only=True):
    """The provider shows another status than before."""

    resets: ClassVar[Mapping[str, Any]] = {**Event.resets, "gone_since": None}
    remote_status: str
    remote_word: str
    remote_raw: str
    remote_total: int | None
    remote_completed: int | None
    remote_failed: int | None
    expires_at: datetime | None
    looked_at: datetime
    changed_at: datetime


class RemoteEnded(Observed, frozen=True, kw_only=True):
    """The provider will not move the batch any more: completed, failed, expired or cancelled."""

    output_file_id: str | None
    error_file_id: str | None
    remote_ended_at: datetime | None


class CancelAsked(Event, frozen=True, kw_only=True):
    """Somebody wants the batch cancelled."""

    resets: ClassVar[Mapping[str, Any]] = {}
    cancel_asked_at: datetime


class CancelSent(Event, frozen=True, kw_only=True):
    """The provider was asked to cancel; it may still complete."""

    resets: ClassVar[Mapping[str, Any]] = {}
    cancel_sent_at: datetime


class RemoteGone(Event, frozen=True, kw_only=True):
    """The provider says it does not know the batch."""

    resets: ClassVar[Mapping[str, Any]] = {}
    gone_since: datetime
    reason: str


class Collected(Event, frozen=True, kw_only=True):
    """Output and error file are complete on disk."""

    output_sha256: str | None
    output_bytes: int | None
    error_sha256: str | None
    error_bytes: int | None


class ResultsLost(Event, frozen=True, kw_only=True):
    """A collected file is not on disk any more: download again."""


class Reconciled(Event, frozen=True, kw_only=True):
    """Every member has its answer, or is known to have none."""

    missing: int


class CleanedUp(Event, frozen=True, kw_only=True):
    """Nothing of the batch is left at the provider, or all that is left is meant to stay."""

    resets: ClassVar[Mapping[str, Any]] = {"tries": 0, "input_file_id": None}


class Parked(Event, frozen=True, kw_only=True):
    """No safe automatic move is left: a person decides."""

    resets: ClassVar[Mapping[str, Any]] = {"tries": 0}
    parked_from: str
    reason: str
    code: str


class ReleasedToCollected(Event, frozen=True, kw_only=True):
    """A person lets the reconcile go on: members without an answer are asked again."""


class ReleasedToCollecting(Event, frozen=True, kw_only=True):
    """A person lets the batch be collected: whatever its counts are, or if its files are back."""


class ReleasedToFollowing(Event, frozen=True, kw_only=True):
    """A person lets a lost batch be asked for once more; if it stays lost, its members go on."""


class FoundAgain(Observed, frozen=True, kw_only=True):
    """A lost batch that a person released is there after all, and is followed as before."""

    resets: ClassVar[Mapping[str, Any]] = {**Observed.resets, "parked_from": None}


class ReleasedToLooking(Event, frozen=True, kw_only=True):
    """A person wants the unanswered create looked for again."""

    resets: ClassVar[Mapping[str, Any]] = {**Event.resets, "looks": 0, "renewals": 0}


class Superseded(Event, frozen=True, kw_only=True):
    """The batch gave its members back; they travel in others."""


TRANSITIONS: Mapping[BatchState, Mapping[type[Event], BatchState]] = {
    S.PLANNED: {
        Built: S.BUILT,
        Recovered: S.LIVE,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.BUILT: {
        UploadBegan: S.UPLOADING,
        SpoolLost: S.PLANNED,
        Recovered: S.LIVE,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.UPLOADING: {
        Uploaded: S.UPLOADED,
        CallRefusedForNow: S.BUILT,
        UploadUnanswered: S.UPLOAD_UNKNOWN,
        Recovered: S.LIVE,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.UPLOAD_UNKNOWN: {
        Uploaded: S.UPLOADED,
        LookedInVain: S.UPLOAD_UNKNOWN,
        UploadNeverArrived: S.BUILT,
        Recovered: S.LIVE,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.UPLOADED: {
        CreateBegan: S.CREATING,
        InputVanished: S.BUILT,
        Recovered: S.LIVE,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.CREATING: {
        Created: S.LIVE,
        CallRefusedForNow: S.UPLOADED,
        CreateUnanswered: S.CREATE_UNKNOWN,
        Recovered: S.LIVE,
        Parked: S.PARKED,
    },
    S.CREATE_UNKNOWN: {
        Adopted: S.LIVE,
        Recovered: S.LIVE,
        LookedInVain: S.CREATE_UNKNOWN,
        InputRevoked: S.CREATE_UNKNOWN,
        Renewed: S.BUILT,
        Parked: S.PARKED,
    },
    S.LIVE: {
        Observed: S.LIVE,
        RemoteEnded: S.REMOTE_DONE,
        CancelAsked: S.LIVE,
        CancelSent: S.LIVE,
        RemoteGone: S.LIVE,
        FoundAgain: S.LIVE,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.REMOTE_DONE: {
        RemoteEnded: S.REMOTE_DONE,
        Collected: S.COLLECTED,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.COLLECTED: {
        ResultsLost: S.REMOTE_DONE,
        Reconciled: S.RECONCILED,
        Superseded: S.SUPERSEDED,
        Parked: S.PARKED,
    },
    S.RECONCILED: {CleanedUp: S.CLOSED},
    S.PARKED: {
        CleanedUp: S.PARKED,
        Recovered: S.LIVE,
        ReleasedToCollected: S.COLLECTED,
        ReleasedToCollecting: S.REMOTE_DONE,
        ReleasedToFollowing: S.LIVE,
        ReleasedToLooking: S.CREATE_UNKNOWN,
        Superseded: S.SUPERSEDED,
    },
    S.SUPERSEDED: {CleanedUp: S.CLOSED},
    S.CLOSED: {},
}

FINAL = frozenset(state for state, moves in TRANSITIONS.items() if not moves)

SETTLED = frozenset({S.RECONCILED, S.SUPERSEDED, S.CLOSED})
"""States in which a batch has no members any more: each has an outcome or travels elsewhere."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """Something that happened to a job."""


class Registered(JobEvent):
    """Every record of the source is in the registry."""


class Paused(JobEvent):
    """Nothing new is sent; what is in flight is still collected."""


class Resumed(JobEvent):
    """Work goes on."""


class JobCancelAsked(JobEvent):
    """The user wants no further answers; those already made are still collected."""


class Finished(JobEvent):
    """Every record has its outcome."""


class Reopened(JobEvent):
    """Failed or expired records are asked again."""


JOB_TRANSITIONS: Mapping[JobState, Mapping[type[JobEvent], JobState]] = {
    J.REGISTERING: {Registered: J.RUNNING, JobCancelAsked: J.CANCELLING},
    J.RUNNING: {
        Paused: J.PAUSED,
        JobCancelAsked: J.CANCELLING,
        Finished: J.FINISHED,
        Reopened: J.RUNNING,
    },
    J.PAUSED: {
        Resumed: J.RUNNING,
        JobCancelAsked: J.CANCELLING,
        Finished: J.FINISHED,
        Reopened: J.PAUSED,
    },
    J.CANCELLING: {Finished: J.CANCELLED},
    J.FINISHED: {Reopened: J.RUNNING},
    J.CANCELLED: {},
}

JOB_FINAL = frozenset({J.FINISHED, J.CANCELLED})
"""States in which a job has no open record. A finished one may be reopened by its owner."""

REQUEST_TRANSITIONS: Mapping[RequestState, frozenset[RequestState]] = {
    R.PENDING: frozenset({R.ASSIGNED, R.SUCCEEDED, R.FAILED, R.EXPIRED, R.CANCELLED}),
    R.ASSIGNED: frozenset({R.PENDING, R.SUCCEEDED, R.FAILED, R.EXPIRED, R.CANCELLED}),
    R.SUCCEEDED: frozenset(),
    R.FAILED: frozenset({R.PENDING}),
    R.EXPIRED: frozenset({R.PENDING}),
    R.CANCELLED: frozenset(),
}
"""Failed and expired requests go back to pending only by the user's `retry`. One that waits for an
equal one gets its word from there; others get theirs in a batch, or are cancelled."""


def advance(state: BatchState, event: Event) -> BatchState:
    """Return the state that follows `event`, or raise IllegalTransition."""
    try:
        return TRANSITIONS[state][type(event)]
    except KeyError:
        allowed = ", ".join(sorted(kind.__name__ for kind in TRANSITIONS[state])) or "nothing"
        raise IllegalTransition(
            f"a {state} batch cannot take {type(event).__name__}; it takes {allowed}"
        ) from None


def advance_job(state: JobState, event: JobEvent) -> JobState:
    """Return the job state that follows `event`, or raise IllegalTransition."""
    try:
        return JOB_TRANSITIONS[state][type(event)]
    except KeyError:
        raise IllegalTransition(f"a {state} job cannot take {type(event).__name__}") from None


def after(batch: Batch, event: Event, now: datetime, due_at: datetime) -> Batch:
    """Return `batch` as it is once `event` has happened at `now`."""
    state = advance(batch.state, event)
    state_at = now if state is not batch.state else batch.state_at
    return batch.with_(**event.changes(), state=state, state_at=state_at, due_at=due_at)
