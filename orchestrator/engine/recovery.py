"""Recovery: remote batches that the registry has forgotten get their rows back.

A registry that lost its latest commits, or an old backup that was put back, is behind the provider.
What was sent since is followed and collected like any other batch; nothing is sent again. So is a
batch that a person gave up, when it ends after all: what it answers is paid for.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection

from orchestrator.domain.auditing import is_successor, number_of, was_given_up
from orchestrator.domain.errors import GoneError, RejectedError, UnavailableError
from orchestrator.domain.model import (
    Batch,
    BatchState,
    Job,
    JobState,
    RequestState,
    Stray,
    StrayVerdict,
)
from orchestrator.domain.pacing import seconds
from orchestrator.domain.packing import load_of
from orchestrator.domain.remote import RemoteBatch
from orchestrator.domain.transitions import Recovered
from orchestrator.engine.context import Context, Told
from orchestrator.engine.extras import stray_of
from orchestrator.engine.steps.follow import facts_of
from orchestrator.engine.steps.withdraw import take_back
from orchestrator.provider.port import Provider
from orchestrator.provider.wire_lines import name_of
from orchestrator.registry import accounts, batches, events, jobs, loads, requests, strays
from orchestrator.registry.requests import Place

_UNSENT = frozenset(
    {
        BatchState.PLANNED,
        BatchState.BUILT,
        BatchState.UPLOADING,
        BatchState.UPLOAD_UNKNOWN,
        BatchState.UPLOADED,
    }
)
_ASKED_AT_ONCE = 20
"""How many batches that were given up one audit asks for."""

_CHUNK = 5_000
_LINE_CAP = 256 << 20


def take_in_forgotten(ctx: Context, provider: Provider, remote: RemoteBatch, row: Batch) -> Batch:
    """Let a row that was never told of its remote batch follow it. Raises ClaimLost."""
    with ctx.registry.read() as db:
        job = jobs.get(db, row.job_id)
    token = remote.metadata.get("orc_token") or row.token
    spares = row.spare_tokens if token == row.token else f"{row.spare_tokens} {row.token}".strip()
    event = Recovered(
        **facts_of(ctx, ctx.spec_of(job), remote),
        token=token,
        spare_tokens=spares,
        input_file_id=remote.input_file_id or row.input_file_id,
        fingerprint=provider.fingerprint,
    )
    now = ctx.now()
    due_at = now + seconds(ctx.pace.cap)

    def work(db: Connection) -> Batch:
        accounts.look_by(db, row.provider, now)
        mine = batches.take_over(db, row)
        moved = batches.move(db, mine, event, now=now, due_at=due_at, actor=ctx.actor)
        stray = stray_of(ctx, provider, remote, StrayVerdict.ADOPTED, "its own row took it in", row)
        strays.keep(db, stray)
        return moved

    moved = ctx.registry.write(work)
    ctx.tell(Told(kind="Recovered", batch=moved))
    return moved


def take_in(ctx: Context, provider: Provider, remote: RemoteBatch) -> Stray:
    """Give a remote batch that no row knows a row, and its members; say what became of it."""
    with ctx.registry.read() as db:
        job = jobs.find(db, remote.metadata.get("orc_job", ""))
        number = number_of(remote)
        row = batches.find(db, job_id=job.id, number=number) if job and number else None
    if job is None or job.state is JobState.REGISTERING:
        return stray_of(
            ctx, provider, remote, StrayVerdict.WAITING, "its job is not registered here"
        )
    if row is not None and is_successor(remote, row):
        taken = take_in_forgotten(ctx, provider, remote, row)
        return stray_of(
            ctx, provider, remote, StrayVerdict.ADOPTED, "its own row took it in", taken
        )
    if not job.books.open:
        return _extra(ctx, provider, remote)
    custom_ids = _custom_ids(ctx, provider, remote)
    if custom_ids is None:
        verdict = StrayVerdict.LOST if remote.status.terminal else StrayVerdict.WAITING
        reason = "its input file is gone, and it has no results that can be read"
        return stray_of(ctx, provider, remote, verdict, reason)
    batch = _give_row(ctx, provider, remote, job, custom_ids)
    if batch is None:
        return _extra(ctx, provider, remote)
    ctx.tell(Told(kind="Recovered", batch=batch))
    return stray_of(
        ctx, provider, remote, StrayVerdict.ADOPTED, "it has a row of its own now", batch
    )


def take_in_late(ctx: Context, provider: Provider) -> None:
    """Follow batches again that were given up, and have ended with results after all.

    Only what no other batch has been sent for is taken: their records stay where they travel, and
    are looked at again when they come back without an answer.
    """
    for job, row in _given_up(ctx, provider):
        # What was given up once is no reason to hold up anything else: the next audit asks again.
        with contextlib.suppress(GoneError, UnavailableError, RejectedError):
            remote = provider.batch(row.remote_id or "")
            if not remote.status.terminal or not remote.output_file_id:
                continue
            custom_ids = _custom_ids(ctx, provider, remote) or []
            batch = _give_row(ctx, provider, remote, job, custom_ids)
            if batch is not None:
                ctx.tell(Told(kind="late", batch=batch))


def _given_up(ctx: Context, provider: Provider) -> list[tuple[Job, Batch]]:
    """Return the batches of open jobs that were given up, where records are free to be answered."""
    found: list[tuple[Job, Batch]] = []
    with ctx.registry.read() as db:
        for job in jobs.active(db):
            ids = batches.given_up(db, provider.name, job.id)
            if not ids or not _has_free(db, job):
                continue
            rows = batches.known(db, provider.name, remote_ids=ids, tokens=[])
            latest = {row.remote_id: row for row in rows}.values()
            found += [(job, row) for row in latest if was_given_up(row)]
    ours = [(job, row) for job, row in found if row.fingerprint == provider.fingerprint]
    # By chance, so that over the hours all get their turn.
    return ctx.rng.sample(ours, min(len(ours), _ASKED_AT_ONCE))


def _has_free(db: Connection, job: Job) -> bool:
    """Whether records of a job wait, or are planned for a batch that was not sent yet."""
    unsent = (batch.state in _UNSENT for batch in batches.unfinished(db, job.id))
    return bool(job.books.waiting) or any(unsent)


def _give_row(
    ctx: Context,
    provider: Provider,
    remote: RemoteBatch,
    job: Job,
    custom_ids: Sequence[str],
) -> Batch | None:
    return ctx.registry.write(lambda db: _make_row(ctx, db, provider, remote, job, custom_ids))


def _extra(ctx: Context, provider: Provider, remote: RemoteBatch) -> Stray:
    """Stop a batch whose records all have their outcomes, or travel in another one."""
    if not remote.status.terminal:
        provider.cancel(remote.id)
    reason = "its records have their outcomes, or travel in another batch: cancelled"
    return stray_of(ctx, provider, remote, StrayVerdict.EXTRA, reason)


def _custom_ids(ctx: Context, provider: Provider, remote: RemoteBatch) -> list[str] | None:
    """Return whose requests a remote batch holds, by its input file, else by its results.

    None when neither can be read: a batch keeps a copy of its own of an input that was deleted.
    """
    results = [file_id for file_id in (remote.output_file_id, remote.error_file_id) if file_id]
    for file_ids in ([remote.input_file_id] if remote.input_file_id else [], results):
        try:
            found = _ids_in(ctx, provider, file_ids)
        except GoneError:
            continue
        if found:
            return found
    return None


def _ids_in(ctx: Context, provider: Provider, file_ids: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for file_id in file_ids:
        name = hashlib.sha256(file_id.encode()).hexdigest()[:16]
        # By worker: a person may take the same one in beside a daemon. What a dead one leaves goes.
        path = ctx.spool.directory / f"stray-{name}.{ctx.worker}.tmp"
        provider.download(file_id, path, max_bytes=ctx.max_download_bytes)
        try:
            with path.open("rb", buffering=1 << 20) as file:
                ids = (name_of(line) for line in iter(lambda: file.readline(_LINE_CAP), b""))
                found.update((custom_id, None) for custom_id in ids if custom_id is not None)
        finally:
            ctx.spool.drop(path)
    return list(found)


def _make_row(
    ctx: Context,
    db: Connection,
    provider: Provider,
    remote: RemoteBatch,
    job: Job,
    custom_ids: Sequence[str],
) -> Batch | None:
    """Insert a live batch that holds those of its requests that are free; None if none is.

    What was planned for them since, and not sent yet, is taken back first. A row that is there
    already is returned: a commit was not acknowledged, or somebody took the same one in.
    """
    jobs.lock(db, job.id)
    made = batches.known(db, provider.name, remote_ids=[remote.id], tokens=[])
    late = bool(made) and was_given_up(made[-1])
    if made and not late:
        return made[-1]
    now = ctx.now()
    for batch_id in {place.batch_id for place in _places(db, job, custom_ids) if _travels(place)}:
        row = batches.get(db, batch_id or 0)
        if row.state in _UNSENT:
            take_back(ctx, db, batches.take_over(db, row), now)
    free = [p for p in _places(db, job, custom_ids) if p.state == RequestState.PENDING]
    if not free:
        return None
    facts = facts_of(ctx, ctx.spec_of(job), remote)
    batch = batches.add(
        db,
        **facts,
        job_id=job.id,
        number=jobs.lock(db, job.id).batches + 1,
        provider=provider.name,
        fingerprint=provider.fingerprint,
        state=BatchState.LIVE,
        model=free[0].model,
        requests=len(custom_ids),
        bytes=0,
        token=("" if late else remote.metadata.get("orc_token", "")) or ctx.new_token(),
        # The input of one that was given up is removed by the row that sent it.
        input_file_id=None if late else remote.input_file_id,
        planned_at=now,
        state_at=now,
        due_at=now + seconds(ctx.pace.cap),
    )
    count = requests.assign(db, batch.id, [place.id for place in free])
    load = load_of(requests.sizes(db, batch.id))
    loads.weigh(db, batch.id, est_in=load.est_in, est_out=load.est_out)
    jobs.count(db, job.id, batches=1, waiting=-count, in_flight=count)
    accounts.look_by(db, provider.name, now)
    events.record(
        db,
        "recovered",
        at=now,
        actor=ctx.actor,
        job_id=job.id,
        batch_id=batch.id,
        provider=provider.name,
        data={"remote_id": remote.id, "requests": len(custom_ids), "members": count},
    )
    return batch


def _travels(place: Place) -> bool:
    return place.state == RequestState.ASSIGNED and place.batch_id is not None


def _places(db: Connection, job: Job, custom_ids: Sequence[str]) -> Iterator[Place]:
    for start in range(0, len(custom_ids), _CHUNK):
        yield from requests.places(db, job.id, custom_ids[start : start + _CHUNK])
