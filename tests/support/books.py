"""The sandbox's own books held against the registry: whatever happened, both tell one story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.api.verifying import verify
from orchestrator.domain.auditing import was_given_up
from orchestrator.domain.model import Batch, BatchState, Job, JobState
from orchestrator.domain.rendering import batch_line
from orchestrator.domain.transitions import (
    JOB_FINAL,
    JOB_TRANSITIONS,
    SETTLED,
    TRANSITIONS,
    Event,
    JobEvent,
)
from orchestrator.engine.context import read_spec
from orchestrator.registry import batches as batch_rows
from orchestrator.registry import jobs as job_rows
from orchestrator.registry.tables import events, failures, payloads, quarantine, requests, responses
from orchestrator.sandbox.books import Books
from orchestrator.sandbox.stages import FINAL as REMOTE_FINAL
from support.world import World

_MANY = 1_000_000
_PASSED_ON = {"twin", "cache"}


def assert_the_books_agree(
    world: World, *, ended: bool = True, parked: Collection[str] = (), twins: bool = False
) -> None:
    """Hold everything that the provider knows against everything that the registry says.

    `ended`: every job must have ended, and nothing be left behind; without it only what must hold
    at any moment is checked. `parked`: the codes of the reasons for which a batch may still be
    parked at the end; a job may then be open for the sake of such batches alone. `twins`: somebody
    else sent calls of ours once more, which made batches that we never asked for.
    """
    found = disagreements(world, ended=ended, parked=parked, twins=twins)
    assert not found, "the books do not agree:\n" + "\n".join(f"  {line}" for line in found)


def disagreements(
    world: World, *, ended: bool = True, parked: Collection[str] = (), twins: bool = False
) -> Sequence[str]:
    """Return everything in which registry, provider and disk contradict each other, in words."""
    story = _read(world)
    found = [
        *_books_of_jobs(world, story),
        *_outcomes(story),
        *([] if twins else [*_remote_batches(story), *_bills(story)]),
        *_answers(world, story),
        *_moves(story),
        *_due_times(world, story),
        *_progress(story),
    ]
    if ended:
        found += [
            *_ends(story, parked),
            *_leftovers(world, story, twins=twins),
            *_spool(world, story),
        ]
    if ended and not twins:
        found += _running_on(story)
    return found


@dataclass(frozen=True, kw_only=True)
class _Story:
    """The registry, read in one moment, and the provider's books of the same moment."""

    jobs: Sequence[Job]
    batches: Sequence[Batch]
    requests: Sequence[Any]
    responses: dict[int, Any]
    failures: dict[int, list[Any]]
    events: Sequence[Any]
    odd: Counter[int]
    remote: Books
    now: datetime

    def label(self, batch: Batch) -> str:
        name = next((job.name for job in self.jobs if job.id == batch.job_id), "?")
        return f"{name}/{batch.label} ({batch.state})"


def _read(world: World) -> _Story:
    with world.registry.read() as db:
        failed: dict[int, list[Any]] = {}
        for row in db.execute(sa.select(failures).order_by(failures.c.id)):
            failed.setdefault(row.request_id, []).append(row)
        # What was sent last: nothing is asked again, or otherwise, once there is an answer.
        sent = sa.func.coalesce(payloads.c.repair, payloads.c.body).label("body")
        held = sa.select(requests, sent).join(
            payloads, payloads.c.request_id == requests.c.id, isouter=True
        )
        return _Story(
            jobs=job_rows.page(db, limit=_MANY),
            batches=batch_rows.page(db, limit=_MANY),
            requests=db.execute(held.order_by(requests.c.id)).all(),
            responses={row.request_id: row for row in db.execute(sa.select(responses))},
            failures=failed,
            events=db.execute(sa.select(events).order_by(events.c.id)).all(),
            odd=Counter(db.execute(sa.select(quarantine.c.batch_id)).scalars()),
            remote=world.sandbox.books(),
            now=world.clock.now(),
        )


def _books_of_jobs(world: World, story: _Story) -> Iterator[str]:
    """Every equation that `verify` shows to users."""
    for job in story.jobs:
        for equation in verify(world.registry, job):
            if not equation.ok:
                yield f"job {job.name}: {equation.what}: {equation.left} is not {equation.right}"


def _outcomes(story: _Story) -> Iterator[str]:
    """Each record has exactly one outcome, with what it rests on."""
    settled = {batch.id for batch in story.batches if batch.state in SETTLED}
    for row in story.requests:
        answered = row.id in story.responses
        final = sum(failure.final for failure in story.failures.get(row.id, ()))
        if (row.state == "succeeded") != answered:
            yield f"record {row.custom_id} is {row.state}, answered: {answered}"
        if row.state in {"failed", "expired"} and not final:
            yield f"record {row.custom_id} is {row.state} without a final failure"
        if row.state == "assigned" and (row.batch_id is None or row.batch_id in settled):
            yield f"record {row.custom_id} travels in no open batch (batch {row.batch_id})"


