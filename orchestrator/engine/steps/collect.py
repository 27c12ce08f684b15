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
from orchestrator.engine.steps.withdraw import give_up
from orchestrator.provider.port import Provider
from orchestrator.registry import batches

_LOOKS = 4
"""How often a completed batch without its files is looked at before a person is asked."""

_DOWNLOADS = 100
"""How often a file that can't be taken over is asked for, which is most of a day."""

_NOT_RESULTS = "ORC3211"
"""The provider layer's word for a body that is an error document instead of result lines."""

_UNFIT = frozenset({_NOT_RESULTS, "ORC3206", "ORC3210"})
"""Its words for bodies that are not the file: an error, cut, or larger than we take."""

_LOST_FILE = "ORC5204"
_ODD_FILES = "ORC5205"
_HEAD = 1 << 20


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
        errors = _download(ctx, provider, batch, "error", batch.error_file_id)
    except GoneError as gone:
        return _gone(ctx, batch, gone)
    except UnavailableError as unfit:
        return _unfit(ctx, batch, unfit)
    why = _doubtful(ctx, batch, output, errors)
    if why and _looked(batch, _ODD_FILES) < _LOOKS:
        return _later(ctx, batch, why, _ODD_FILES)
    return _take(ctx, batch, output, errors)


def _take(
    ctx: Context, batch: Batch, output: Downloaded | None, errors: Downloaded | None
) -> Batch:
    if output is not None and output.size == 0 and batch.remote_completed:
        why = f"the output file is empty, but {batch.remote_completed:,} requests are completed"
        return _lose(ctx, batch, why, _ODD_FILES)
    collected = Collected(
        output_sha256=output.sha256 if output else None,
        output_bytes=output.size if output else None,
        error_sha256=errors.sha256 if errors else None,
        error_bytes=errors.size if errors else None,
    )
    return ctx.record(batch, collected)


def _gone(ctx: Context, batch: Batch, error: GoneError) -> Batch:
    """Ask again a few times for a file that is not there: one just written may not be seen yet."""
    why = f"a result file is gone at the provider: {error.message}"
    if _looked(batch, _LOST_FILE) < _LOOKS:
        return _later(ctx, batch, why, _LOST_FILE)
    return _lose(ctx, batch, why, _LOST_FILE)


def _unfit(ctx: Context, batch: Batch, error: UnavailableError) -> Batch:
    """Ask a person about a file that is no result file for most of a day; until then, later."""
    lasting = {batch.code, error.code} <= _UNFIT
    if not lasting or batch.tries < _DOWNLOADS:
        raise error
    return _park(ctx, batch, f"a result file can't be taken over: {error.why}", "ORC5203")


def _counts_differ(batch: Batch) -> bool:
    ran = batch.remote_status != RemoteStatus.FAILED
    return ran and bool(batch.remote_total) and batch.remote_total != batch.requests


def _empty_handed(batch: Batch) -> bool:
    """Whether a completed batch names no file for what the provider counts as done."""
    if batch.remote_status != RemoteStatus.COMPLETED or batch.output_file_id:
        return False
    return bool(batch.remote_completed) or not batch.error_file_id


def _look_again(ctx: Context, batch: Batch, provider: Provider) -> Batch:
    """Ask once more for a batch that completed without any file: they may still be written."""
    if _looked(batch, _ODD_FILES) >= _LOOKS:
        missing = "an output file" if batch.error_file_id else "an output or error file"
        return _lose(ctx, batch, f"the batch completed without {missing}", _ODD_FILES)
    remote = provider.batch(batch.remote_id or "")
    if remote.output_file_id or (remote.error_file_id and not batch.error_file_id):
        return observe(ctx, batch, remote)
    return _later(ctx, batch, "completed, but without a file yet", _ODD_FILES)


def _doubtful(
    ctx: Context, batch: Batch, output: Downloaded | None, errors: Downloaded | None
) -> str:
    """Say why the files should be downloaded once more before they are believed; "" if not."""
    if _seems_cut(ctx, batch, output):
        return "the output file is shorter than the batch's counts"
    for kind, found in (("output", output), ("error", errors)):
        if found is not None and _starts_oddly(ctx, batch, kind):
            return f"the {kind} file does not begin with a result line"
    return ""


def _starts_oddly(ctx: Context, batch: Batch, kind: str) -> bool:
    """Whether a file's first line is no JSON object: words of something between, as a rule."""
    if batch.remote_status == RemoteStatus.FAILED:
        return False  # the reasons of a refused validation come in any shape
    with ctx.spool.reading(ctx.spool.result_path(batch.id, kind)) as file:
        head = file.read(_HEAD).lstrip(b" \t\r\n\xef\xbb\xbf")
    return bool(head) and not head.startswith(b"{")


def _seems_cut(ctx: Context, batch: Batch, output: Downloaded | None) -> bool:
    """Whether the output has fewer lines than the provider counts: a body cut without a length.

    Some providers count lines that they never deliver; a file that stays short is believed.
    """
    if output is None or not batch.remote_completed:
        return False
    with ctx.spool.reading(ctx.spool.result_path(batch.id, "output")) as file:
        lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    return lines + 1 < batch.remote_completed or output.size == 0


def _looked(batch: Batch, code: str) -> int:
    """Return how often in a row the batch was put off for this very reason."""
    return batch.tries if batch.code == code else 0


def _later(ctx: Context, batch: Batch, why: str, code: str) -> Batch:
    """Keep the state and come back; several times in vain changes what is believed."""
    tries = _looked(batch, code) + 1
    due_at = ctx.now() + ctx.back_off(tries)
    ctx.registry.write(
        lambda db: batches.put_off(db, batch, due_at=due_at, reason=why, code=code, tries=tries)
    )
    return batch.with_(tries=tries, due_at=due_at, code=code)


def _download(
    ctx: Context, provider: Provider, batch: Batch, kind: str, file_id: str | None
) -> Downloaded | None:
    path = ctx.spool.result_path(batch.id, kind)
    if not file_id:
        return None
    # How long it is nobody says before; answers are about as long as what was asked.
    ctx.spool.room_for(batch.bytes)
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


def _lose(ctx: Context, batch: Batch, why: str, code: str) -> Batch:
    """Ask a person about answers that can't be had; after a release, let the batch go."""
    return _park(ctx, batch, why, code) if batch.parked_from is None else give_up(ctx, batch)


def _park(ctx: Context, batch: Batch, why: str, code: str) -> Batch:
    parked = Parked(parked_from=BatchState.REMOTE_DONE, reason=why, code=code)
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))
