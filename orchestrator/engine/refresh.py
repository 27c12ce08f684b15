"""Refresh works per provider: one list call a page tells of many batches at once.

A batch that the list does not show, or that has not moved for long, is asked for by its id: some
servers advance a batch only when it is asked for, some list other ids than they hand out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from orchestrator.domain.errors import (
    ClaimLost,
    OrchestratorError,
    ProviderError,
    RegistryError,
)
from orchestrator.domain.model import Account, Batch
from orchestrator.domain.pacing import next_look, seconds
from orchestrator.domain.remote import RemoteBatch
from orchestrator.engine.audit import audit, audit_horizon, audit_is_due
from orchestrator.engine.context import Context, Told
from orchestrator.engine.gates import opened
from orchestrator.engine.steps.find import OLDER_IN_A_ROW, SKEW
from orchestrator.engine.steps.follow import ask_of, observe
from orchestrator.engine.steps.refusals import note_refusal, reason_of, retry_at
from orchestrator.provider.port import Provider
from orchestrator.registry import accounts, batches

_ASKED_AT_ONCE = 20


def refresh(ctx: Context, account: Account) -> int:
    """Look at every live batch of an account; return how many were seen."""
    now = ctx.now()
    with ctx.registry.read() as db:
        live = batches.live(db, account.provider)
        oldest = batches.oldest_unsettled(db, account.provider)
    auditing = audit_is_due(ctx, account, at_work=True)
    if not live and not auditing:
        _next_at(ctx, account, now + seconds(ctx.pace.poll_max))
        return 0
    try:
        provider = ctx.provider_of(live[0]) if live else ctx.providers.get(account.provider)
        horizon = audit_horizon(account, oldest) if auditing else None
        listed, seen = _look(ctx, provider, [b for b in live if _is_its(provider, b)], horizon)
        if auditing:
            audit(ctx, account, provider, listed)
    except RegistryError:
        raise
    except OrchestratorError as error:  # a profile that can't be read stops its own account only
        _put_off(ctx, account, error)
        return 0
    opened(ctx, account)
    with ctx.registry.read() as db:
        left = batches.live(db, account.provider)
    soonest = min((next_look(b, now, ctx.pace) for b in left), default=None)
    next_at = soonest or now + seconds(ctx.pace.poll_max)
    _next_at(ctx, account, next_at, looked_at=now)
    return seen


def take(ctx: Context, account: Account) -> bool:
    """Claim this refresh: true for one worker only."""
    until = ctx.now() + seconds(ctx.pace.lease_seconds)
    return ctx.registry.write(lambda db: accounts.take_refresh(db, account, next_at=until))


def _is_its(provider: Provider, batch: Batch) -> bool:
    return batch.fingerprint is None or batch.fingerprint == provider.fingerprint


def _look(
    ctx: Context, provider: Provider, live: Sequence[Batch], horizon: float | None
) -> tuple[list[RemoteBatch], int]:
    """Observe every live batch; return what was listed, and how many were seen.

    The list is read as far back as the oldest live batch, or `horizon` if that is further.
    """
    waiting = {batch.remote_id: batch for batch in live}
    listed: list[RemoteBatch] = []
    seen = 0
    if provider.profile.quirks.list_batches and (live or horizon is not None):
        listed = _listed(provider, live, horizon)
    for remote in listed:
        batch = waiting.get(remote.id)
        if batch is not None and not _is_stale(ctx, batch, remote):
            del waiting[remote.id]
            seen += _observe(ctx, batch, remote)
    # Whoever was asked least recently is asked first, so that all get their turn.
    rest = sorted(waiting.values(), key=lambda b: (b.looked_at or b.state_at, b.id))
    for batch in rest[:_ASKED_AT_ONCE]:
        seen += _ask(ctx, provider, batch)
    return listed, seen


def _listed(provider: Provider, live: Sequence[Batch], horizon: float | None) -> list[RemoteBatch]:
    """Return the listed batches, down to those clearly older than what is looked for."""
    began = [(b.remote_created_at or b.state_at).timestamp() - SKEW for b in live]
    horizon = min([*began, *([] if horizon is None else [horizon])])
    found: list[RemoteBatch] = []
    older = 0
    for remote in provider.list_batches():
        found.append(remote)
        older = older + 1 if (remote.created_at or horizon) < horizon else 0
        if older >= OLDER_IN_A_ROW or len(found) > OLDER_IN_A_ROW * 100:
            break
    return found


def _is_stale(ctx: Context, batch: Batch, remote: RemoteBatch) -> bool:
    """Whether a batch has shown the same for so long that it is worth a question of its own."""
    if remote.status.terminal or remote.word != batch.remote_word:
        return False
    since = batch.changed_at or batch.state_at
    return ctx.now() - since >= seconds(ctx.pace.stale_seconds)


def _observe(ctx: Context, batch: Batch, remote: RemoteBatch) -> int:
    try:
        observe(ctx, batch, remote)
    except ClaimLost:
        return 0  # somebody has moved it since it was read: the next look sees it anew
    return 1


def _ask(ctx: Context, provider: Provider, batch: Batch) -> int:
    try:
        ask_of(ctx, provider, batch)
    except ClaimLost:
        return 0
    return 1


def _next_at(
    ctx: Context, account: Account, when: datetime, *, looked_at: datetime | None = None
) -> None:
    seen = {"refreshed_at": looked_at} if looked_at else {}
    ctx.registry.write(
        lambda db: accounts.change(db, account.provider, refresh_due_at=when, **seen)
    )


def _put_off(ctx: Context, account: Account, error: OrchestratorError) -> None:
    """Keep every state: a failure to ask is no failure of the work."""
    tries = account.strikes + 1
    until, reason = ctx.now() + ctx.back_off(tries), error.message
    if isinstance(error, ProviderError):
        until, reason = retry_at(ctx, error, tries), reason_of(error)
        note_refusal(ctx, account.provider, error, until)
    ctx.audits.put_off(account.provider, until)
    values = {"refresh_due_at": until, "strikes": tries, "reason": reason}
    ctx.registry.write(lambda db: accounts.change(db, account.provider, **values))
    ctx.tell(Told(kind="poll_failed", provider=account.provider, error=error))
