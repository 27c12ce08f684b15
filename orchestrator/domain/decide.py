"""Decide, then do: what a batch, a job or an account needs next. Pure; total over every state."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.model import Account, Batch, BatchState, Gate
from orchestrator.domain.pacing import Pace, seconds

S = BatchState


class Step(enum.StrEnum):
    """The moves of one batch, each a module of the engine."""

    BUILD = "build"
    UPLOAD = "upload"
    FIND_UPLOAD = "find_upload"
    CREATE = "create"
    ADOPT = "adopt"
    REVOKE = "revoke"
    RENEW = "renew"
    GIVE_UP = "give_up"
    CANCEL = "cancel"
    ASK = "ask"
    LOST = "lost"
    COLLECT = "collect"
    RECONCILE = "reconcile"
    CLEAN_UP = "clean_up"
    WITHDRAW = "withdraw"


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until`; `why` is shown to users."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do any more."""


_ALWAYS: Mapping[BatchState, Step | Rest] = {
    S.PLANNED: Step.BUILD,
    S.BUILT: Step.UPLOAD,
    # An upload found in `uploading` was cut off by a crash: it may have arrived.
    S.UPLOADING: Step.FIND_UPLOAD,
    S.UPLOAD_UNKNOWN: Step.FIND_UPLOAD,
    S.UPLOADED: Step.CREATE,
    S.REMOTE_DONE: Step.COLLECT,
    S.COLLECTED: Step.RECONCILE,
    S.RECONCILED: Step.CLEAN_UP,
    S.SUPERSEDED: Step.CLEAN_UP,
    S.CLOSED: Rest(),
}

_UNSENT = frozenset({S.PLANNED, S.BUILT, S.UPLOADED})

CALLS = frozenset(
    {
        Step.UPLOAD,
        Step.FIND_UPLOAD,
        Step.CREATE,
        Step.ADOPT,
        Step.REVOKE,
        Step.CANCEL,
        Step.ASK,
        Step.LOST,
        Step.COLLECT,
        Step.CLEAN_UP,
    }
)
"""Steps that call the provider: they wait while its gate is not open."""

SENDS = frozenset({Step.UPLOAD, Step.CREATE})
"""Steps that send something new: they wait while the job or the provider is paused."""


def next_step(
    batch: Batch,
    now: datetime,
    pace: Pace,
    *,
    can_revoke: bool,
    withdrawn: bool = False,
    crowded: bool = False,
) -> Step | Wait | Rest:
    """Say what `batch` needs at `now`.

    `can_revoke`: deleting the input file makes a late create fail at this provider. `withdrawn`:
    the job is being cancelled, so that nothing new is sent. `crowded`: the provider's room for
    files is short, so that none is kept for later.
    """
    if withdrawn and batch.state in _UNSENT:
        return Step.WITHDRAW
    match batch.state:
        case S.CREATING | S.CREATE_UNKNOWN:
            return _find_the_create(batch, now, pace, can_revoke=can_revoke)
        case S.LIVE:
            return _follow(batch, now, pace)
        case S.RECONCILED if not crowded:
            return _keep(batch, now, pace)
        case S.PARKED:
            return _stand_by(batch, now, pace, withdrawn=withdrawn)
    return _ALWAYS[batch.state]


def _find_the_create(
    batch: Batch, now: datetime, pace: Pace, *, can_revoke: bool
) -> Step | Wait | Rest:
    """Look, settle, revoke, look again, renew: durable submission without idempotency keys.

    Creating twice would pay twice, and the call may still be on its way: looking alone is never
    enough. Only a deleted input file makes a late create harmless.
    """
    if batch.state is S.CREATING or batch.unknown_since is None or batch.looks == 0:
        return Step.ADOPT
    if batch.revoked_at is not None:
        return Step.RENEW if batch.renewals < pace.renewals_max else Step.GIVE_UP
    settled_at = batch.unknown_since + seconds(pace.settle_seconds)
    if now < settled_at or batch.looks < pace.settle_looks:
        return Step.ADOPT
    return Step.REVOKE if can_revoke else Step.GIVE_UP


def _keep(batch: Batch, now: datetime, pace: Pace) -> Step | Wait:
    """Leave the remote files for a while: from them an old backup of the registry recovers."""
    until = batch.state_at + seconds(pace.keep_remote)
    if now >= until:
        return Step.CLEAN_UP
    return Wait(min(until, now + seconds(pace.cap)), "its files are kept at the provider a while")


def look_counts(batch: Batch, began: datetime, pace: Pace) -> bool:
    """Whether an empty look that began at `began` says anything.

    A create that was applied the moment before its file was deleted shows only when the list has
    caught up: the look that allows another create begins a settle time after the deletion.
    """
    return batch.revoked_at is None or began >= batch.revoked_at + seconds(pace.settle_seconds)


def look_again_at(batch: Batch, now: datetime, pace: Pace) -> datetime:
    """Say when an unanswered create is looked for the next time."""
    if batch.revoked_at is not None:
        return now + seconds(pace.revoke_seconds)
    return now + seconds(pace.settle_seconds / max(1, pace.settle_looks))


def _follow(batch: Batch, now: datetime, pace: Pace) -> Step | Wait:
    if batch.gone_since is not None:
        if now >= batch.gone_since + seconds(pace.gone_seconds):
            return Step.LOST
        return Step.ASK
    if batch.cancel_asked_at is not None and batch.cancel_sent_at is None:
        return Step.CANCEL
    deadline = batch.deadline_at
    if deadline is not None and now >= deadline:
        if batch.cancel_sent_at is None:
            return Step.CANCEL
        if now >= max(deadline, batch.cancel_sent_at) + seconds(pace.overdue_seconds):
            return Step.LOST
    return Wait(now + seconds(pace.cap), "the provider works on it")


def _stand_by(batch: Batch, now: datetime, pace: Pace, *, withdrawn: bool) -> Step | Wait:
    if withdrawn and batch.remote_id is None and batch.unknown_since is None:
        return Step.WITHDRAW
    if _input_is_left_over(batch):
        return Step.CLEAN_UP
    return Wait(now + seconds(pace.cap), "a person decides")


def _input_is_left_over(batch: Batch) -> bool:
    """Whether a parked batch's input file serves nobody: its create was refused for good."""
    return batch.input_file_id is not None and batch.parked_from == S.CREATING


def gate_allows(account: Account, now: datetime) -> bool:
    """Whether the account may be called at `now`; a closed gate lets one probe through a time."""
    if account.gate is Gate.OPEN:
        return True
    return account.until is not None and now >= account.until
