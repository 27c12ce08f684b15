"""uploaded -> live: start the remote batch over the uploaded input file, exactly once."""

from __future__ import annotations

from orchestrator.domain.errors import GoneError, ProviderError, RejectedError, UnansweredError
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import seconds
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import (
    CreateBegan,
    Created,
    CreateUnanswered,
    InputVanished,
    Parked,
)
from orchestrator.engine.context import Context
from orchestrator.engine.recovery import take_in_forgotten
from orchestrator.engine.steps.find import made_of
from orchestrator.engine.steps.follow import start_following
from orchestrator.engine.steps.refusals import reason_of, refused_for_now
from orchestrator.provider.port import Provider

_MISSES = 5
"""How often a fresh input file may be unknown to the provider before it is uploaded again."""


_NOT_READY = frozenset({"in_progress", "pending", "processing", "queued", "uploading"})
"""Words of a file that its provider has not read yet: a refusal of its batch is no real no."""

_WAITS = 50
"""How often such a file is waited for, with back-off about a day, before a person looks at it."""


def create(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Commit the intent, send the call once, record what came back."""
    provider = ctx.provider_of(batch)
    spec = ctx.spec_of(job)
    input_file_id = batch.input_file_id
    assert input_file_id is not None  # noqa: S101 - an uploaded batch has one
    # A refusal may have been a misleading one: what is there already is not made again.
    found = next(made_of(provider, batch), None) if batch.tries else None
    if found is not None:
        return take_in_forgotten(ctx, provider, found, batch)
    ctx.may_go_on()
    batch = ctx.record(batch, CreateBegan(create_began_at=ctx.now()))
    # A process that slept in between may have been taken over: what it sends could only be refused.
    ctx.may_go_on()
    try:
        remote = provider.create(
            input_file_id,
            endpoint=spec.endpoint,
            window=spec.window,
            metadata=metadata_of(ctx, spec, batch),
            idempotency_key=batch.token,
        )
    except UnansweredError as error:
        return unanswered(ctx, batch, error.message)
    except GoneError as error:
        return _input_gone(ctx, batch, error)
    except RejectedError as error:
        return _rejected(ctx, batch, provider, error)
    except ProviderError as error:
        return refused_for_now(ctx, batch, error)
    return start_following(ctx, batch, remote, spec, Created)


def unanswered(ctx: Context, batch: Batch, reason: str) -> Batch:
    """Record that the create may have had its effect, or may have it yet; an audit follows."""
    now = ctx.now()
    event = CreateUnanswered(reason=reason, unknown_since=now)
    settled = now + seconds(ctx.pace.settle_seconds + ctx.pace.revoke_seconds)
    return ctx.record(batch, event, audit_by=settled)


def metadata_of(ctx: Context, spec: JobSpec, batch: Batch) -> dict[str, str]:
    """Return the metadata of a remote batch: the user's, and the five keys that are ours."""
    return {
        **spec.metadata,
        "orc_token": batch.token,
        "orc_instance": ctx.instance,
        "orc_boot": ctx.worker,
        "orc_job": spec.name[:200],
        "orc_batch": f"{batch.label}, {batch.requests} requests",
    }


def _rejected(ctx: Context, batch: Batch, provider: Provider, error: RejectedError) -> Batch:
    """Tell a vanished input file, or one that is not ready, from a real no: some answer alike."""
    try:
        word = provider.file(batch.input_file_id or "").status
    except GoneError as gone:
        return _input_gone(ctx, batch, gone)
    except ProviderError:
        word = ""  # nothing is known of the file: the provider's no stands
    if word in _NOT_READY and batch.tries < _WAITS:
        return refused_for_now(ctx, batch, error)
    parked = Parked(parked_from=BatchState.CREATING, reason=reason_of(error), code=error.code)
    return ctx.record(batch, parked)


def _input_gone(ctx: Context, batch: Batch, error: GoneError) -> Batch:
    """Wait while a file just uploaded may not be seen yet; then upload it anew."""
    batch = refused_for_now(ctx, batch, error)
    if batch.tries < _MISSES:
        return batch
    spares = f"{batch.spare_tokens} {batch.token}".strip()
    return ctx.record(batch, InputVanished(token=ctx.new_token(), spare_tokens=spares))
