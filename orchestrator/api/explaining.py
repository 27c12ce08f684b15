"""Explain a job, a batch, a record or a provider: what happened, what comes, what one can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from orchestrator.api.explaining_provider import PROVIDER, explain_provider
from orchestrator.api.explaining_stage import explain_stage, stage_story
from orchestrator.api.failing import failure_groups
from orchestrator.api.listing import batch_events
from orchestrator.api.lookup import Found, find_batch, find_job, find_record
from orchestrator.api.records import RecordTrace, trace_record
from orchestrator.api.stories import Choice, Explanation, SayTime, in_utc
from orchestrator.api.views import (
    BatchView,
    JobView,
    batch_view,
    job_view,
)
from orchestrator.domain.errors import NotFound
from orchestrator.domain.model import BatchState, Job, JobState, Stray, StrayVerdict
from orchestrator.domain.progress import Prices, no_prices, share_of
from orchestrator.domain.waiting import WaitsFor
from orchestrator.registry import reports, strays
from orchestrator.registry.session import Registry

_CAUSES = 3
_SHOWN = 3
_OF_A_REMOTE_ID = frozenset({"recovered", "stray_found", "extra_remote_batch"})


def explain(
    registry: Registry,
    subject: str,
    *,
    now: datetime,
    job: str | None = None,
    prices: Prices = no_prices,
    say_time: SayTime = in_utc,
) -> Explanation:
    """Explain JOB, JOB/b07, a provider's batch id, `provider:NAME` or a record's KEY.

    With `job`, `subject` is a key of that job. Raises NotFound, UsageError for a name that fits
    several.
    """
    if job is not None:
        return _record(registry, find_record(registry, subject, job), now, say_time)
    if subject.startswith(PROVIDER):
        return explain_provider(registry, subject.removeprefix(PROVIDER), now, say_time)
    for explained in (_job_named, _stage_named, _batch_named):
        try:
            return explained(registry, subject, now, prices, say_time)
        except NotFound as error:
            first = error
    try:
        return _record(registry, find_record(registry, subject), now, say_time)
    except NotFound:
        raise _nothing(subject) from first


def _stage_named(
    registry: Registry, name: str, _now: datetime, _prices: Prices, say_time: SayTime
) -> Explanation:
    return explain_stage(registry, name, say_time)


def _nothing(subject: str) -> NotFound:
    return NotFound(
        f'there is no job, batch or record "{subject}"',
        why="it takes JOB, JOB/b07, the provider's batch id, provider:NAME or a record's key",
        next="orchestrator jobs",
    )


def _job_named(
    registry: Registry, name: str, now: datetime, prices: Prices, say_time: SayTime
) -> Explanation:
    view = job_view(registry, find_job(registry, name), now=now, prices=prices)
    holding = strays_of(registry, view.job) if view.books.waiting else []
    of_stage, mends = stage_story(registry, view.job)
    return Explanation(
        subject=view.job.name,
        state=view.state,
        happened=tuple(_job_story(registry, view, say_time)),
        waits_for=view.waits_for,
        next=(
            *_held_up(holding),
            *_job_next(view, say_time),
            *_sinks_next(view, say_time),
            *of_stage,
        ),
        if_nothing=_job_if_nothing(view),
        choices=(*_stray_choices(holding), *_sink_choices(view), *mends, *_job_choices(view)),
    )


def strays_of(registry: Registry, job: Job) -> list[Stray]:
    """Return the strays that may hold records of a job, for which nothing is planned as yet."""
    holding = (StrayVerdict.WAITING, StrayVerdict.LOST)
    with registry.read() as db:
        if not strays.holding_up(db, job.name):
            return []
        return [s for s in strays.everyone(db, verdicts=holding) if s.job_name == job.name]


def _job_story(registry: Registry, view: JobView, say_time: SayTime) -> Iterator[str]:
    job, books = view.job, view.books
    yield f"it was submitted {say_time(job.created_at)} with {books.records:,} records"
    if view.batches:
        counts = ", ".join(f"{n:,} {state}" for state, n in view.batches.items())
        yield f"it travelled in {sum(view.batches.values()):,} batches so far: {counts}"
    if books.recorded:
        yield (
            f"{books.recorded:,} records have their outcome: {books.succeeded:,} succeeded, "
            f"{books.failed:,} failed, {books.expired:,} expired, {books.cancelled:,} cancelled"
        )
    if view.open.reported:
        yield f"the provider reports {view.open.reported:,} more as done, not recorded yet"
    for group in failure_groups(registry, job.name, limit=_CAUSES):
        words = f': "{group.words}"' if group.words else ""
        yield f"{group.attempts:,} attempts did not succeed, cause {group.cause}{words}"
    if view.odd:
        yield f"{view.odd:,} odd lines of the provider are kept in quarantine"
    if job.finished_at is not None:
        yield f"it ended {say_time(job.finished_at)}"


def _job_next(view: JobView, say_time: SayTime) -> Iterator[str]:
    waits, expected = view.waits_for, view.finish
    yield _waiting(waits)
    if waits.until is not None and waits.until > view.as_of:
        yield f"the next move is due {say_time(waits.until)}"
    if expected is not None and expected.earliest is not None and expected.latest is not None:
        between = f"{say_time(expected.earliest)} and {say_time(expected.latest)}"
        yield f"it may end between {between} ({expected.how})"
    elif expected is not None:
        yield f"when it ends is unknown: {expected.how}"
    if expected is not None and expected.first_window_ends is not None:
        yield f"the first completion window ends {say_time(expected.first_window_ends)}"


def _waiting(waits: WaitsFor) -> str:
    """Return the sentence of a wait: what a guard or a stage says is no name of a thing."""
    if waits.words.startswith("waits for "):
        return f"it {waits.words}"
    if waits.words.startswith("held: "):
        return f"it is {waits.words}"
    if waits.state == "held" and not waits.held_by:
        return f"it is held: {waits.words}"
    return f"it waits for {waits.words}"


def _sinks_next(view: JobView, say_time: SayTime) -> Iterator[str]:
    for sink in view.sinks:
        why = f": {sink.reason}" if sink.reason else ""
        again = f"; it is tried again {say_time(sink.next_try)}" if sink.next_try else ""
        yield f"the sink {sink.sink} has {sink.rows:,} rows and is {sink.state}{why}{again}"


def _sink_choices(view: JobView) -> Iterator[Choice]:
    if any(sink.state in {"held", "failing"} for sink in view.sinks):
        yield Choice(
            f"orchestrator resume {view.job.name}",
            "the sinks that do not go on are tried at once; no record is asked again",
        )


def _held_up(holding: Sequence[Stray]) -> Iterator[str]:
    if holding:
        yield "nothing new is sent for it, as records of it may travel in batches that no row knows"
    for stray in holding[:_SHOWN]:
        yield f"{stray.remote_id} at {stray.provider} is {stray.verdict}: {stray.reason}"


def _stray_choices(holding: Sequence[Stray]) -> Iterator[Choice]:
    for stray in holding[:_SHOWN]:
        yield Choice(f"orchestrator adopt {stray.remote_id}", "takes it in, and goes on")
        yield Choice(
            f"orchestrator adopt {stray.remote_id} --forget",
            "lets it go: records that it holds are asked, and paid, again",
        )


def _job_if_nothing(view: JobView) -> str:
    match view.waits_for.who:
        case "nobody":
            return "nothing changes: the outcomes stay in the registry until you remove them"
        case "you":
            return "it stays as it is; what is at the provider is still collected, nothing is lost"
        case "worker":
            return (
                "nothing is sent or collected until a worker runs; the provider goes on, "
                "and its results wait there"
            )
    return "it goes on by itself until every record has its outcome"


def _job_choices(view: JobView) -> Iterator[Choice]:
    name, books, state = view.job.name, view.books, view.job.state
    answered = books.succeeded + books.failed
    unsent = share_of(view.costs.so_far, books.waiting, answered)
    if view.waits_for.next.startswith("orchestrator"):
        by_itself = view.waits_for.who == "time"
        what = "says what is wrong there" if by_itself else "the move that it waits for"
        yield Choice(view.waits_for.next, what)
    if state is JobState.RUNNING:
        yield Choice(
            f"orchestrator pause {name}",
            f"nothing new is sent, {books.waiting:,} records keep waiting; what is in flight is "
            "collected; undo with resume",
            unsent,
        )
    if state in {JobState.RUNNING, JobState.PAUSED}:
        yield Choice(
            f"orchestrator cancel {name}",
            f"{books.waiting:,} records are never sent; {books.in_flight:,} in flight are asked "
            "back, answers made until then are collected and charged; can't be undone",
            unsent,
        )
    failed = books.failed + books.expired
    if failed and state is not JobState.CANCELLED:
        again = share_of(view.costs.so_far, failed, answered)
        yield Choice(
            f"orchestrator retry {name}", f"{failed:,} failed and expired records go again", again
        )
    if books.recorded:
        yield Choice(
            f"orchestrator export {name} -o {name}.jsonl",
            f"writes {books.records:,} rows, open ones too",
        )


def _batch_named(
    registry: Registry, name: str, now: datetime, _prices: Prices, say_time: SayTime
) -> Explanation:
    job, batch = find_batch(registry, name)
    view = batch_view(registry, job, batch, now=now)
    return Explanation(
        subject=view.name,
        state=batch.state.value,
        happened=tuple(_batch_story(registry, view, say_time)),
        waits_for=view.waits_for,
        next=tuple(_batch_next(registry, view, say_time)),
        if_nothing=_batch_if_nothing(view),
        choices=tuple(_batch_choices(view)),
    )


def _batch_story(registry: Registry, view: BatchView, say_time: SayTime) -> Iterator[str]:
    batch = view.batch
    yield f"it was planned {say_time(batch.planned_at)} with {batch.requests:,} requests"
    for event in batch_events(registry, batch):
        if event.kind != "planned":
            reason = event.data.get("reason")
            why = f": {reason}" if isinstance(reason, str) else ""
            what = event.kind.replace("_", " ")
            if event.kind in _OF_A_REMOTE_ID:
                what += f" ({event.data.get('remote_id')})"
            yield f"{what} {say_time(event.at)}{why}"
    if batch.remote_id:
        seen = f", seen {say_time(batch.looked_at)}" if batch.looked_at else ""
        yield (
            f'{batch.provider} says "{batch.remote_word}" and reports {view.reported:,} of '
            f"{batch.requests:,} requests as done{seen}"
        )
    if batch.cursor:
        yield f"{batch.cursor:,} answers are recorded: {batch.succeeded:,} succeeded"


def _batch_next(registry: Registry, view: BatchView, say_time: SayTime) -> Iterator[str]:
    batch, waits = view.batch, view.waits_for
    yield _waiting(waits)
    if waits.until is not None:
        yield f"the next look is due {say_time(waits.until)}"
    if batch.state is BatchState.LIVE:
        with registry.read() as db:
            took = sorted(reports.turnarounds(db, batch.provider, batch.model))
        if took:
            middle = say_span(timedelta(seconds=took[len(took) // 2]))
            yield f"batches of this model usually take about {middle} ({len(took):,} seen)"
        if batch.expires_at is not None:
            yield f"its window ends {say_time(batch.expires_at)}"


def say_span(span: timedelta) -> str:
    """Return a duration in words: minutes below two hours, else hours."""
    minutes = max(1, round(span.total_seconds() / 60))
    return f"{minutes:,} min" if minutes < 120 else f"{round(minutes / 60):,} hours"


def _batch_if_nothing(view: BatchView) -> str:
    match view.batch.state:
        case BatchState.PARKED:
            return (
                f"its {view.batch.requests:,} requests stay open; nothing is sent or paid for "
                "twice; the rest of the job goes on"
            )
        case BatchState.CLOSED | BatchState.RECONCILED | BatchState.SUPERSEDED:
            return "nothing changes: what it brought is recorded"
        case BatchState.LIVE:
            return (
                "it is followed to its end; if the window ends first, what is done is collected "
                "and the rest goes again as the job's policy says"
            )
    return "the next step is taken when it is due; a step that failed is tried again"


def _batch_choices(view: BatchView) -> Iterator[Choice]:
    if view.batch.state is BatchState.PARKED:
        yield Choice(
            f"orchestrator resume {view.job.name}", "the safe way on from where it was parked"
        )
    if view.batch.state is BatchState.LIVE and view.batch.cancel_asked_at is None:
        yield Choice(
            f"orchestrator cancel {view.name}",
            "the provider is asked to stop it; answers made until then are collected and charged",
        )
    yield Choice(f"orchestrator batches show {view.name}", "phases, files, the provider's object")


def _record(registry: Registry, found: Found, now: datetime, say_time: SayTime) -> Explanation:
    trace = trace_record(registry, found)
    waits = _record_waits(registry, found, trace, now)
    job = trace.job
    choices = [Choice(f"orchestrator records show {trace.key} --job {job}", "every byte of it")]
    if trace.state in {"failed", "expired"}:
        again = f"orchestrator retry {job} --where key:{trace.key}"
        choices.insert(0, Choice(again, "asks for this record again"))
    settled = waits is None
    return Explanation(
        subject=f"{trace.key} of {job}",
        state=trace.state,
        happened=tuple(_record_story(trace, say_time)),
        waits_for=waits,
        next=(f"it is {trace.state}: its outcome is final",)
        if waits is None
        else (_waiting(waits),),
        if_nothing="nothing changes" if settled else "it gets its outcome with its batch",
        choices=tuple(choices),
    )


def _record_story(trace: RecordTrace, say_time: SayTime) -> Iterator[str]:
    yield f"it is {trace.place}, sent as {trace.custom_id}"
    for attempt in trace.attempts:
        when = f" {say_time(attempt.recorded_at)}" if attempt.recorded_at else ""
        words = f': "{attempt.message}"' if attempt.message else ""
        again = ", so it was asked again" if attempt.recorded_at and not attempt.final else ""
        yield f"in {attempt.batch} it was {attempt.word}{when}{words}{again}"


def _record_waits(
    registry: Registry, found: Found, trace: RecordTrace, now: datetime
) -> WaitsFor | None:
    if trace.state == "pending":
        return job_view(registry, found.job, now=now).waits_for
    if trace.state == "assigned":
        job, batch = find_batch(registry, trace.attempts[-1].batch)
        return batch_view(registry, job, batch, now=now).waits_for
    return None
