"""live -> remote_done: what a look at the provider tells about a batch, asked by id or by list."""

from __future__ import annotations

from datetime import datetime

from orchestrator.domain.errors import GoneError
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import seconds
from orchestrator.domain.remote import Counts, RemoteBatch
from orchestrator.domain.transitions import (
    CancelSent,
    Observed,
    Parked,
    RemoteEnded,
    RemoteGone,
)
from orchestrator.engine.context import Context
from orchestrator.engine.steps.create import when
from orchestrator.provider.port import Provider
from orchestrator.registry import batches


def observe(ctx: Context, batch: Batch, remote: RemoteBatch) -> Batch:
    """Record what the provider shows of a live batch; an event only when its status is new."""
    now = ctx.now()
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
        since = batch.gone_since or ctx.now()
        gone = RemoteGone(gone_since=since, reason=error.message)
        due_at = ctx.now() + seconds(min(ctx.pace.cap, ctx.pace.gone_seconds / 4))
        return ctx.record(batch, gone, due_at=due_at)
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
    """Park a batch that the provider does not know any more, or never ends."""
    gone = batch.gone_since is not None
    why = "the provider does not know this batch any more"
    if not gone:
        why = "the provider has not ended this batch long after its window, nor after a cancel"
    code = "ORC5207" if gone else "ORC5208"
    parked = Parked(parked_from=BatchState.LIVE, reason=why, code=code)
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))
