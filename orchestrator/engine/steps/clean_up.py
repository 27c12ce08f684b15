"""reconciled -> closed: remove what we left at the provider and in the spool."""

from __future__ import annotations

from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import seconds
from orchestrator.domain.transitions import CleanedUp
from orchestrator.engine.context import Context
from orchestrator.provider.port import Provider


def clean_up(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Delete the batch's own remote files and spool files; already gone is fine."""
    wanted = ctx.spec_of(job).policy.delete_remote_files
    remote = [batch.input_file_id, batch.output_file_id, batch.error_file_id]
    if wanted and (any(remote) or batch.spare_tokens):
        provider = ctx.provider_of(batch)
        for file_id in filter(None, remote):
            provider.delete_file(file_id)
        _delete_spares(provider, batch)
    spool = ctx.spool
    spool.drop(spool.input_path(batch.id))
    spool.drop(spool.result_path(batch.id, "output"), spool.result_path(batch.id, "error"))
    due_at = ctx.now()
    if batch.state is BatchState.PARKED:
        due_at += seconds(ctx.pace.cap)
    return ctx.record(batch, CleanedUp(), due_at=due_at)


def _delete_spares(provider: Provider, batch: Batch) -> None:
    """Delete copies of uploads that arrived after they were given up."""
    tokens = batch.spare_tokens.split()
    if not tokens or not provider.profile.quirks.list_files:
        return
    for file in provider.list_files():
        if any(token in file.name for token in tokens):
            provider.delete_file(file.id)
