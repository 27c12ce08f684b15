"""collected -> reconciled: match every line to its request and record one answer each.

Two passes over the downloaded files. The first reads them in file order, finds each member's line
and sets odd ones aside. The second goes through the members in source order, in chunks: one
transaction a chunk records responses and failures, moves requests, counts the books and advances
the cursor, so that a crash resumes at the chunk. Members that deserve another try, or have no
line, are given back in the last transaction only: until then they belong to this batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO

from orchestrator.domain.matching import Odd
from orchestrator.domain.model import Batch, BatchState, Job, JobState
from orchestrator.domain.pacing import seconds
from orchestrator.domain.remote import OddLine, RemoteStatus
from orchestrator.domain.retry import Cause
from orchestrator.domain.rules import longest_line
from orchestrator.domain.transitions import Parked, ResultsLost
from orchestrator.engine.context import Context, Told
from orchestrator.engine.steps.judge import Chunk, Judge
from orchestrator.engine.steps.reading import ODD_KINDS, SOURCES, Reading
from orchestrator.engine.steps.recording import CHUNK, commit, finish
from orchestrator.engine.steps.repair import close_what_grows_too_long
from orchestrator.engine.steps.validation import read_failed_validation
from orchestrator.provider.wire_lines import read_line
from orchestrator.registry import answers, requests
from orchestrator.registry.answers import OddRow
from orchestrator.registry.requests import Member

OUTPUT = 0
_RAW_CAP = 64 * 1024
_ODD_AT_ONCE = 500


def reconcile(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Record what the collected files say, then give back the members without a final word."""
    with ExitStack() as stack:
        files = _open(ctx, batch, stack)
        with ctx.registry.read() as db:
            members = requests.members(db, batch.id)
        if files is None:
            # One that was held after its last answer, and released, has nothing more to say.
            held = batch.parked_from is not None and batch.cursor >= len(members)
            return finish(ctx, batch, missing=0) if held else ctx.record(batch, ResultsLost())
        if batch.remote_status == RemoteStatus.FAILED and not batch.output_bytes:
            return read_failed_validation(ctx, batch, job, members, files[1])
        reading = Reading({member.custom_id: at for at, member in enumerate(members)}, files)
        _set_aside(ctx, batch, reading)
        if batch.remote_status == RemoteStatus.FAILED and not reading.answers_in(OUTPUT):
            return read_failed_validation(ctx, batch, job, members, files[1])
        if _is_foreign(batch, reading):
            return _refuse(ctx, batch, reading)
        judge = Judge(ctx, batch, job)
        while batch.cursor < len(members):
            if ctx.stopping():
                return batch
            batch = _record_chunk(ctx, batch, members, reading, judge)
    return _end(ctx, batch, job, _missing(ctx, members, reading), reading)


def _missing(ctx: Context, members: Sequence[Member], reading: Reading) -> int:
    """Count the members without a line; an earlier version of the files may have had theirs."""
    places = reading.matcher.places(0, len(members))
    ids = [members[index].id for index, place in places if place is None]
    if not ids:
        return 0
    with ctx.registry.read() as db:
        return len(ids) - answers.count_answered(db, ids)


def _end(ctx: Context, batch: Batch, job: Job, missing: int, reading: Reading) -> Batch:
    if _must_hold(ctx, batch, job):
        return _hold(ctx, batch)
    odd_lines = _oddities(batch, missing, reading, unfit=_unfit(ctx, batch, job))
    ended = finish(ctx, batch, missing=missing, odd_lines=odd_lines)
    if odd_lines is not None:
        ctx.tell(Told(kind="odd_lines", batch=ended, job=job, facts=odd_lines))
    return ended


def _unfit(ctx: Context, batch: Batch, job: Job) -> int:
    """Count the answers that did not fit the job's schema: to the provider they are successes."""
    if ctx.spec_of(job).answer is None:
        return 0
    with ctx.registry.read() as db:
        return answers.count_failures(db, job.id, batch.id, Cause.INVALID)


def _is_foreign(batch: Batch, reading: Reading) -> bool:
    """Whether no line of the output file is ours, though the provider has counted successes.

    Asking all of them again would pay twice for what may lie in the right file.
    """
    if batch.output_sha256 is None or not batch.remote_completed or batch.parked_from is not None:
        return False
    return reading.matcher.matched < batch.requests and not reading.answers_in(OUTPUT)


def _refuse(ctx: Context, batch: Batch, reading: Reading) -> Batch:
    why = f"{batch.remote_completed:,} requests are completed, but none of the "
    why += f"{reading.counts()['output_lines']:,} lines of the output file answers one of ours"
    parked = Parked(parked_from=BatchState.COLLECTED, reason=why, code="ORC5203")
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))


