"""Jobs and batches as people and programs see them, from kept counters alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.api.sink_views import SinkView, sink_view
from orchestrator.api.stage_views import stage_views
from orchestrator.domain.budget import budget_of
from orchestrator.domain.charging import priced_anew
from orchestrator.domain.cost import actual
from orchestrator.domain.holds import is_held
from orchestrator.domain.model import Account, Batch, BatchState, Books, Job, JobState
from orchestrator.domain.money import Money
from orchestrator.domain.progress import (
    ENDED,
    ON_ITS_WAY,
    BatchGroup,
    Costs,
    DayPrices,
    Finish,
    Open,
    Prices,
    costs,
    finish,
    ledger_costs,
    no_day_prices,
    no_prices,
    pace,
    split_open,
)
from orchestrator.domain.spec import Canary, read_guards
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.domain.waiting import WaitsFor, batch_waits_for, is_put_off, job_waits_for
from orchestrator.registry import (
    accounts,
    batches,
    charges,
    deliveries,
    jobs,
    reports,
    stages,
    workers,
)
from orchestrator.registry.session import Registry


@dataclass(frozen=True, kw_only=True, repr=False)
class JobView:
    """One job: its books, what is open, what it waits for, when it may end, what it costs.

    `batches` counts by state. Money is None where it is unknown. `as_of` is the time of the look,
    `looked_at` that of the latest word from the provider.
    """

    job: Job
    as_of: datetime
    open: Open
    batches: dict[str, int]
    models: tuple[str, ...]
    odd: int
    looked_at: datetime | None
    waits_for: WaitsFor
    pace: float | None
    finish: Finish | None
    costs: Costs
    sinks: tuple[SinkView, ...] = ()
    budget: Money | None = None
    canary: Canary | None = None

    def __repr__(self) -> str:
        """Return one line, without what is asked."""
        books = self.books
        return f"<JobView {self.job.name!r} {self.state} {books.recorded:,}/{books.records:,}>"

    @property
    def books(self) -> Books:
        """The counts that must add up."""
        return self.job.books

    @property
    def state(self) -> str:
        """The state as shown: `held` for a running job whose provider may not be called."""
        return self.waits_for.state

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form: integers, seconds, times, money as amount and currency."""
        job, books = self.job, self.books
        return {
            "job": job.name,
            "state": self.state,
            "provider": job.provider,
            "models": list(self.models),
            "records": books.records,
            "succeeded": books.succeeded,
            "failed": books.failed,
            "expired": books.expired,
            "cancelled": books.cancelled,
            "open": books.open,
            "recorded": books.recorded,
            "open_parts": {
                "reported": self.open.reported,
                "in_flight": self.open.in_flight,
                "waiting": self.open.waiting,
                "again": self.open.again,
            },
            "books_balanced": books.balanced,
            "shared": job.shared,
            "cached": job.cached,
            "batches": self.batches,
            "sinks": [sink.to_dict() for sink in self.sinks],
            "odd_lines": self.odd,
            "waits_for": waits_dict(self.waits_for),
            "pace_per_hour": None if self.pace is None else round(self.pace, 1),
            "finish": None if self.finish is None else finish_dict(self.finish),
            "tokens": {"in": job.tokens_in, "out": job.tokens_out, "cached": job.tokens_cached},
            "cost": money_dict(self.costs.so_far),
            "estimated_cost": money_dict(self.costs.estimated),
            "saved": money_dict(self.costs.saved),
            "wasted": money_dict(self.costs.wasted),
            "unpriced": self.costs.unpriced,
            "budget": money_dict(self.budget),
            "canary": _canary_dict(self.canary, job),
            "held": _held_dict(job),
            "submitted_at": job.created_at,
            "finished_at": job.finished_at,
            "reported_at": self.looked_at,
        }


def _canary_dict(canary: Canary | None, job: Job) -> dict[str, object] | None:
    if canary is None:
        return None
    require = list(canary.require)
    return {"records": canary.records, "require": require, "state": job.canary or "out"}


def _held_dict(job: Job) -> dict[str, object] | None:
    if not is_held(job):
        return None
    return {"code": job.hold_code, "reason": job.hold_reason, "since": job.held_since}


_AT_PROVIDER = frozenset({"live", "remote_done", "collected", "creating", "create_unknown"})


def at_rest(view: JobView) -> bool:
    """Whether the job has ended and its sinks are served, or nothing moves without a person."""
    if not view.books.balanced:
        return True
    if view.job.state in JOB_FINAL:
        # A sink that fails is tried again for hours: nobody is kept waiting for it.
        return not any(sink.state in {"waiting", "running"} for sink in view.sinks)
    if view.job.state is JobState.REGISTERING or view.waits_for.who != "you":
        return False
    # A stopped provider still finishes what it has: that is collected before anybody is called.
    return not _AT_PROVIDER.intersection(view.batches)


