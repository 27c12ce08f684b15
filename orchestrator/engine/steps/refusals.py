"""What a provider's no means for the account: its gate opens, slows or closes."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from orchestrator.domain.errors import AuthError, ProviderError, QuotaError, ThrottledError
from orchestrator.domain.model import Batch, Gate
from orchestrator.domain.pacing import seconds
from orchestrator.domain.transitions import CallRefusedForNow
from orchestrator.engine.context import Context, Told
from orchestrator.registry import accounts


def retry_at(ctx: Context, error: ProviderError, tries: int) -> datetime:
    """Say when to call again after `error`, as the provider told, else with back-off."""
    if error.retry_after is not None:
        return ctx.now() + seconds(min(error.retry_after, ctx.pace.gate_slow_max))
    return ctx.now() + ctx.back_off(tries)


def note_refusal(ctx: Context, provider: str, error: ProviderError, until: datetime) -> None:
    """Move the account's gate as `error` asks: closed for key and quota, slowed when throttled."""
    now = ctx.now()
    if isinstance(error, AuthError | QuotaError):
        gate, until = Gate.CLOSED, now + seconds(ctx.pace.gate_probe)
    elif isinstance(error, ThrottledError):
        gate = Gate.SLOWED
    else:
        return

    def work(db: Connection) -> None:
        account = accounts.ensure(db, provider, now)
        accounts.set_gate(
            db,
            account,
            gate,
            now=now,
            actor=ctx.actor,
            until=until,
            code=error.code,
            reason=reason_of(error),
        )

    ctx.registry.write(work)
    ctx.tell(Told(kind="gate", provider=provider, error=error, facts={"gate": gate.value}))


def refused_for_now(ctx: Context, batch: Batch, error: ProviderError) -> Batch:
    """Go back to before a call that certainly had no effect; nothing is burned."""
    tries = batch.tries + 1
    until = retry_at(ctx, error, tries)
    note_refusal(ctx, batch.provider, error, until)
    refused = CallRefusedForNow(reason=reason_of(error), code=error.code, tries=tries)
    return ctx.record(batch, refused, due_at=until)


def reason_of(error: ProviderError) -> str:
    """Return the headline with the provider's own words."""
    return f"{error.message}: {error.why}" if error.why else error.message
