"""A second remote batch of one batch: cancelled, kept as an incident, its files removed."""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.model import Batch, Stray, StrayVerdict
from orchestrator.domain.remote import RemoteBatch, RemoteStatus
from orchestrator.domain.transitions import SETTLED
from orchestrator.engine.context import Context, Told
from orchestrator.engine.steps.follow import when
from orchestrator.provider.port import Provider
from orchestrator.registry import events, strays

_REMOVED = "a second one of the same batch; its files are removed"


def cancel_extra(ctx: Context, provider: Provider, batch: Batch, extra: RemoteBatch) -> None:
    """Cancel a second remote batch of `batch`, and keep that it was there; again is harmless.

    What it had done by then is billed. Its result files go when the batch's own are recorded.
    """
    with ctx.registry.read() as db:
        known = strays.find(db, extra.id)
    if known is None:
        _tell(ctx, provider, batch, extra)
    if not extra.status.terminal:
        if extra.status is not RemoteStatus.CANCELLING:
            provider.cancel(extra.id)
        return
    removed = known is not None and known.reason == _REMOVED
    if batch.state in SETTLED and not removed:
        for file_id in filter(None, (extra.output_file_id, extra.error_file_id)):
            provider.delete_file(file_id)
        stray = stray_of(ctx, provider, extra, StrayVerdict.EXTRA, _REMOVED, batch)
        ctx.registry.write(lambda db: strays.keep(db, stray))


def _tell(ctx: Context, provider: Provider, batch: Batch, extra: RemoteBatch) -> None:
    reason = "a second one of the same batch: cancelled"
    stray = stray_of(ctx, provider, extra, StrayVerdict.EXTRA, reason, batch)

    def work(db: Connection) -> None:
        strays.keep(db, stray)
        events.record(
            db,
            "extra_remote_batch",
            at=ctx.now(),
            actor=ctx.actor,
            job_id=batch.job_id,
            batch_id=batch.id,
            provider=batch.provider,
            data={"remote_id": extra.id, "status": extra.word},
        )

    ctx.registry.write(work)
    ctx.tell(Told(kind="extra_remote_batch", batch=batch, facts={"remote_id": extra.id}))


def stray_of(
    ctx: Context,
    provider: Provider,
    remote: RemoteBatch,
    verdict: StrayVerdict,
    reason: str,
    batch: Batch | None = None,
) -> Stray:
    """Return what is known of a remote batch under our name that no row had sent."""
    told = remote.metadata.get
    return Stray(
        provider=provider.name,
        remote_id=remote.id,
        verdict=verdict,
        job_name=told("orc_job", ""),
        label=told("orc_batch", "").partition(",")[0],
        token=told("orc_token", ""),
        boot=told("orc_boot", ""),
        word=remote.word,
        reason=reason,
        remote_created_at=when(remote.created_at),
        seen_at=ctx.now(),
        batch_id=batch.id if batch else None,
    )