def _oddities(batch: Batch, missing: int, reading: Reading, *, unfit: int) -> dict[str, int] | None:
    """Return the exact counts of files that do not hold what was to be expected; else None."""
    counts = reading.counts()
    failed = batch.failed - missing - unfit
    found = {"succeeded": batch.succeeded + unfit, "failed": failed, "missing": missing}
    told: dict[str, int] = {}
    if batch.remote_total:
        told["told_succeeded"] = batch.remote_completed or 0
        told["told_failed"] = batch.remote_failed or 0
    if not any(counts[kind] for kind in ODD_KINDS) and not _contradicted(batch, told, found):
        return None
    return {**counts, **found, **told}


def _contradicted(batch: Batch, told: Mapping[str, int], found: Mapping[str, int]) -> bool:
    """Whether the provider's counts say something else than its files."""
    if not told:
        return False
    if batch.remote_status != RemoteStatus.COMPLETED:
        # What did not run may be counted as failed, or not at all.
        return told["told_succeeded"] > found["succeeded"]
    return any(told[f"told_{word}"] != found[word] for word in ("succeeded", "failed"))


def _open(ctx: Context, batch: Batch, stack: ExitStack) -> list[IO[bytes] | None] | None:
    """Open the collected files; None when one of them is not the very file that its row names.

    Judged by what was opened: a name may lead to another file a moment later.
    """
    named = ((batch.output_sha256, batch.output_bytes), (batch.error_sha256, batch.error_bytes))
    files: list[IO[bytes] | None] = []
    for source, (sha256, size) in zip(SOURCES, named, strict=True):
        file = None
        if sha256 is not None:
            file = ctx.spool.open(ctx.spool.result_path(batch.id, source), sha256, size)
            if file is None:
                return None
            stack.enter_context(file)
        files.append(file)
    return files


def _set_aside(ctx: Context, batch: Batch, reading: Reading) -> None:
    """First pass: find each member's line; put what is odd into quarantine."""
    odd: list[OddRow] = []
    for found in reading.odd_lines():
        odd.append(_odd_row(ctx, batch, found, reading))
        if len(odd) >= _ODD_AT_ONCE:
            _quarantine(ctx, odd)
            odd = []
    _quarantine(ctx, odd)


def _odd_row(ctx: Context, batch: Batch, odd: Odd, reading: Reading) -> OddRow:
    place = odd.place
    return OddRow(
        batch_id=batch.id,
        source=SOURCES[place.file],
        line=place.line,
        reason=odd.reason,
        raw=reading.line(place, _RAW_CAP),
        length=place.length,
        recorded_at=ctx.now(),
    )


def _quarantine(ctx: Context, rows: Sequence[OddRow]) -> None:
    if rows:
        ctx.registry.write(lambda db: answers.record_odd(db, rows))


def _record_chunk(
    ctx: Context,
    batch: Batch,
    members: Sequence[Member],
    reading: Reading,
    judge: Judge,
) -> Batch:
    """Second pass, one chunk: judge the next members' answers and record them, once."""
    chunk = Chunk()
    odd: list[OddRow] = []
    for index, place in reading.matcher.places(batch.cursor, CHUNK):
        member = members[index]
        answer = read_line(reading.line(place)) if place else None
        if place is None or answer is None:
            judge.silence(chunk, member)
        elif isinstance(answer, OddLine):
            odd.append(_odd_row(ctx, batch, Odd(place, answer.reason), reading))
            judge.silence(chunk, member)
        else:
            judge.answer(chunk, member, answer, SOURCES[place.file], place.line)
    _quarantine(ctx, odd)
    longest = longest_line(ctx.providers.profile(batch.provider).limits)
    close_what_grows_too_long(ctx, chunk, longest)
    return commit(ctx, batch, chunk)


def _must_hold(ctx: Context, batch: Batch, job: Job) -> bool:
    """Whether somebody else cancelled the batch and a person is to say what becomes of the rest."""
    if batch.remote_status != RemoteStatus.CANCELLED or batch.parked_from is not None:
        return False
    if batch.cancel_asked_at is not None or job.state is JobState.CANCELLING:
        return False
    if ctx.spec_of(job).policy.on_cancelled != "hold":
        return False
    with ctx.registry.read() as db:
        return bool(requests.sizes(db, batch.id))


def _hold(ctx: Context, batch: Batch) -> Batch:
    why = "the batch was cancelled, but not by us; its answers are kept, the rest waits for you"
    parked = Parked(parked_from=BatchState.COLLECTED, reason=why, code="ORC5206")
    return ctx.record(batch, parked, due_at=ctx.now() + seconds(ctx.pace.cap))
