"""One pass that finds what is due and takes its next step. Daemon and one-shot drive the same.

A step that fails needs no recovery mode: the next tick reads the state and knows what may have
happened. The loop ends when nothing is due any more, or when it is told to stop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Self

from sqlalchemy import Connection

from orchestrator.domain.decide import CALLS, SENDS, Rest, Step, Wait, gate_allows, next_step
from orchestrator.domain.errors import (
    ClaimLost,
    OrchestratorError,
    ProviderError,
    RegistryError,
)
from orchestrator.domain.model import Batch, BatchState, Job, JobState
from orchestrator.domain.pacing import furthest, seconds
from orchestrator.engine.audit import audit_is_due
from orchestrator.engine.context import Context, Told
from orchestrator.engine.delivering import serve_sinks
from orchestrator.engine.feeding import serve_stages
from orchestrator.engine.gates import account_of, opened
from orchestrator.engine.refresh import refresh, take
from orchestrator.engine.room import is_crowded
from orchestrator.engine.steps.adopt import adopt, give_up, renew, revoke
from orchestrator.engine.steps.build import build
from orchestrator.engine.steps.clean_up import clean_up
from orchestrator.engine.steps.collect import collect
from orchestrator.engine.steps.create import create
from orchestrator.engine.steps.follow import ask, cancel, lost
from orchestrator.engine.steps.prepare import prepare
from orchestrator.engine.steps.reconcile import reconcile
from orchestrator.engine.steps.refusals import note_refusal, retry_at
from orchestrator.engine.steps.upload import find_upload, upload
from orchestrator.engine.steps.withdraw import withdraw
from orchestrator.registry import accounts, batches, deliveries, jobs, stages

STEPS: Mapping[Step, Callable[[Context, Batch, Job], Batch]] = {
    Step.BUILD: build,
    Step.UPLOAD: upload,
    Step.FIND_UPLOAD: find_upload,
    Step.CREATE: create,
    Step.ADOPT: adopt,
    Step.REVOKE: revoke,
    Step.RENEW: renew,
    Step.GIVE_UP: give_up,
    Step.CANCEL: cancel,
    Step.ASK: ask,
    Step.LOST: lost,
    Step.COLLECT: collect,
    Step.RECONCILE: reconcile,
    Step.CLEAN_UP: clean_up,
    Step.WITHDRAW: withdraw,
}


_HEAVY = frozenset({Step.BUILD, Step.RECONCILE})
"""Steps that are all CPU and hold much of a batch in memory: one at a time, in one thread, since
the memory that a thread has once had is not shared with the others."""


class _Pools:
    """The threads of one tick: several for transfers, one for heavy steps.

    With one transfer at a time there are none: everything happens in the calling thread, in order.
    """

    def __init__(self, transfers: int) -> None:
        self._one = transfers == 1
        self.transfers = ThreadPoolExecutor(transfers, thread_name_prefix="step")
        self.heavy = ThreadPoolExecutor(1, thread_name_prefix="heavy")

    def alone(self, step: Callable[[], Batch]) -> Batch:
        """Take a heavy step, one at a time."""
        return step() if self._one else self.heavy.submit(step).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.transfers.shutdown()
        self.heavy.shutdown()


@dataclass(slots=True)
class Report:
    """What a tick did. `next_at`: when the next one is useful; None when nothing is open."""

    planned: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    seen: int = 0
    put_off: int = 0
    delivered: int = 0
    fed: int = 0
    next_at: datetime | None = None

    def count(self, step: Step) -> None:
        """Count one step taken."""
        self.steps[step.value] = self.steps.get(step.value, 0) + 1

    @property
    def idle(self) -> bool:
        """Whether nothing was due."""
        moved = self.planned or self.steps or self.seen or self.put_off
        return not (moved or self.delivered or self.fed)


def tick(ctx: Context, *, job_id: int | None = None) -> Report:
    """Do everything that is due, once; for one job only, if `job_id` is given."""
    report = Report()
    lost: list[int] = []
    lost_sinks: list[int] = []
    unfed: list[int] = []
    _clamp(ctx)
    with _Pools(ctx.transfers) as pools:
        while not ctx.stopping() and ctx.holds_lease():
            _refresh_accounts(ctx, report)
            fed = serve_stages(ctx, unfed) if job_id is None else 0
            report.fed += fed
            moved = fed + _plan_jobs(ctx, report, job_id)
            claimed = ctx.registry.write(partial(_claim, ctx, lost, job_id))
            lost += _work_on_all(ctx, claimed, report, pools)
            delivered = serve_sinks(ctx, lost_sinks, job_id)
            report.delivered += delivered
            if not moved and not claimed and not delivered:
                break
    report.next_at = next_useful(ctx)
    return report


_TIMED = (jobs, batches, accounts, deliveries, stages)
"""What has due times."""


def _clamp(ctx: Context) -> None:
    """Bring due times back that a clock has left in the future before it was put right."""
    now = ctx.now()
    latest = furthest(ctx.pace, now)
    with ctx.registry.read() as db:
        times = [table.furthest_due(db) for table in _TIMED]
    if max((time for time in times if time is not None), default=now) <= latest:
        return

    def work(db: Connection) -> None:
        for table in _TIMED:
            table.clamp(db, now, latest)

    ctx.registry.write(work)


def _claim(ctx: Context, lost: Sequence[int], job_id: int | None, db: Connection) -> list[Batch]:
    return batches.claim(
        db,
        worker=ctx.worker,
        now=ctx.now(),
        limit=ctx.transfers * 4,
        busy=lost,
        job_id=job_id,
    )


def next_useful(ctx: Context) -> datetime | None:
    """Return when the next tick finds something to do; None when nothing is open."""
    with ctx.registry.read() as db:
        times = [
            jobs.next_due(db),
            batches.next_due(db, worker=ctx.worker, now=ctx.now()),
            deliveries.next_due(db, worker=ctx.worker, now=ctx.now()),
            stages.next_due(db, worker=ctx.worker, now=ctx.now()),
        ]
        if any(batches.has_live(db, name) for name in ctx.providers.names()):
            times.append(accounts.next_refresh(db, ctx.providers.names()))
    return min((time for time in times if time is not None), default=None)


def _plan_jobs(ctx: Context, report: Report, job_id: int | None) -> int:
    with ctx.registry.read() as db:
        due = jobs.due(db, ctx.now(), job_id=job_id)
    planned = 0
    for job in due:
        if not ctx.audits.through(job.provider) and job.state is JobState.RUNNING:
            _job_at(ctx, job, _audited_by(ctx, job.provider))
            continue
        try:
            planned += prepare(ctx, job)
        except ProviderError as error:
            note_refusal(ctx, job.provider, error, retry_at(ctx, error, 1))
            _job_later(ctx, job, error)
        except ClaimLost:
            continue
        except RegistryError:
            raise
        except OrchestratorError as error:
            _job_later(ctx, job, error)
    report.planned += planned
    return planned


def _job_at(ctx: Context, job: Job, due_at: datetime) -> None:
    ctx.registry.write(lambda db: jobs.set_due(db, job.id, due_at))


def _audited_by(ctx: Context, provider: str) -> datetime:
    """Return when the account is likely to have been looked over."""
    now = ctx.now()
    return max(ctx.audits.next_try(provider, now), now + seconds(ctx.pace.poll_min))


def _job_later(ctx: Context, job: Job, error: OrchestratorError) -> None:
    _job_at(ctx, job, ctx.now() + seconds(ctx.pace.gate_probe))
    ctx.tell(Told(kind="put_off", job=job, error=error))


def _refresh_accounts(ctx: Context, report: Report) -> None:
    """Look at the accounts that are due; what that changes is claimed in this same pass."""
    with ctx.registry.read() as db:
        known = {account.provider: account for account in accounts.everyone(db)}
        busy = jobs.providers_at_work(db)
    now = ctx.now()
    for name in ctx.providers.names():
        if name not in known and name not in busy:
            continue
        account = known.get(name) or account_of(ctx, name)
        due = account.refresh_due_at <= now or audit_is_due(ctx, account, at_work=name in busy)
        if due and gate_allows(account, now) and take(ctx, account):
            report.seen += refresh(ctx, account)


@dataclass(slots=True)
class _Worked:
    """What became of one claimed batch."""

    batch_id: int
    steps: list[Step] = field(default_factory=list)
    put_off: bool = False
    lost: bool = False


def _work_on_all(
    ctx: Context, claimed: Sequence[Batch], report: Report, pools: _Pools
) -> list[int]:
    """Work on claimed batches, side by side; return the ids of those whose claim was lost."""
    if len(claimed) == 1 or ctx.transfers == 1:
        done = [_work_on(ctx, pools, batch) for batch in claimed]
    else:
        done = list(pools.transfers.map(partial(_work_on, ctx, pools), claimed))
    for worked in done:
        for step in worked.steps:
            report.count(step)
        report.put_off += worked.put_off
    return [worked.batch_id for worked in done if worked.lost]


def _work_on(ctx: Context, pools: _Pools, batch: Batch) -> _Worked:
    """Take the batch's next steps until it has to wait, and give the claim back."""
    worked = _Worked(batch.id)
    try:
        ctx.may_go_on()
        _take_steps(ctx, pools, batch, worked.steps)
    except ClaimLost as error:
        worked.lost = True
        ctx.tell(Told(kind="claim_lost", batch=batch, error=error))
    except RegistryError:
        raise
    except OrchestratorError as error:
        worked.put_off = True
        _put_off(ctx, batch, error)
    except Exception as exc:  # a bug met by one batch must not stop the others
        worked.put_off = True
        bug = OrchestratorError(f"{type(exc).__name__} in a step of batch {batch.label}")
        bug.__cause__ = exc
        _put_off(ctx, batch, bug)
    return worked