def _remote_batches(story: _Story) -> Iterator[str]:
    """A token and an input file make one remote batch, which one of our batches is used for."""
    for token, count in story.remote.batches_per_metadata("orc_token").items():
        if count > 1:
            yield f"token {token} stands on {count} remote batches"
    for file_id, count in story.remote.batches_per_input().items():
        if count > 1:
            yield f"input file {file_id} made {count} remote batches"
    used = Counter(batch.remote_id for batch in story.batches if batch.remote_id)
    kept = (batch for batch in story.batches if not was_given_up(batch))
    for remote_id, count in Counter(batch.remote_id for batch in kept if batch.remote_id).items():
        if count > 1:
            yield f"remote batch {remote_id} is used by {count} batches"
    creating = any(batch.state in {"creating", "create_unknown"} for batch in story.batches)
    for remote in story.remote.batches:
        harmless = remote.status in REMOTE_FINAL and not remote.executed
        if remote.id not in used and not harmless and not creating:
            yield f"remote batch {remote.id} ({remote.status}) is in no row; {remote.billed} billed"


def _bills(story: _Story) -> Iterator[str]:
    """No line is run, or billed, more often than the registry can explain by what it recorded.

    A line that was billed but never delivered whole is recorded as missing, one whose answer did
    not fit as invalid. The records of a batch that somebody gave up for lost may run once more.
    """
    by_id = {batch.id: batch for batch in story.batches}
    lost = Counter(
        batch.job_id
        for batch in story.batches
        if batch.state in SETTLED and batch.parked_from and batch.remote_id and not batch.cursor
    )
    ran: Counter[str] = Counter()
    paid: Counter[str] = Counter()
    for row in story.requests:
        causes = [failure.cause for failure in story.failures.get(row.id, ())]
        once = row.id in story.responses and story.responses[row.id].source not in _PASSED_ON
        if row.twin_of is not None:
            causes = []  # what its leader was told
        now_in = by_id.get(row.batch_id) if row.state == "assigned" else None
        under_way = now_in is not None and now_in.state not in SETTLED
        ran[row.custom_id] += len(causes) + once + under_way + lost[row.job_id]
        billed = causes.count("missing") + causes.count("invalid") + once
        paid[row.custom_id] += billed + under_way + lost[row.job_id]
    for custom_id, count in story.remote.executed.items():
        if count > ran[custom_id]:
            yield f"record {custom_id} ran {count} times; {ran[custom_id]} are explained"
    for custom_id, count in story.remote.billed.items():
        if count > paid[custom_id]:
            yield f"record {custom_id} was billed {count} times; {paid[custom_id]} are explained"


def _answers(world: World, story: _Story) -> Iterator[str]:
    """Each answer was given to the very line of the record that it stands with."""
    key = world.sandbox.draws.key("answers")
    endpoints = {job.id: read_spec(job.spec).endpoint for job in story.jobs}
    by_id = {row.id: row for row in story.requests}
    for row in story.requests:
        answer = story.responses.get(row.id)
        if answer is None:
            continue
        asked = row
        while story.responses[asked.id].source in _PASSED_ON:
            asked = by_id[asked.twin_of]
        if asked.body != row.body:
            yield f"record {row.custom_id} has the answer to another body, of {asked.custom_id}"
        line = batch_line(asked.custom_id, endpoints[asked.job_id], asked.body.encode())
        mark = blake2b(line, digest_size=16, key=key).hexdigest()[:24]
        if f"chatcmpl-{mark}" not in answer.body:
            yield f"record {row.custom_id} holds the answer to another line"


