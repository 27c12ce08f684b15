"""live -> remote_done: what a look at the provider tells about a batch, asked by id or by list."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from orchestrator.domain.errors import GoneError
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import Pace, next_look, seconds
from orchestrator.domain.remote import Counts, RemoteBatch
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import (
    Adopted,
    CancelSent,
    Created,
    FoundAgain,
    Observed,
    Parked,
    RemoteEnded,
    RemoteGone,
    after,
)
from orchestrator.domain.windows import parse_hours
from orchestrator.engine.context import Context
from orchestrator.engine.steps.withdraw import give_up
from orchestrator.provider.port import Provider
from orchestrator.registry import batches


def start_following(
    ctx: Context,
    batch: Batch,
    remote: RemoteBatch,
    spec: JobSpec,
    kind: type[Created] | type[Adopted],
) -> Batch:
    """Record the remote batch that belongs to `batch`, made now or found."""
    now = ctx.now()
    event = kind(**facts_of(ctx, spec, remote))
    look_by = next_look(after(batch, event, now, now), now, ctx.pace)
    return ctx.record(batch, event, due_at=now + seconds(ctx.pace.cap), look_by=look_by)


def facts_of(ctx: Context, spec: JobSpec, remote: RemoteBatch) -> dict[str, Any]:
    """Return the columns in which a batch keeps the remote one it follows from now on."""
    now = ctx.now()
    return {
        "remote_id": remote.id,
        "remote_status": remote.status.value,
        "remote_word": remote.word,
        "remote_raw": remote.raw,
        "remote_created_at": when(remote.created_at),
        "expires_at": when(remote.expires_at),
        "deadline_at": _deadline(spec.window, now, ctx.pace),
        "changed_at": now,
    }


def when(unix: float | None) -> datetime | None:
    """Return Unix seconds as a time; None for none, and for what no calendar holds."""
    if unix is None:
        return None
    try:
        return datetime.fromtimestamp(unix, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _deadline(window: str, now: datetime, pace: Pace) -> datetime:
    """Return when we stop believing in the batch: some stay in progress for ever."""
    return now + seconds(parse_hours(window) * 3600 + pace.overdue_seconds)


def observe(ctx: Context, batch: Batch, remote: RemoteBatch) -> Batch:
    """Record what the provider shows of a live batch; an event only when its status is new."""
    now = ctx.now()
    if batch.parked_from is not None and (remote.status.terminal or batch.gone_since is not None):
        found = FoundAgain(**_observed(batch, remote, now).values())
        batch = ctx.record(batch, found, due_at=now + seconds(ctx.pace.cap))
    seen = _observed(batch, remote, now)
    if remote.status.terminal:
        ended = RemoteEnded(
            **seen.values(),
            output_file_id=remote.output_file_id,
            error_file_id=remote.error_file_id,
            remote_ended_at=when(remote.ended_at),
        )
        return ctx.record(batch, ended)
    if remote.word != batch.remote_word or batch.gone_since is not None:
        return ctx.record(batch, seen, due_at=now + seconds(ctx.pace.cap))
    values = seen.values()
    ctx.registry.write(lambda db: batches.note_look(db, batch, **values))
    return batch.with_(**values)


def _observed(batch: Batch, remote: RemoteBatch, now: datetime) -> Observed:
    """Return what a look shows. Counts may go back for a moment: the furthest one is kept."""
    counts = remote.counts or Counts(
        total=batch.remote_total or 0,
        completed=batch.remote_completed or 0,
        failed=batch.remote_failed or 0,
    )
    completed = max(counts.completed, batch.remote_completed or 0)
    failed = max(counts.failed, batch.remote_failed or 0)
    same = (completed, failed) == (batch.remote_completed or 0, batch.remote_failed or 0)
    same = same and remote.word == batch.remote_word
    return Observed(
        remote_status=remote.status.value,
        remote_word=remote.word,
        remote_raw=remote.raw,
        remote_total=counts.total or None,
        remote_completed=completed,
        remote_failed=failed,
        expires_at=when(remote.expires_at) or batch.expires_at,
        looked_at=now,
        changed_at=batch.changed_at if same and batch.changed_at else now,
    )


def ask(ctx: Context, batch: Batch, _job: Job) -> Batch:
    """Ask for one batch by its id. One that is not there is asked for again over a day."""
    return ask_of(ctx, ctx.provider_of(batch), batch)


def ask_of(ctx: Context, provider: Provider, batch: Batch) -> Batch:
    """Ask `provider` for a live batch by its id, and record what it shows."""
    try:
        remote = provider.batch(batch.remote_id or "")
    except GoneError as error:
        now = ctx.now()
        since = batch.gone_since or now
        gone = RemoteGone(gone_since=since, reason=error.message)
        # However often it is asked for meanwhile, it is given up when its time has come.
        given_up_at = max(now, since + seconds(ctx.pace.gone_seconds))
        return ctx.record(batch, gone, due_at=min(now + seconds(ctx.pace.cap), given_up_at))
    return observe(ctx, batch, remote)


def cancel(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Ask the provider to cancel; what it answers is only a promise, the next look tells."""
    provider = ctx.provider_of(batch)
    try:
        provider.cancel(batch.remote_id or "")
    except GoneError:
        return ask(ctx, batch, job)
    now = ctx.now()
    sent = CancelSent(cancel_sent_at=now)
    look_by = now + seconds(ctx.pace.poll_min)
    return ctx.record(batch, sent, due_at=now + seconds(ctx.pace.cap), look_by=look_by)


def lost(ctx: Context, batch: Batch, _job: Job) -> Batch:
    """Ask once more for a batch that the provider does not know any more, or never ends.

    If that changes nothing it waits for a person. One that a person has released gives its members
    back: they are asked again.
    """
    provider = ctx.provider_of(batch)
    why = "the provider has not ended this batch long after its window, nor after a cancel"
    code = "ORC5208"
    try:
        remote = provider.batch(batch.remote_id or "")
    except GoneError:
        if batch.gone_since is None:
            return ask_of(ctx, provider, batch)
        why, code = "the provider does not know this batch any more", "ORC5207"
    else:
        if remote.status.terminal or batch.gone_since is not None:
            return observe(ctx, batch, remote)
    if batch.parked_from is not None:
        return give_up(ctx, batch)
    parked = Parked(parked_from=BatchState.LIVE, reason=why, code=code)
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))