def _take_steps(ctx: Context, pools: _Pools, batch: Batch, taken: list[Step]) -> None:
    until = batch.due_at
    while until <= ctx.now() and not ctx.stopping():
        with ctx.registry.read() as db:
            job = jobs.get(db, batch.job_id)
        decision = _decide(ctx, batch, job)
        if isinstance(decision, Rest):
            break
        if isinstance(decision, Wait):
            until = decision.until
            continue
        step = partial(STEPS[decision], ctx, batch, job)
        batch = pools.alone(step) if decision in _HEAVY else step()
        taken.append(decision)
        until = batch.due_at
        if decision in CALLS and batch.reason is None:
            opened(ctx, account_of(ctx, batch.provider))
    ctx.registry.write(lambda db: batches.release(db, batch, due_at=until))


def _decide(ctx: Context, batch: Batch, job: Job) -> Step | Wait | Rest:
    """Return what the batch needs, or that its gate or a pause makes it wait."""
    now = ctx.now()
    withdrawn = job.state is JobState.CANCELLING
    decision = next_step(
        batch,
        now,
        ctx.pace,
        can_revoke=_can_revoke(ctx, batch),
        withdrawn=withdrawn,
        crowded=batch.state is BatchState.RECONCILED and _is_crowded(ctx, batch),
    )
    if not isinstance(decision, Step) or decision not in CALLS:
        return decision
    account = account_of(ctx, batch.provider)
    if not gate_allows(account, now):
        return Wait(account.until or now + seconds(ctx.pace.gate_probe), account.reason or "")
    if decision in SENDS and not ctx.audits.through(batch.provider):
        return Wait(_audited_by(ctx, batch.provider), "the account is looked over first")
    if decision in SENDS and (account.paused or job.state is JobState.PAUSED):
        return Wait(now + seconds(ctx.pace.cap), "paused")
    return decision


def _is_crowded(ctx: Context, batch: Batch) -> bool:
    with ctx.registry.read() as db:
        return is_crowded(db, batch.provider, ctx.providers.profile(batch.provider))


def _can_revoke(ctx: Context, batch: Batch) -> bool:
    revokes = ctx.providers.profile(batch.provider).quirks.delete_revokes_create
    return revokes in {"documented", "proved"}


def _put_off(ctx: Context, batch: Batch, error: OrchestratorError) -> None:
    """Keep the state and come back later: a failure to ask is no failure of the work."""
    tries = batch.tries + 1
    due_at = ctx.now() + ctx.back_off(tries)
    reason = error.message
    if isinstance(error, ProviderError):
        due_at = retry_at(ctx, error, tries)
        note_refusal(ctx, batch.provider, error, due_at)
        reason = f"{error.message}: {error.why}" if error.why else error.message
    ctx.registry.write(
        lambda db: batches.put_off(
            db, batch, due_at=due_at, reason=reason, code=error.code, tries=tries
        )
    )
    ctx.tell(Told(kind="put_off", batch=batch, error=error))
