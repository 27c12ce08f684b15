"""collected -> reconciled: match every line to its request and record one answer each.

Two passes over the downloaded files. The first reads them in file order, finds each member's line
and sets odd ones aside. The second goes through the members in source order, in chunks: one
transaction a chunk records responses and failures, moves requests, counts the books and advances
the cursor, so that a crash resumes at the chunk. Members that deserve another try, or have no
line, are given back in the last transaction only: until then they belong to this batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from orchestrator.domain.matching import Matcher, Odd, Place
from orchestrator.domain.model import Batch, BatchState, Job, JobState
from orchestrator.domain.pacing import seconds
from orchestrator.domain.remote import Answer, OddLine, RemoteStatus
from orchestrator.domain.transitions import Parked, ResultsLost
from orchestrator.engine.context import Context
from orchestrator.engine.steps.judge import Chunk, Judge
from orchestrator.engine.steps.recording import CHUNK, commit, finish
from orchestrator.engine.steps.validation import read_failed_validation
from orchestrator.provider.wire_lines import read_id, read_line
from orchestrator.registry import answers, requests
from orchestrator.registry.answers import OddRow
from orchestrator.registry.requests import Member

SOURCES = ("output", "error")
_RAW_CAP = 64 * 1024
_LINE_CAP = 256 << 20
_ODD_AT_ONCE = 500


def reconcile(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Record what the collected files say, then give back the members without a final word."""
    paths = [ctx.spool.result_path(batch.id, source) for source in SOURCES]
    if not _intact(ctx, batch, paths):
        return ctx.record(batch, ResultsLost())
    with ctx.registry.read() as db:
        members = requests.members(db, batch.id)
    if batch.remote_status == RemoteStatus.FAILED:
        return read_failed_validation(ctx, batch, job, members, paths[1])
    with ExitStack() as stack:
        files = [_open(stack, path) for path in paths]
        matcher = _match(ctx, batch, members, files)
        judge = Judge(ctx, batch, job)
        while batch.cursor < len(members):
            if ctx.stopping():
                return batch
            batch = _record_chunk(ctx, batch, members, matcher, files, judge)
    if _must_hold(ctx, batch, job):
        return _hold(ctx, batch)
    return finish(ctx, batch, missing=len(members) - matcher.matched)


def _intact(ctx: Context, batch: Batch, paths: Sequence[Path]) -> bool:
    hashes = (batch.output_sha256, batch.error_sha256)
    sizes = (batch.output_bytes, batch.error_bytes)
    return all(
        sha256 is None or ctx.spool.holds(path, sha256, size)
        for path, sha256, size in zip(paths, hashes, sizes, strict=True)
    )


def _open(stack: ExitStack, path: Path) -> IO[bytes] | None:
    try:
        return stack.enter_context(path.open("rb", buffering=1 << 20))
    except FileNotFoundError:
        return None


def _match(
    ctx: Context, batch: Batch, members: Sequence[Member], files: Sequence[IO[bytes] | None]
) -> Matcher:
    """First pass: find each member's line; put what is odd into quarantine."""
    matcher = Matcher({member.custom_id: index for index, member in enumerate(members)})
    odd: list[OddRow] = []
    for number, file in enumerate(files):
        if file is None:
            continue
        for place, raw in _lines(number, file):
            found = _odd_one(matcher, place, raw, files)
            if found is not None:
                odd.append(_odd_row(ctx, batch, found, files))
            if len(odd) >= _ODD_AT_ONCE:
                _quarantine(ctx, odd)
                odd = []
    _quarantine(ctx, odd)
    return matcher


def _lines(number: int, file: IO[bytes]) -> Iterator[tuple[Place, bytes]]:
    """Yield the lines that are not blank, with their places; an endless line is cut at a cap."""
    offset = 0
    for count, raw in enumerate(iter(lambda: file.readline(_LINE_CAP), b""), start=1):
        if not raw.isspace():
            yield Place(number, count, offset, len(raw)), raw
        offset += len(raw)


def _odd_one(
    matcher: Matcher, place: Place, raw: bytes, files: Sequence[IO[bytes] | None]
) -> Odd | None:
    custom_id = read_id(raw)
    if custom_id is None:
        answer = read_line(raw)
        if isinstance(answer, OddLine):
            return Odd(place, answer.reason)
        custom_id = answer.custom_id
    found = matcher.offer(custom_id, place)
    if not isinstance(found, Place):
        return found
    before = _at(files, found)
    now, then = _succeeded(raw), _succeeded(before)
    return matcher.settle(
        custom_id, place, found, same=before == raw, wins=now and not then, succeeded=now
    )


def _succeeded(raw: bytes) -> bool:
    answer = read_line(raw)
    return isinstance(answer, Answer) and answer.succeeded


def _at(files: Sequence[IO[bytes] | None], place: Place, cap: int | None = None) -> bytes:
    """Read a line where it stands, past the file's own buffer and position."""
    file = files[place.file]
    assert file is not None  # noqa: S101 - a place is in a file that was read
    size = min(place.length, cap) if cap else place.length
    return os.pread(file.fileno(), size, place.offset)


def _odd_row(ctx: Context, batch: Batch, odd: Odd, files: Sequence[IO[bytes] | None]) -> OddRow:
    place = odd.place
    return OddRow(
        batch_id=batch.id,
        source=SOURCES[place.file],
        line=place.line,
        reason=odd.reason,
        raw=_at(files, place, _RAW_CAP),
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
    matcher: Matcher,
    files: Sequence[IO[bytes] | None],
    judge: Judge,
) -> Batch:
    """Second pass, one chunk: judge the next members' answers and record them, once."""
    chunk = Chunk()
    odd: list[OddRow] = []
    for index, place in matcher.places(batch.cursor, CHUNK):
        member = members[index]
        answer = read_line(_at(files, place)) if place else None
        if place is None or answer is None:
            judge.silence(chunk, member)
        elif isinstance(answer, OddLine):
            odd.append(_odd_row(ctx, batch, Odd(place, answer.reason), files))
            judge.silence(chunk, member)
        else:
            judge.answer(chunk, member, answer, SOURCES[place.file], place.line)
    _quarantine(ctx, odd)
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
