"""What a job or a batch waits for: whose move it is, since when, and when something happens next.

One function for jobs and one for batches; every face says it in these words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from orchestrator.domain.model import Account, Batch, BatchState, Gate, Job, JobState
from orchestrator.domain.progress import ENDED, ON_ITS_WAY, BatchGroup

S = BatchState
Who = Literal["nobody", "you", "provider", "worker", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitsFor:
    """Whose move it is. `state` is the word to show; `until`: when something happens by itself.

    `next` is a command for the user, empty where there is nothing to do.
    """

    who: Who
    state: str
    words: str
    since: datetime | None = None
    until: datetime | None = None
    next: str = ""
    held_by: str = ""


def job_waits_for(
    job: Job,
    groups: Sequence[BatchGroup],
    account: Account | None,
    *,
    now: datetime,
    workers: int,
) -> WaitsFor:
    """Say what a job waits for. `workers` counts those whose lease holds."""
    return (
        _settled(job)
        or _decision(job, groups)
        or _held(job.state.value, job.provider, account)
        or _nobody_works(job, groups, now, workers)
        or _under_way(job, groups)
    )


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


def _nobody_works(
    job: Job, groups: Sequence[BatchGroup], now: datetime, workers: int
) -> WaitsFor | None:
    due = [group.due_at for group in groups if group.state not in {S.CLOSED, S.PARKED}]
    if job.state in {JobState.RUNNING, JobState.CANCELLING}:
        due.append(job.due_at)
    if workers or not due or min(due) > now:
        return None
    return WaitsFor(
        who="worker",
        state=job.state.value,
        words="a worker: something is due and none is at work",
        since=min(due),
        next="orchestrator daemon, or once: orchestrator tick",
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
    return WaitsFor(
        who="time",
        state=job.state.value,
        words=f"room for a batch of its {job.books.waiting:,} waiting records",
        until=job.due_at,
    )


def _batches(count: int) -> str:
    return f"{count:,} batch" if count == 1 else f"{count:,} batches"


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
    if batch.state is S.LIVE and batch.remote_word:
        words = f'{batch.provider}, which says "{batch.remote_word}"'
    elif batch.reason and who != "nobody":
        words = f"{words}; the last try: {batch.reason}"
    until = _next_look(batch, account) if who != "nobody" else None
    return WaitsFor(who=who, state=state, words=words, since=batch.state_at, until=until)


def _next_look(batch: Batch, account: Account | None) -> datetime:
    """Return when a batch is looked at: a live one is listed with its account."""
    if batch.state is S.LIVE and account is not None:
        return min(batch.due_at, account.refresh_due_at)
    return batch.due_at
