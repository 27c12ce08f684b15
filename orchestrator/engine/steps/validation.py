"""collected -> reconciled, for a batch that failed the provider's validation: nothing ran.

Lines that the provider names fail with its words, the rest travels again. When it names no line,
the batch is halved a few times, so that a bad line holds up few others; then a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import seconds
from orchestrator.domain.transitions import Parked
from orchestrator.engine.context import Context
from orchestrator.engine.steps.judge import Chunk, Judge
from orchestrator.engine.steps.recording import CHUNK, commit, finish
from orchestrator.engine.steps.split import may_split, split
from orchestrator.provider.wire import read_batch
from orchestrator.provider.wire_faults import LineFault, read_validation_errors
from orchestrator.registry.requests import Member

_READ_CAP = 64 << 20
_SHOWN = 3


def read_failed_validation(
    ctx: Context, batch: Batch, job: Job, members: Sequence[Member], error_file: IO[bytes] | None
) -> Batch:
    """Sort the members of a batch that failed validation by the reasons the provider gave."""
    faults = _faults(error_file)
    # A line number alone names no record for sure: some servers count from 0, others from 1.
    named = {fault.custom_id: fault for fault in faults if fault.custom_id}
    blamed = [member for member in members if member.custom_id in named]
    if not blamed and batch.revoked_at is None and batch.parked_from is None:
        return _split_or_park(ctx, batch, job, faults)
    judge = Judge(ctx, batch, job)
    while batch.cursor < len(members):
        chunk = Chunk()
        for member in members[batch.cursor : batch.cursor + CHUNK]:
            fault = named.get(member.custom_id)
            if fault is None:
                judge.spare(chunk)
            else:
                judge.refused(chunk, member, fault.code, fault.message, fault.line or 0)
        batch = commit(ctx, batch, chunk)
    return finish(ctx, batch, missing=0)


def _faults(error_file: IO[bytes] | None) -> list[LineFault]:
    if error_file is None:
        return []
    error_file.seek(0)
    return read_validation_errors(error_file.read(_READ_CAP))


def _split_or_park(ctx: Context, batch: Batch, job: Job, faults: Sequence[LineFault]) -> Batch:
    """Halve a batch that was refused for no line's sake, a few times; then ask a person."""
    reason = _told(batch, faults)
    if may_split(batch):
        return split(ctx, batch, job, reason)
    parked = Parked(parked_from=BatchState.COLLECTED, reason=reason, code="ORC3207")
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))


def _told(batch: Batch, faults: Sequence[LineFault]) -> str:
    told = [f"{fault.code}: {fault.message}" if fault.code else fault.message for fault in faults]
    if batch.remote_raw:
        told += read_batch(batch.remote_raw.encode()).errors
    words = "; ".join(told[:_SHOWN]) or "the provider gave no reason"
    if len(told) > _SHOWN:
        words += f"; and {len(told) - _SHOWN:,} more"
    return f"the provider refused the input file, nothing ran: {words}"
