"""What needs a person: the only list that may call somebody. Empty is the usual answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from orchestrator.api.stage_views import held_up_by
from orchestrator.domain.auditing import CLONED
from orchestrator.domain.holds import CANARY, OF_A_DAY, is_held, way_on
from orchestrator.domain.model import Account, Batch, Gate, Job, JobState, Stray, StrayVerdict
from orchestrator.registry import accounts, deliveries, jobs, reports, stages, strays
from orchestrator.registry.session import Registry

CUT_OFF_AFTER = timedelta(minutes=15)
"""A registration that began longer ago may have been cut off."""

_QUOTA = "ORC3104"
_EXTRA_TOLD = timedelta(days=1)
_HOLDING = (StrayVerdict.WAITING, StrayVerdict.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsYou:
    """One thing that a person must decide or mend. `subject`: a job, a batch or provider:NAME."""

    cause: str
    subject: str
    headline: str
    code: str
    safe: str
    next: str
    since: datetime | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def needs_you(registry: Registry, *, now: datetime) -> list[NeedsYou]:
    """Return what needs a person, the widest matter first: providers, books, jobs, batches."""
    with registry.read() as db:
        active = jobs.active(db)
        return [
            *_gates(db),
            *_cloned(db),
            *(_unbalanced(job) for job in active if not job.books.balanced),
            *_strays(db),
            *(_held(job) for job in active if is_held(job) and job.hold_code not in OF_A_DAY),
            *_parked(db),
            *_held_sinks(db),
            *_held_stages(db),
            *_extras(db, now),
            *_cut_off(active, now),
            *_overdue(db, now),
        ]


def _gates(db: Connection) -> Iterator[NeedsYou]:
    for account in accounts.everyone(db):
        if account.gate is Gate.CLOSED:
            yield _gate(account, *reports.waiting_at(db, account.provider))


def _gate(account: Account, count: int, records: int) -> NeedsYou:
    name = account.provider
    mend = "top up the account" if account.code == _QUOTA else "put the key right"
    waiting = f"{records:,} records of {count:,} {'job' if count == 1 else 'jobs'}"
    safe = f"{waiting} wait; none is marked failed, nothing is charged for being refused"
    return NeedsYou(
        cause="gate",
        subject=f"provider:{name}",
        headline=f"{name} is stopped: {account.reason or 'it refuses us'}",
        code=account.code or "ORC3101",
        safe=safe,
        next=f"{mend}, then: orchestrator resume provider:{name}",
        since=account.since,
    )


def _cloned(db: Connection) -> Iterator[NeedsYou]:
    for name in stopped_by_a_copy(db):
        lives_on = "a copy that lives on: orchestrator recover --new-identity"
        yield NeedsYou(
            cause="cloned",
            subject=f"provider:{name}",
            headline=f"nothing is sent to {name}: another copy of this registry is at work",
            code=CLONED,
            safe="what is on its way is still collected; no record is asked by both from now on",
            next=f"stop the other copy, then: orchestrator resume provider:{name}   ({lives_on})",
        )


def stopped_by_a_copy(db: Connection) -> list[str]:
    """Return the providers that nothing is sent to, as a copy of this registry is at work there."""
    foreign = {stray.provider for stray in strays.everyone(db, verdicts=(StrayVerdict.FOREIGN,))}
    return [
        account.provider
        for account in accounts.everyone(db)
        if account.paused and (account.code == CLONED or account.provider in foreign)
    ]


def _strays(db: Connection) -> Iterator[NeedsYou]:
    """Yield what may hold records of a job: nothing new is planned for it until it is settled."""
    groups: dict[tuple[str, StrayVerdict], list[Stray]] = {}
    for stray in strays.everyone(db, verdicts=_HOLDING):
        groups.setdefault((stray.job_name, stray.verdict), []).append(stray)
    for (job_name, verdict), found in sorted(groups.items()):
        yield _stray(db, job_name, verdict, found)


def _stray(db: Connection, job_name: str, verdict: StrayVerdict, found: list[Stray]) -> NeedsYou:
    first = found[-1]
    some = "a batch" if len(found) == 1 else f"{len(found):,} batches"
    is_lost = verdict is StrayVerdict.LOST
    what = "that can't be read any more" if is_lost else "that no row has sent"
    waits = f"{first.provider} has {some} of {job_name} {what}"
    take = f"orchestrator adopt {first.remote_id}"
    then = f"{take} --forget   (its records are asked again)" if is_lost else take
    known = jobs.find(db, job_name) is not None
    return NeedsYou(
        cause="stray",
        subject=job_name,
        headline=f"{job_name} is held up: {waits}" if known else f"{waits}: {first.reason}",
        code="ORC5211" if is_lost else "ORC5210",
        safe="nothing more is sent for the job, so that no record is paid for twice",
        next=then if known or is_lost else f"submit {job_name} again, or: {take} --forget",
        since=min(stray.seen_at for stray in found),
    )


def _held_stages(db: Connection) -> Iterator[NeedsYou]:
    for stage in stages.held(db):
        behind = ", ".join(held_up_by(db, stage.name))
        held_up = f"; it holds up {behind}" if behind else ""
        rows = f"{stage.rows:,} records of it are registered and go on" if stage.rows else ""
        yield NeedsYou(
            cause="stage",
            subject=stage.name,
            headline=f"stage {stage.name} of {stage.workflow} is held: {stage.reason}{held_up}",
            code=stage.code or "ORC9001",
            safe=rows or f"the outcomes of {stage.upstream} stay; nothing of the stage was sent",
            next=f"orchestrator resume {stage.name}   (first: orchestrator explain {stage.name})",
            since=stage.due_at,
        )


def _extras(db: Connection, now: datetime) -> Iterator[NeedsYou]:
    found = strays.everyone(db, verdicts=(StrayVerdict.EXTRA,))
    found = [stray for stray in found if stray.seen_at >= now - _EXTRA_TOLD]
    if not found:
        return
    first = found[0]
    which = (
        first.remote_id if len(found) == 1 else f"{len(found):,} batches, such as {first.remote_id}"
    )
    yield NeedsYou(
        cause="extra",
        subject=first.job_name or f"provider:{first.provider}",
        headline=f"{first.provider} had {which}, that nobody needs: {first.reason}",
        code="ORC5212",
        safe="no outcome is changed by it; what it had done before it was cancelled is billed",
        next="orchestrator adopt --list   (told for a day)",
        since=min(stray.seen_at for stray in found),
    )


def _held(job: Job) -> NeedsYou:
    return NeedsYou(
        cause="canary" if job.hold_code == CANARY else "held",
        subject=job.name,
        headline=f"{job.name} is held: {job.hold_reason}",
        code=job.hold_code or "",
        safe=f"{job.books.waiting:,} records wait; none is marked failed, nothing more is paid",
        next=f"{way_on(job)}   (first: orchestrator explain {job.name})",
        since=job.held_since,
    )


def _unbalanced(job: Job) -> NeedsYou:
    books = job.books
    return NeedsYou(
        cause="books",
        subject=job.name,
        headline=(
            f"the books of {job.name} do not add up: {books.records:,} records,"
            f" {books.recorded + books.open:,} counted"
        ),
        code="ORC5001",
        safe="answers and failures stay as they are recorded",
        next=f"orchestrator verify {job.name}",
    )


def _parked(db: Connection) -> Iterator[NeedsYou]:
    found = reports.parked_groups(db)
    names = jobs.names(db, list({job_id for job_id, *_ in found}))
    for job_id, code, reason, count, size, since in found:
        name = names[job_id]
        what = "a batch" if count == 1 else f"{count:,} batches"
        yield NeedsYou(
            cause="parked",
            subject=name,
            headline=f"{what} of {name} {'is' if count == 1 else 'are'} parked: {reason}",
            code=code,
            safe=f"{size:,} records stay in it, with no outcome yet; the rest of the job goes on",
            next=f"orchestrator resume {name}   (first: orchestrator explain {name})",
            since=since,
        )


def _held_sinks(db: Connection) -> Iterator[NeedsYou]:
    found = deliveries.held(db)
    names = jobs.names(db, list({delivery.job_id for delivery in found}))
    for delivery in found:
        name = names[delivery.job_id]
        yield NeedsYou(
            cause="sink",
            subject=name,
            headline=f"outcomes of {name} do not get to {delivery.name}: {delivery.reason}",
            code=delivery.code or "ORC6020",
            safe=f"every outcome is in the registry; the sink has {delivery.rows:,} of them",
            next=f"mend the sink, then: orchestrator resume {name}",
            since=delivery.due_at,
        )


def _cut_off(active: list[Job], now: datetime) -> Iterator[NeedsYou]:
    for job in active:
        if job.state is JobState.REGISTERING and now - job.created_at >= CUT_OFF_AFTER:
            yield NeedsYou(
                cause="registering",
                subject=job.name,
                headline=(
                    f"{job.name} is not registered whole: {job.books.records:,} records so far"
                ),
                code="ORC5002",
                safe="nothing of it was sent; what is registered is kept",
                next="give the same submit command again, it goes on where it stopped",
                since=job.created_at,
            )


def _overdue(db: Connection, now: datetime) -> Iterator[NeedsYou]:
    found = reports.overdue(db, now)
    names = jobs.names(db, list({batch.job_id for batch in found}))
    for job_id, name in names.items():
        yield _late([batch for batch in found if batch.job_id == job_id], name)


def _late(late: list[Batch], name: str) -> NeedsYou:
    first = late[0]
    subject = f"{name}/{first.label}"
    which = f"{subject} is" if len(late) == 1 else f"{len(late):,} batches of {name} are"
    return NeedsYou(
        cause="overdue",
        subject=subject,
        headline=f'{which} past the deadline: {first.provider} still says "{first.remote_word}"',
        code="ORC5003",
        safe="they are asked to cancel; answers that are done are collected, the rest goes again",
        next=f"orchestrator explain {subject}",
        since=min((batch.deadline_at for batch in late if batch.deadline_at), default=None),
    )