def _kinds(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_MOVES = {_snake(kind.__name__): kind for kind in _kinds(Event)}
_JOB_MOVES = {f"job_{_snake(kind.__name__.removeprefix('Job'))}": kind for kind in _kinds(JobEvent)}
_BEGINNINGS = {"planned": "planned", "recovered": "live", "submitted": "registering"}


def _moves(story: _Story) -> Iterator[str]:
    """Every move is an edge of the table, begins where the last one ended, and was made once."""
    stands: dict[tuple[str, int], str] = {}
    for row in story.events:
        about = ("batch", row.batch_id) if row.batch_id else ("job", row.job_id)
        move, table = _edge(row)
        data = msgspec.json.decode(row.data)
        if row.kind in _BEGINNINGS and "from" not in data:
            if about in stands:
                yield f"event {row.id}: {row.kind} once more, of {about}"
            stands[about] = _BEGINNINGS[row.kind]
        elif move is not None:
            if table.get(data["from"], {}).get(move) != data["to"]:
                yield f"event {row.id}: {row.kind} led from {data['from']} to {data['to']}"
            before = stands.get(about, data["from"])
            if before != data["from"]:
                yield f"event {row.id}: {row.kind} of {about} began at {data['from']}, not {before}"
            stands[about] = data["to"]
    yield from _where_moves_end(story, stands)


def _where_moves_end(story: _Story, stands: dict[tuple[str, int], str]) -> Iterator[str]:
    for batch in story.batches:
        if stands.get(("batch", batch.id), batch.state) != batch.state:
            yield f"{story.label(batch)}: its events end at {stands['batch', batch.id]}"
    for job in story.jobs:
        if stands.get(("job", job.id), job.state) != job.state:
            yield f"job {job.name} is {job.state}; its events end at {stands['job', job.id]}"


def _edge(row: Any) -> tuple[type | None, Any]:
    """Return the move that an event tells of, and the table that allows it; None for none."""
    if row.batch_id is not None:
        return _MOVES.get(row.kind), TRANSITIONS
    return _JOB_MOVES.get(row.kind), JOB_TRANSITIONS


def _due_times(world: World, story: _Story) -> Iterator[str]:
    """Nothing is stuck: whatever has not ended is looked at again within the cap."""
    latest = story.now + timedelta(seconds=world.pace.cap + 1)
    for job in story.jobs:
        if job.state in {JobState.RUNNING, JobState.CANCELLING} and job.due_at > latest:
            yield f"job {job.name} ({job.state}) is due at {job.due_at}, past the cap"
    for batch in story.batches:
        if batch.state is not BatchState.CLOSED and batch.due_at > latest:
            yield f"{story.label(batch)} is due at {batch.due_at}, past the cap"


def _progress(story: _Story) -> Iterator[str]:
    """What a batch counts is what its rows say."""
    for batch in story.batches:
        if batch.cursor != batch.succeeded + batch.failed:
            yield f"{story.label(batch)} counts {batch.succeeded} + {batch.failed}, {batch.cursor}"
        if batch.state in {BatchState.RECONCILED, BatchState.CLOSED} and batch.cursor:
            kept = story.odd[batch.id]
            if batch.odd != kept:
                yield f"{story.label(batch)} counts {batch.odd} odd lines and keeps {kept}"


def _ends(story: _Story, parked: Collection[str]) -> Iterator[str]:
    """Every job has ended and every batch is closed, or parked for a reason that is expected."""
    waiting = set()
    for batch in story.batches:
        if batch.state is BatchState.PARKED and batch.code in parked:
            waiting.add(batch.job_id)
        elif batch.state is not BatchState.CLOSED:
            yield f"{story.label(batch)} did not end: {batch.code} {batch.reason}"
    for job in story.jobs:
        if job.state not in JOB_FINAL and (job.id not in waiting or job.books.waiting):
            yield f"job {job.name} did not end: it is {job.state}, {job.books}"
        if job.state in JOB_FINAL and job.books.open:
            yield f"job {job.name} ended with open records: {job.books}"


def _running_on(story: _Story) -> Iterator[str]:
    """Nothing runs at the provider that nobody waits for."""
    for remote in story.remote.batches:
        if remote.status not in REMOTE_FINAL:
            yield f"remote batch {remote.id} still runs: {remote.status}"


def _leftovers(world: World, story: _Story, *, twins: bool) -> Iterator[str]:
    """No file of ours is left at the provider but those of parked batches and of who keeps them.

    The results of a twin are nobody's: it was cancelled, and may have ended before.
    """
    used = {batch.remote_id for batch in story.batches}
    keeping = {job.id for job in story.jobs if not read_spec(job.spec).policy.delete_remote_files}
    excused: set[str] = set()
    for batch in story.batches:
        if batch.state is BatchState.PARKED or batch.job_id in keeping:
            excused |= {batch.token, *batch.spare_tokens.split()}
    token_of = {remote.id: remote.metadata.get("orc_token", "") for remote in story.remote.batches}
    for file in world.sandbox._all_files(story.now.timestamp()):
        if file.batch_id is None and not file.name.startswith("orc-"):
            continue
        if twins and file.batch_id is not None and file.batch_id not in used:
            continue
        token = token_of.get(file.batch_id or "", "")
        if token not in excused and not any(word in file.name for word in excused):
            yield f"the provider still holds {file.name}"


def _spool(world: World, story: _Story) -> Iterator[str]:
    """No file of a closed batch is left on our disk."""
    spool = world.context.spool
    for batch in story.batches:
        if batch.state is BatchState.CLOSED:
            paths = [spool.input_path(batch.id), spool.result_path(batch.id, "output")]
            for path in [*paths, spool.result_path(batch.id, "error")]:
                if path.exists():
                    yield f"{path.name} of {story.label(batch)} is left in the spool"
