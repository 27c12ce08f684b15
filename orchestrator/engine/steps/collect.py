"""remote_done -> collected: download output and error file, whatever the batch ended with."""

from __future__ import annotations

from pathlib import Path

from orchestrator.domain.errors import GoneError, UnavailableError
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import seconds
from orchestrator.domain.remote import Downloaded, RemoteStatus
from orchestrator.domain.transitions import Collected, Parked
from orchestrator.engine.context import Context
from orchestrator.engine.steps.follow import observe
from orchestrator.provider.port import Provider
from orchestrator.registry import batches

_LOOKS = 4
"""How often a completed batch without any file is looked at before a person is asked."""

_NOT_RESULTS = "ORC3211"
"""The provider layer's word for a body that is an error document instead of result lines."""


def collect(ctx: Context, batch: Batch, _job: Job) -> Batch:
    """Download what the batch left, after its counts were held against ours."""
    if _counts_differ(batch) and batch.parked_from is None:
        why = f"the provider counts {batch.remote_total} requests, the input file has "
        why += f"{batch.requests}: nothing is matched before somebody has looked"
        return _park(ctx, batch, why, "ORC5203")
    provider = ctx.provider_of(batch)
    if _empty_handed(batch):
        return _look_again(ctx, batch, provider)
    try:
        output = _download(ctx, provider, batch, "output", batch.output_file_id)
        error = _download(ctx, provider, batch, "error", batch.error_file_id)
    except GoneError as gone:
        return _park(
            ctx, batch, f"a result file is gone at the provider: {gone.message}", "ORC5204"
        )
    if _seems_cut(ctx, batch, output) and batch.tries < _LOOKS:
        return _later(ctx, batch, "the output file is shorter than the batch's counts")
    if output is not None and output.size == 0 and batch.remote_completed:
        why = f"the output file is empty, but {batch.remote_completed:,} requests are completed"
        return _park(ctx, batch, why, "ORC5205")
    collected = Collected(
        output_sha256=output.sha256 if output else None,
        output_bytes=output.size if output else None,
        error_sha256=error.sha256 if error else None,
        error_bytes=error.size if error else None,
    )
    return ctx.record(batch, collected)


def _counts_differ(batch: Batch) -> bool:
    ran = batch.remote_status != RemoteStatus.FAILED
    return ran and bool(batch.remote_total) and batch.remote_total != batch.requests


def _empty_handed(batch: Batch) -> bool:
    completed = batch.remote_status == RemoteStatus.COMPLETED
    return completed and not batch.output_file_id and not batch.error_file_id


def _look_again(ctx: Context, batch: Batch, provider: Provider) -> Batch:
    """Ask once more for a batch that completed without any file: they may still be written."""
    if batch.tries >= _LOOKS:
        return _park(ctx, batch, "the batch completed without an output or error file", "ORC5205")
    remote = provider.batch(batch.remote_id or "")
    if remote.output_file_id or remote.error_file_id:
        return observe(ctx, batch, remote)
    return _later(ctx, batch, "completed, but without a file yet")


def _seems_cut(ctx: Context, batch: Batch, output: Downloaded | None) -> bool:
    """Whether the output has fewer lines than the provider counts: a body cut without a length.

    Some providers count lines that they never deliver; a file that stays short is believed.
    """
    if output is None or not batch.remote_completed:
        return False
    with ctx.spool.result_path(batch.id, "output").open("rb") as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return lines + 1 < batch.remote_completed or output.size == 0


def _later(ctx: Context, batch: Batch, why: str) -> Batch:
    """Keep the state and come back; several times in vain changes what is believed."""
    tries = batch.tries + 1
    due_at = ctx.now() + ctx.back_off(tries)
    ctx.registry.write(
        lambda db: batches.put_off(
            db, batch, due_at=due_at, reason=why, code="ORC5205", tries=tries
        )
    )
    return batch.with_(tries=tries, due_at=due_at)


def _download(
    ctx: Context, provider: Provider, batch: Batch, kind: str, file_id: str | None
) -> Downloaded | None:
    path = ctx.spool.result_path(batch.id, kind)
    ctx.spool.drop(path)
    if not file_id:
        return None
    try:
        return provider.download(file_id, path, max_bytes=ctx.max_download_bytes)
    except UnavailableError as error:
        if error.code == _NOT_RESULTS and batch.remote_status == RemoteStatus.FAILED:
            return _write_down(ctx, path, error.why)
        raise


def _write_down(ctx: Context, path: Path, words: str) -> Downloaded:
    """Keep the reasons of a failed validation that came as one document, not as lines."""
    with ctx.spool.writing(path) as file:
        file.write(words.encode())
    return Downloaded(sha256=file.sha256, size=file.size)


def _park(ctx: Context, batch: Batch, why: str, code: str) -> Batch:
    parked = Parked(parked_from=BatchState.REMOTE_DONE, reason=why, code=code)
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))