@dataclass(frozen=True, kw_only=True, repr=False)
class BatchView:
    """One batch with its job and what it waits for."""

    job: Job
    batch: Batch
    waits_for: WaitsFor
    cost: Money | None = None

    def __repr__(self) -> str:
        """Return one line, without what is asked."""
        return f"<BatchView {self.name!r} {self.batch.state} {self.batch.requests:,} requests>"

    @property
    def name(self) -> str:
        """The name as users type it: `JOB/b07`."""
        return f"{self.job.name}/{self.batch.label}"

    @property
    def reported(self) -> int:
        """How many of its requests the provider counts as done."""
        return (self.batch.remote_completed or 0) + (self.batch.remote_failed or 0)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form of a line in a list."""
        batch = self.batch
        return {
            "batch": self.name,
            "job": self.job.name,
            "state": batch.state.value,
            "provider": batch.provider,
            "model": batch.model,
            "requests": batch.requests,
            "bytes": batch.bytes,
            "remote_id": batch.remote_id,
            "remote_status": batch.remote_word,
            "reported": self.reported,
            "recorded": batch.cursor,
            "succeeded": batch.succeeded,
            "failed": batch.failed,
            "missing": batch.missing,
            "odd_lines": batch.odd,
            "tokens": {
                "in": batch.tokens_in,
                "out": batch.tokens_out,
                "cached": batch.tokens_cached,
                "estimated_in": batch.est_in,
                "out_max": batch.est_out,
            },
            "cost": money_dict(self.cost),
            "waits_for": waits_dict(self.waits_for),
            "planned_at": batch.planned_at,
            "state_at": batch.state_at,
            "window_ends": batch.expires_at,
            "looked_at": batch.looked_at,
        }


def waits_dict(waits: WaitsFor) -> dict[str, object]:
    """Return the JSON form of what something waits for."""
    return {
        "who": waits.who,
        "words": waits.words,
        "since": waits.since,
        "until": waits.until,
        "next": waits.next,
    }


def finish_dict(expected: Finish) -> dict[str, object]:
    """Return the JSON form of when a job may end."""
    return {
        "earliest": expected.earliest,
        "latest": expected.latest,
        "how": expected.how,
        "first_window_ends": expected.first_window_ends,
    }


def money_dict(money: Money | None) -> dict[str, str] | None:
    """Return the JSON form of an amount, None for an unknown one."""
    return None if money is None else dict(money.to_dict())


def job_view(registry: Registry, job: Job, *, now: datetime, prices: Prices = no_prices) -> JobView:
    """Return the view of one job as it is now. `prices` tells what a model costs."""
    with registry.read() as db:
        return views_of(db, [jobs.get(db, job.id)], now=now, prices=prices)[0]


def views_of(
    db: Connection, found: Sequence[Job], *, now: datetime, prices: Prices = no_prices
) -> list[JobView]:
    """Return the views of some jobs, in the caller's transaction: a few queries for all."""
    groups = reports.groups(db, [job.id for job in found])
    known = {account.provider: account for account in accounts.everyone(db)}
    ledger = charges.of_jobs(db, [job.id for job in found])
    alive = len(workers.alive(db, now))
    served = deliveries.of_jobs(db, [job.id for job in found])
    history: dict[tuple[str, str], list[float]] = {}
    for group in (group for job in found if _runs(job) for group in groups[job.id]):
        key = (group.provider, group.model)
        if key not in history:
            history[key] = reports.turnarounds(db, *key)
    views = [
        _view(
            job,
            groups[job.id],
            known.get(job.provider),
            alive,
            history,
            now,
            prices,
            ledger[job.id],
            put_off=_put_off(db, job, groups[job.id]),
            sinks=[sink_view(job, each) for each in served.get(job.id, ())],
        )
        for job in found
    ]
    return [_as_fed(db, view) if view.job.growing else view for view in views]


def _as_fed(db: Connection, view: JobView) -> JobView:
    """Return the view of a job that grows: without an open record it waits for its stage."""
    stage = stages.of_job(db, view.job.id)
    if stage is None or view.books.open or view.waits_for.state != JobState.RUNNING:
        return view
    fed = stage_views(db, [stage])[0]
    waits = replace(view.waits_for, who=fed.who, words=fed.words, next=fed.next, since=None)
    return replace(view, waits_for=waits)


