"""built -> uploaded: send the input file; look for it first when an answer was lost."""

from __future__ import annotations

import re

from orchestrator.domain.errors import (
    ProviderError,
    QuotaError,
    RejectedError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import seconds
from orchestrator.domain.remote import RemoteFile
from orchestrator.domain.transitions import (
    LookedInVain,
    Parked,
    SpoolLost,
    UploadBegan,
    Uploaded,
    UploadNeverArrived,
    UploadUnanswered,
)
from orchestrator.engine.context import Context
from orchestrator.engine.steps.refusals import reason_of, refused_for_now
from orchestrator.engine.steps.split import may_split, split
from orchestrator.provider.port import Provider

_LOOKS = 2

_TOO_LARGE = "ORC3209"
"""The provider layer's word for a file over the provider's limit."""


def upload(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Send the input file once, under a name that holds the batch's token."""
    path = ctx.spool.input_path(batch.id)
    if not ctx.spool.holds(path, batch.sha256, batch.bytes):
        return ctx.record(batch, SpoolLost())
    provider = ctx.providers.get(batch.provider)
    ctx.may_go_on()
    batch = ctx.record(batch, UploadBegan(fingerprint=provider.fingerprint))
    try:
        remote = provider.upload(path, upload_name(ctx, job.name, batch))
    except UnansweredError as error:
        return _unanswered(ctx, batch, error.message)
    except RejectedError as error:
        if error.code == _TOO_LARGE and may_split(batch):
            return split(ctx, batch, job, error.message)
        return _rejected(ctx, batch, provider, error)
    except ProviderError as error:
        return refused_for_now(ctx, batch, error)
    return ctx.record(batch, Uploaded(input_file_id=remote.id))


def upload_name(ctx: Context, job: str, batch: Batch) -> str:
    """Return the file's name at the provider: readable in a console, ours, with the token in it."""
    slug = re.sub(r"[^A-Za-z0-9]+", "-", job)[:40].strip("-") or "job"
    return f"orc-{ctx.instance}-{slug}-{batch.label}-{batch.token}.jsonl"


def find_upload(ctx: Context, batch: Batch, _job: Job) -> Batch:
    """Look for an upload whose answer was lost; adopt it, or upload again under a new token."""
    if batch.state is BatchState.UPLOADING:
        batch = _unanswered(ctx, batch, "the process ended before the provider's answer")
    provider = ctx.provider_of(batch)
    found = _ours(provider, batch.token)
    if found:
        for spare in found[1:]:
            provider.delete_file(spare.id)
        return ctx.record(batch, Uploaded(input_file_id=found[0].id))
    looks = batch.looks + 1
    if looks < _LOOKS and provider.profile.quirks.list_files:
        due_at = ctx.now() + seconds(ctx.pace.revoke_seconds)
        return ctx.record(batch, LookedInVain(looks=looks), due_at=due_at)
    # An upload costs nothing: a copy that arrives later is a spare one, deleted at clean-up.
    spares = f"{batch.spare_tokens} {batch.token}".strip()
    return ctx.record(batch, UploadNeverArrived(token=ctx.new_token(), spare_tokens=spares))


def _unanswered(ctx: Context, batch: Batch, reason: str) -> Batch:
    now = ctx.now()
    return ctx.record(batch, UploadUnanswered(reason=reason, unknown_since=now))


def _ours(provider: Provider, token: str) -> list[RemoteFile]:
    """Return the remote files whose names contain the token: a counter may stand behind it."""
    if not provider.profile.quirks.list_files:
        return []
    return [file for file in provider.list_files() if token in file.name]


def _rejected(ctx: Context, batch: Batch, provider: Provider, error: RejectedError) -> Batch:
    """Tell a full quota, which Kimi answers like a malformed request, from a real no."""
    if _quota_is_full(provider, batch.bytes):
        full = QuotaError(
            f"{batch.provider} holds as many files or bytes as the account may have",
            code="ORC3106",
            why=reason_of(error),
        )
        return refused_for_now(ctx, batch, full)
    parked = Parked(parked_from=BatchState.UPLOADING, reason=reason_of(error), code=error.code)
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))


def _quota_is_full(provider: Provider, size: int) -> bool:
    limits = provider.profile.limits
    if not provider.profile.quirks.list_files or (
        limits.files is None and not limits.storage_bytes
    ):
        return False
    count = total = 0
    try:
        for file in provider.list_files():
            count += 1
            total += file.size or 0
    except UnavailableError:
        return False
    files_full = limits.files is not None and count >= limits.files
    bytes_full = limits.storage_bytes is not None and total + size > limits.storage_bytes
    return files_full or bytes_full
