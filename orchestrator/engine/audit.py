"""Audit: every remote batch under our name has its row, or an incident that says why not.

The list is read at the start of each process before anything is sent, after each unanswered create
and hourly. A registry that lost its latest commits, an old backup that was put back, a proxy that
repeated a POST, a copy of the registry at work elsewhere: all show as remote batches that no row
has sent. Batches of others in the same organisation carry no token of ours and are never touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from orchestrator.domain.auditing import CLONED, Finding
from orchestrator.domain.errors import (
    ClaimLost,
    ProviderError,
    RejectedError,
    UnavailableError,
)
from orchestrator.domain.model import Account, Stray, StrayVerdict
from orchestrator.domain.pacing import seconds
from orchestrator.domain.remote import RemoteBatch
from orchestrator.engine.context import Context, Told
from orchestrator.engine.extras import cancel_extra, stray_of
from orchestrator.engine.ours import Seen, is_ours, ours_at, token_of
from orchestrator.engine.recovery import take_in, take_in_forgotten, take_in_late
from orchestrator.engine.steps.find import SKEW
from orchestrator.provider.port import Provider
from orchestrator.registry import accounts, batches, events, jobs, strays, workers

_ORPHAN_AGE = 86_400.0
"""Seconds after which an input file of ours that no batch needs is removed."""


def audit_is_due(ctx: Context, account: Account, *, at_work: bool) -> bool:
    """Whether the account is to be looked over: hourly, and once in a process that has work."""
    now = ctx.now()
    if ctx.audits.next_try(account.provider, now) > now:
        return False
    if at_work and not ctx.audits.through(account.provider):
        return True
    return account.audit_due_at is None or account.audit_due_at <= now


def audit_horizon(account: Account, oldest: datetime | None) -> float:
    """Return, in Unix seconds, how far back the list is read: 0 is all of it.

    Up to the last audit every remote batch is known to have its row.
    """
    if account.audited_at is None:
        return 0.0
    return min(account.audited_at, oldest or account.audited_at).timestamp() - SKEW


def audit(
    ctx: Context, account: Account, provider: Provider, listed: Sequence[RemoteBatch]
) -> None:
    """Give every listed batch of ours that has no row one, or keep why it has none."""
    examine_all(ctx, provider, listed)
    take_in_late(ctx, provider)
    # Left-over files cost no money: a server that can't list them is no reason to send nothing.
    with contextlib.suppress(UnavailableError, RejectedError):
        _remove_orphans(ctx, provider, listed)
    _sweep_spool(ctx)
    now = ctx.now()

    def work(db: Connection) -> None:
        due_at = now + seconds(ctx.pace.audit_seconds)
        accounts.change(db, account.provider, audited_at=now, audit_due_at=due_at)

    ctx.registry.write(work)
    ctx.audits.done(account.provider, now)


def examine_all(ctx: Context, provider: Provider, listed: Sequence[RemoteBatch]) -> None:
    """Hold the listed batches that are ours against their rows."""
    for seen in ours_at(ctx.registry, provider, ctx.instance, listed):
        if not is_ours(seen.remote, ctx.instance):
            continue
        try:
            _settle(ctx, provider, seen)
        except ClaimLost:
            continue  # somebody moves the batch right now: the next audit sees it anew


def _settle(ctx: Context, provider: Provider, seen: Seen) -> None:
    if seen.row is None:
        _settle_stray(ctx, provider, seen.remote)
    elif seen.finding is Finding.FORGOTTEN:
        take_in_forgotten(ctx, provider, seen.remote, seen.row)
    elif seen.finding is Finding.EXTRA:
        cancel_extra(ctx, provider, seen.row, seen.remote)


def _settle_stray(ctx: Context, provider: Provider, remote: RemoteBatch) -> None:
    boot = remote.metadata.get("orc_boot", "")
    with ctx.registry.read() as db:
        before = strays.find(db, remote.id)
        sent_here = bool(workers.boots(db, [boot]))
    if before is not None and before.verdict is not StrayVerdict.WAITING:
        return
    if not sent_here and ctx.audits.came_later(provider.name, remote.created_at, SKEW):
        _stop(ctx, provider, remote)
        return
    try:
        stray = take_in(ctx, provider, remote)
    except ProviderError as error:
        stray = stray_of(ctx, provider, remote, StrayVerdict.WAITING, error.message)
    ctx.registry.write(lambda db: _keep(ctx, db, stray, before))


def _keep(ctx: Context, db: Connection, stray: Stray, before: Stray | None) -> None:
    """Keep what became of a stray; an event when that is new."""
    strays.keep(db, stray)
    if before is None or before.verdict is not stray.verdict:
        events.record(
            db,
            "stray_found",
            at=ctx.now(),
            actor=ctx.actor,
            provider=stray.provider,
            batch_id=stray.batch_id,
            data={
                "remote_id": stray.remote_id,
                "verdict": stray.verdict,
                "job": stray.job_name,
                "reason": stray.reason,
            },
        )


def _stop(ctx: Context, provider: Provider, remote: RemoteBatch) -> None:
    """Send nothing any more: a copy of this registry is at work under the same identity."""
    reason = f"another copy of this registry sends batches under its name: {remote.id}"
    stray = stray_of(ctx, provider, remote, StrayVerdict.FOREIGN, reason)

    def work(db: Connection) -> None:
        accounts.change(db, provider.name, paused=True, code=CLONED, reason=reason)
        _keep(ctx, db, stray, None)

    ctx.registry.write(work)
    ctx.tell(Told(kind="cloned", provider=provider.name, facts={"remote_id": remote.id}))


def _remove_orphans(ctx: Context, provider: Provider, listed: Sequence[RemoteBatch]) -> None:
    """Delete old input files of ours that no batch needs: uploads that arrived too late."""
    if not provider.profile.quirks.list_files:
        return
    before = ctx.now().timestamp() - _ORPHAN_AGE
    found: dict[str, str] = {}
    for file in provider.list_files():
        token = token_of(file, ctx.instance)
        if token is not None and file.created_at is not None and file.created_at < before:
            found[file.id] = token
    if not found:
        return
    in_use = {remote.input_file_id for remote in listed if not remote.status.terminal}
    with ctx.registry.read() as db:
        needed = batches.tokens(db, list(found.values()))
        needed |= _kept(ctx, db, provider, list(found.values()))
        needed |= {stray.token for stray in strays.everyone(db, verdicts=strays.OPEN)}
    for file_id, token in found.items():
        if token not in needed and file_id not in in_use:
            provider.delete_file(file_id)
            ctx.tell(Told(kind="orphan_removed", provider=provider.name, facts={"file": file_id}))


def _kept(ctx: Context, db: Connection, provider: Provider, tokens: Sequence[str]) -> set[str]:
    """Return the tokens of batches whose job leaves its files at the provider for good."""
    rows = batches.known(db, provider.name, remote_ids=[], tokens=tokens)
    specs = {job_id: ctx.spec_of(jobs.get(db, job_id)) for job_id in {row.job_id for row in rows}}
    return {row.token for row in rows if not specs[row.job_id].policy.delete_remote_files}


def _sweep_spool(ctx: Context) -> None:
    """Drop files of closed batches: another worker closed them, and could not reach this disk."""
    here = ctx.spool.batch_files()
    with ctx.registry.read() as db:
        kept = batches.unclosed(db, list(here))
    for batch_id, paths in here.items():
        if batch_id not in kept:
            ctx.spool.drop(*paths)