def _put_off(db: Connection, job: Job, groups: Sequence[BatchGroup]) -> Batch | None:
    """Return the batch whose last try failed, the next to be tried; asked only where one may be."""
    if not any(group.state in ON_ITS_WAY or group.state in ENDED for group in groups):
        return None
    failed = filter(is_put_off, batches.unfinished(db, job.id))
    return min(failed, key=lambda batch: batch.due_at, default=None)


def _runs(job: Job) -> bool:
    return job.state in {JobState.RUNNING, JobState.CANCELLING}


def _view(
    job: Job,
    groups: Sequence[BatchGroup],
    account: Account | None,
    alive: int,
    history: dict[tuple[str, str], list[float]],
    now: datetime,
    prices: Prices,
    charged: Sequence[charges.Row],
    put_off: Batch | None,
    sinks: Sequence[SinkView] = (),
) -> JobView:
    used = {(group.provider, group.model) for group in groups}
    took = [seconds for key in used for seconds in history.get(key, ())]
    by_state: dict[str, int] = {}
    for group in groups:
        by_state[group.state.value] = by_state.get(group.state.value, 0) + group.batches
    looks = [group.looked_at for group in groups if group.looked_at is not None]
    return JobView(
        job=job,
        as_of=now,
        open=split_open(job.books, groups),
        batches=by_state,
        models=tuple(sorted({model for _, model in used})),
        odd=sum(group.odd for group in groups),
        looked_at=max(looks, default=None),
        waits_for=job_waits_for(job, groups, account, now=now, workers=alive, put_off=put_off),
        pace=pace(job.books, job.created_at, job.finished_at or now),
        finish=finish(job.books, groups, took, now) if _runs(job) else None,
        sinks=tuple(sinks),
        costs=_costs(job, used, charged, prices),
        budget=budget_of(job),
        canary=read_guards(job.spec).canary,
    )


def _costs(
    job: Job, used: set[tuple[str, str]], charged: Sequence[charges.Row], prices: Prices
) -> Costs:
    if not charged:
        return costs(job, used, prices)
    known = [priced_anew(row.charge, prices(row.provider, row.model)) for row in charged]
    return ledger_costs(job, known)


def batch_view(
    registry: Registry, job: Job, batch: Batch, *, now: datetime, prices: DayPrices = no_day_prices
) -> BatchView:
    """Return the view of one batch as it was read."""
    with registry.read() as db:
        return batch_views(db, [batch], now=now, owners={job.id: job}, prices=prices)[0]


def batch_views(
    db: Connection,
    found: Iterable[Batch],
    *,
    now: datetime,
    owners: dict[int, Job] | None = None,
    prices: DayPrices = no_day_prices,
) -> list[BatchView]:
    """Return the views of some batches, in the caller's transaction."""
    known = {account.provider: account for account in accounts.everyone(db)}
    alive = len(workers.alive(db, now))
    owners = dict(owners or {})
    views = []
    for batch in found:
        if batch.job_id not in owners:
            owners[batch.job_id] = jobs.get(db, batch.job_id)
        job = owners[batch.job_id]
        waits = batch_waits_for(batch, job, known.get(batch.provider), now=now, workers=alive)
        price = prices(batch.provider, batch.model, batch.state_at.date())
        tokens = (batch.tokens_in, batch.tokens_out, batch.tokens_cached)
        paid = actual(*tokens, price) if any(tokens) else None
        views.append(BatchView(job=job, batch=batch, waits_for=waits, cost=paid))
    return views


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What is under way in the whole registry."""

    as_of: datetime
    daemons: int
    workers: int
    jobs: tuple[JobView, ...]
    more_jobs: int
    batches_in_flight: int


def fleet(
    registry: Registry,
    *,
    now: datetime,
    limit: int = 20,
    ended: int = 5,
    prices: Prices = no_prices,
) -> Fleet:
    """Return the jobs that are under way, newest first, and the latest that have ended.

    At most `limit` of the first and `ended` of the second; `more_jobs` counts the ones left out.
    """
    with registry.read() as db:
        active = jobs.active(db)[::-1]
        recent = [job for job in jobs.page(db, newest=True, limit=50) if job.state in JOB_FINAL]
        shown = [*active[:limit], *recent[::-1][:ended]]
        views = views_of(db, shown, now=now, prices=prices)
        alive = workers.alive(db, now)
    settled = {BatchState.RECONCILED, BatchState.SUPERSEDED, BatchState.CLOSED, BatchState.PARKED}
    moving = sum(n for view in views for state, n in view.batches.items() if state not in settled)
    return Fleet(
        as_of=now,
        daemons=sum(kind == "daemon" for kind, *_ in alive),
        workers=len(alive),
        jobs=tuple(views),
        more_jobs=max(0, len(active) - limit),
        batches_in_flight=moving,
    )
