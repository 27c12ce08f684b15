"""uploaded -> live: start the remote batch over the uploaded input file, exactly once."""

from __future__ import annotations

from datetime import UTC, datetime

from orchestrator.domain.errors import GoneError, ProviderError, RejectedError, UnansweredError
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import Pace, next_look, seconds
from orchestrator.domain.remote import RemoteBatch
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import (
    Adopted,
    CreateBegan,
    Created,
    CreateUnanswered,
    InputVanished,
    Parked,
    after,
)
from orchestrator.domain.windows import parse_hours
from orchestrator.engine.context import Context
from orchestrator.engine.steps.refusals import reason_of, refused_for_now
from orchestrator.provider.port import Provider

_MISSES = 5
"""How often a fresh input file may be unknown to the provider before it is uploaded again."""


def create(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Commit the intent, send the call once, record what came back."""
    provider = ctx.provider_of(batch)
    spec = ctx.spec_of(job)
    input_file_id = batch.input_file_id
    assert input_file_id is not None  # noqa: S101 - an uploaded batch has one
    ctx.may_send()
    batch = ctx.record(batch, CreateBegan(create_began_at=ctx.now()))
    try:
        remote = provider.create(
            input_file_id,
            endpoint=spec.endpoint,
            window=spec.window,
            metadata=metadata_of(ctx, spec, batch),
            idempotency_key=batch.token,
        )
    except UnansweredError as error:
        unanswered = CreateUnanswered(reason=error.message, unknown_since=ctx.now())
        return ctx.record(batch, unanswered)
    except GoneError as error:
        return _input_gone(ctx, batch, error)
    except RejectedError as error:
        return _rejected(ctx, batch, provider, error)
    except ProviderError as error:
        return refused_for_now(ctx, batch, error)
    return start_following(ctx, batch, remote, spec, Created)


def metadata_of(ctx: Context, spec: JobSpec, batch: Batch) -> dict[str, str]:
    """Return the metadata of a remote batch: the user's, and the four keys that are ours."""
    return {
        **spec.metadata,
        "orc_token": batch.token,
        "orc_instance": ctx.instance,
        "orc_job": spec.name[:200],
        "orc_batch": f"{batch.label}, {batch.requests} requests",
    }


def start_following(
    ctx: Context,
    batch: Batch,
    remote: RemoteBatch,
    spec: JobSpec,
    kind: type[Created] | type[Adopted],
) -> Batch:
    """Record the remote batch that belongs to `batch`, made now or found."""
    now = ctx.now()
    event = kind(
        remote_id=remote.id,
        remote_status=remote.status.value,
        remote_word=remote.word,
        remote_raw=remote.raw,
        remote_created_at=when(remote.created_at),
        expires_at=when(remote.expires_at),
        deadline_at=_deadline(spec.window, now, ctx.pace),
        changed_at=now,
    )
    look_by = next_look(after(batch, event, now, now), now, ctx.pace)
    return ctx.record(batch, event, due_at=now + seconds(ctx.pace.cap), look_by=look_by)


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


def _rejected(ctx: Context, batch: Batch, provider: Provider, error: RejectedError) -> Batch:
    """Tell a vanished input file, which some answer like a malformed request, from a real no."""
    try:
        provider.file(batch.input_file_id or "")
    except GoneError as gone:
        return _input_gone(ctx, batch, gone)
    except ProviderError:
        pass  # nothing is known of the file: the provider's no stands
    parked = Parked(parked_from=BatchState.CREATING, reason=reason_of(error), code=error.code)
    return ctx.record(batch, parked)


def _input_gone(ctx: Context, batch: Batch, error: GoneError) -> Batch:
    """Wait while a file just uploaded may not be seen yet; then upload it anew."""
    batch = refused_for_now(ctx, batch, error)
    if batch.tries < _MISSES:
        return batch
    spares = f"{batch.spare_tokens} {batch.token}".strip()
    return ctx.record(batch, InputVanished(token=ctx.new_token(), spare_tokens=spares))
