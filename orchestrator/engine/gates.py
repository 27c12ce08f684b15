"""Gates: whether an account may be called now, and what a success changes."""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.model import Account, Gate
from orchestrator.engine.context import Context, Told
from orchestrator.registry import accounts


def account_of(ctx: Context, provider: str) -> Account:
    """Return the account of a provider, making its row at first use."""
    with ctx.registry.read() as db:
        found = accounts.find(db, provider)
    return found or ctx.registry.write(lambda db: accounts.ensure(db, provider, ctx.now()))


def opened(ctx: Context, account: Account) -> None:
    """Open the gate of an account that answered as it should."""
    if account.gate is Gate.OPEN and not account.strikes:
        return
    now = ctx.now()

    def work(db: Connection) -> None:
        accounts.set_gate(db, account, Gate.OPEN, now=now, actor=ctx.actor)

    ctx.registry.write(work)
    ctx.tell(Told(kind="gate", provider=account.provider, facts={"gate": Gate.OPEN.value}))
