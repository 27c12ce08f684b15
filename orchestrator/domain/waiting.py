"""What a job or a batch waits for: whose move it is, since when, and when something happens next.

One function for jobs and one for batches; every face says it in these words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestrator.domain.holds import OF_A_DAY, is_held, way_on
from orchestrator.domain.model import Account, Batch, BatchState, Gate, Job, JobState
from orchestrator.domain.progress import ENDED, ON_ITS_WAY, BatchGroup

S = BatchState
Who = Literal["nobody", "you", "provider", "worker", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsFor:
    """Whose move it is. `state` is the word to show; `until`: when something happens by itself.

    `next` is a command for the user, empty where there is nothing to do. `trouble`: the provider or
    our own side did not do what was tried, which is tried again.
    """

    who: Who
    state: str
    words: str
    since: datetime | None = None
    until: datetime | None = None
    next: str = ""
    held_by: str = ""
    trouble: bool = False


def job_waits_for(
    job: Job,
    groups: Sequence[BatchGroup],
    account: Account | None,
    *,
    now: datetime,
    workers: int,
    put_off: Batch | None = None,
) -> WaitsFor:
    """Say what a job waits for. `workers` counts those whose lease holds.

    `put_off` is the batch of the job whose last try failed, the next to be tried where several are.
    """
    return (
        _settled(job)
        or _decision(job, groups)
        or _held(job.state.value, job.provider, account)
        or _guarded(job)
        or _nobody_works(job, groups, now, workers, put_off)
        or _put_off(job, put_off)
        or _not_listed(job, groups, account)
        or _unreached(job, groups, account)
        or _under_way(job, groups)
    )


def is_put_off(batch: Batch) -> bool:
    """Whether the last try to send, find or collect the batch failed and is made again."""
    moving = batch.state in ON_ITS_WAY or batch.state in ENDED or batch.state is S.LIVE
    return moving and batch.tries > 0 and bool(batch.reason)


_REFUSALS: Mapping[str, str] = {
    "ORC3105": "takes no more calls for now",
    "ORC3201": "can't be reached",
    "ORC3202": "did not answer",
    "ORC3203": "can't answer now",
}


def _failed_try(batch: Batch) -> str:
    code = batch.code or ""
    if code in _REFUSALS:
        what = f"{batch.provider} {_REFUSALS[code]}"
    elif code.startswith("ORC3"):
        what = f"{batch.provider} refuses it for now"
    else:
        what = "the last try failed"
    return f"{what}: {batch.reason}, {_plural(batch.tries, 'try', 'tries')}"


def _put_off(job: Job, batch: Batch | None) -> WaitsFor | None:
    if batch is None:
        return None
    return WaitsFor(
        who="time",
        state=job.state.value,
        words=_failed_try(batch),
        since=batch.state_at,
        until=batch.due_at,
        trouble=True,
    )


def _not_listed(job: Job, groups: Sequence[BatchGroup], account: Account | None) -> WaitsFor | None:
    if account is None or not _unlisted(account):
        return None
    live = [group for group in groups if group.state is S.LIVE]
    if not live:
        return None
    return WaitsFor(
        who="time",
        state=job.state.value,
        words=_failed_listing(account),
        since=min(group.since for group in live),
        until=account.refresh_due_at,
        trouble=True,
    )


def _unreached(job: Job, groups: Sequence[BatchGroup], account: Account | None) -> WaitsFor | None:
    """Return the wait for a provider whose calls fail, where work is to be sent to it.

    Nothing is sent before the account was looked over, so a job may have no batch that could tell.
    """
    if account is None or not _unlisted(account) or job.state is not JobState.RUNNING:
        return None
    if any(group.state in ENDED for group in groups):
        return None  # that is collected and recorded meanwhile
    if not job.books.waiting and not any(group.state in ON_ITS_WAY for group in groups):
        return None
    tries = _plural(account.strikes, "try", "tries")
    return WaitsFor(
        who="time",
        state=job.state.value,
        words=f"{account.provider}, whose last call failed: {account.reason}, {tries}",
        until=account.refresh_due_at,
        next=f"orchestrator doctor {account.provider}",
        trouble=True,
    )


def _unlisted(account: Account) -> bool:
    return account.strikes > 0 and bool(account.reason)


def _failed_listing(account: Account) -> str:
    tries = _plural(account.strikes, "try", "tries")
    return f"{account.provider} does not tell about its batches: {account.reason}, {tries}"


def _settled(job: Job) -> WaitsFor | None:
    match job.state:
        case JobState.FINISHED:
            words = "nothing: every record has its outcome"
        case JobState.CANCELLED:
            words = "nothing: it was cancelled"
        case _:
            return None
    return WaitsFor(who="nobody", state=job.state.value, words=words, since=job.finished_at)


def _decision(job: Job, groups: Sequence[BatchGroup]) -> WaitsFor | None:
    """Return the wait for a person, where nothing goes on without one."""
    if job.state is JobState.REGISTERING:
        return WaitsFor(
            who="you",
            state=job.state.value,
            words=f"its registration: {job.books.records:,} records so far",
            since=job.created_at,
            next="give the same submit command again, if it is not running any more",
        )
    if job.state is JobState.PAUSED and not job.books.in_flight:
        return WaitsFor(
            who="you",
            state="paused",
            words="you: it is paused",
            next=f"orchestrator resume {job.name}",
        )
    parked = [group for group in groups if group.state is S.PARKED]
    held = sum(group.requests for group in parked)
    if parked and not job.books.waiting and job.books.in_flight <= held:
        count = sum(group.batches for group in parked)
        return WaitsFor(
            who="you",
            state="parked",
            words=f"your decision on {_batches(count)}",
            since=min(group.since for group in parked),
            next=f"orchestrator resume {job.name}",
        )
    return None


def _held(state: str, provider: str, account: Account | None) -> WaitsFor | None:
    """Return the wait for an account that may not be called."""
    if account is None or state in {JobState.CANCELLING, JobState.PAUSED}:
        return None
    if account.gate is Gate.CLOSED:
        return WaitsFor(
            who="you",
            state="held",
            words=f"{provider}: {account.reason or 'it refuses us'}",
            since=account.since,
            until=account.until,
            next=f"orchestrator resume provider:{provider}",
            held_by=provider,
        )
    if account.paused:
        return WaitsFor(
            who="you",
            state="held",
            words=f"{provider}, which is paused",
            next=f"orchestrator resume provider:{provider}",
            held_by=provider,
        )
    return None


def _guarded(job: Job) -> WaitsFor | None:
    """Return the wait for what a guard holds a job for: a person, or the next day."""
    if not is_held(job):
        return None
    of_a_day = job.hold_code in OF_A_DAY
    return WaitsFor(
        who="time" if of_a_day else "you",
        state="held",
        words=job.hold_reason or "a guard",
        since=job.held_since,
        until=job.due_at if of_a_day else None,
        next="" if of_a_day else way_on(job),
    )


def _nobody_works(
    job: Job,
    groups: Sequence[BatchGroup],
    now: datetime,
    workers: int,
    put_off: Batch | None,
) -> WaitsFor | None:
    due = [group.due_at for group in groups if group.state not in {S.CLOSED, S.PARKED}]
    if job.state in {JobState.RUNNING, JobState.CANCELLING}:
        due.append(job.due_at)
    if workers or not due or min(due) > now:
        return None
    words = "a worker: something is due and none is at work"
    return WaitsFor(
        who="worker",
        state=job.state.value,
        words=f"{words}; {_failed_try(put_off)}" if put_off else words,
        since=min(due),
        next="orchestrator daemon, or once: orchestrator tick",
        trouble=put_off is not None,
    )


def _under_way(job: Job, groups: Sequence[BatchGroup]) -> WaitsFor:
    live = [group for group in groups if group.state is S.LIVE]
    if live:
        count = sum(group.batches for group in live)
        where = " and ".join(sorted({group.provider for group in live}))
        words = f"{where}, which works on {_batches(count)}"
        since = min(group.since for group in live)
        return WaitsFor(who="provider", state=job.state.value, words=words, since=since)
    for states, doing in ((ENDED, "to be collected and recorded"), (ON_ITS_WAY, "to be sent")):
        moving = [group for group in groups if group.state in states]
        if moving:
            count = sum(group.batches for group in moving)
            due = min(group.due_at for group in moving)
            return WaitsFor(
                who="time",
                state=job.state.value,
                words=f"{_batches(count)} {doing}",
                since=min(group.since for group in moving),
                until=due,
            )
    if job.books.waiting:
        records = _plural(job.books.waiting, "waiting record", "waiting records")
        words = f"room for a batch of its {records}"
    else:
        ending = sum(group.batches for group in groups if group.state in _ENDING)
        words = f"{_batches(ending)} to end" if ending else "its end to be recorded"
    return WaitsFor(who="time", state=job.state.value, words=words, until=job.due_at)


_ENDING = frozenset({S.RECONCILED, S.SUPERSEDED})
"""States of batches that hold no record any more, with files left at the provider."""


def _batches(count: int) -> str:
    return _plural(count, "batch", "batches")


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


_BATCH_WORDS: Mapping[BatchState, tuple[Who, str]] = {
    S.PLANNED: ("time", "its input file to be written"),
    S.BUILT: ("time", "its input file to be uploaded"),
    S.UPLOADING: ("provider", "the answer to its upload"),
    S.UPLOAD_UNKNOWN: ("time", "its upload to be found: the call was never answered"),
    S.UPLOADED: ("time", "its batch to be created"),
    S.CREATING: ("provider", "the answer to its creation"),
    S.CREATE_UNKNOWN: ("time", "its batch to be found: the create call was never answered"),
    S.LIVE: ("provider", "the provider, which works on it"),
    S.REMOTE_DONE: ("time", "its results to be downloaded"),
    S.COLLECTED: ("time", "its results to be recorded"),
    S.RECONCILED: ("time", "its remote files to be removed"),
    S.SUPERSEDED: ("time", "what is left of it at the provider to be removed"),
    S.CLOSED: ("nobody", "nothing: it is closed"),
}


def batch_waits_for(
    batch: Batch, job: Job, account: Account | None, *, now: datetime, workers: int
) -> WaitsFor:
    """Say what a batch waits for."""
    state = batch.state.value
    if batch.state is S.PARKED:
        return WaitsFor(
            who="you",
            state="parked",
            words=f"your decision: {batch.reason or 'no safe move is left'}",
            since=batch.state_at,
            next=f"orchestrator resume {job.name}",
        )
    who, words = _BATCH_WORDS[batch.state]
    if who != "nobody":
        held = _held(state, batch.provider, account)
        if held is not None:
            return held
        if not workers and batch.due_at <= now and batch.state is not S.LIVE:
            who, words = "worker", "a worker: it is due and none is at work"
    trouble = is_put_off(batch)
    unlisted = batch.state is S.LIVE and account is not None and _unlisted(account)
    if batch.state is S.LIVE and batch.remote_word:
        words = f'{batch.provider}, which says "{batch.remote_word}"'
    if trouble:
        words = f"{words}; {_failed_try(batch)}"
    elif unlisted and account is not None:
        words = f"{words}; {_failed_listing(account)}"
    elif batch.reason and who != "nobody":
        words = f"{words}; the last try: {batch.reason}"
    return WaitsFor(
        who=who,
        state=state,
        words=words,
        since=batch.state_at,
        until=_next_look(batch, account) if who != "nobody" else None,
        trouble=trouble or unlisted,
    )


def _next_look(batch: Batch, account: Account | None) -> datetime:
    """Return when a batch is looked at: a live one is listed with its account."""
    if batch.state is S.LIVE and account is not None:
        return min(batch.due_at, account.refresh_due_at)
    return batch.due_at
