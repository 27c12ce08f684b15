"""Accounts: one row a provider, its gate and its polling, shared by all workers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.engine import RowMapping

from orchestrator.domain.auditing import CLONED
from orchestrator.domain.model import Account, Gate
from orchestrator.registry import events
from orchestrator.registry.bulk import insert_once
from orchestrator.registry.tables import accounts

# Built once, as those of the other tables: building a statement takes longer than running it.
_EVERYONE = select(accounts).order_by(accounts.c.provider)
_ONE = select(accounts).where(accounts.c.provider == bindparam("the_provider"))
_LOCKED = _ONE.with_for_update()
_SOME = select(accounts).where(accounts.c.provider.in_(bindparam("providers", expanding=True)))
_TIMES = ("refresh_due_at", "audit_due_at", "until")
_FURTHEST = select(*(func.max(accounts.c[name]) for name in _TIMES))
_TAKE_REFRESH = (
    update(accounts)
    .where(
        accounts.c.provider == bindparam("the_provider"), accounts.c.epoch == bindparam("the_epoch")
    )
    .values(epoch=accounts.c.epoch + 1, refresh_due_at=bindparam("next_at"))
)
_LOOK_BY = (
    update(accounts)
    .where(
        accounts.c.provider == bindparam("the_provider"),
        accounts.c.refresh_due_at > bindparam("latest"),
    )
    .values(refresh_due_at=bindparam("latest"))
)


def _read(row: RowMapping) -> Account:
    return Account(**{**row, "gate": Gate(row["gate"])})


def find(db: Connection, provider: str) -> Account | None:
    """Return the account of a provider, if it was ever used."""
    row = db.execute(_ONE, {"the_provider": provider}).mappings().first()
    return _read(row) if row else None


def everyone(db: Connection) -> list[Account]:
    """Return every account, by name."""
    return [_read(row) for row in db.execute(_EVERYONE).mappings()]


def ensure(db: Connection, provider: str, now: datetime) -> Account:
    """Return the account of a provider, making its row at first use."""
    found = find(db, provider)
    if found is None:
        fresh = {"gate": Gate.OPEN, "paused": False, "refresh_due_at": now, "provider": provider}
        insert_once(db, accounts, "provider", fresh)
        found = find(db, provider)
    return found or Account(provider=provider, refresh_due_at=now)


def lock(db: Connection, provider: str, now: datetime) -> Account:
    """Return the account, locked until the transaction ends: what it may hold is counted alone."""
    ensure(db, provider, now)
    return _read(db.execute(_LOCKED, {"the_provider": provider}).mappings().one())


def take_turn(
    db: Connection, provider: str, *, now: datetime, interval: timedelta, patience: timedelta
) -> timedelta:
    """Reserve the next call of an account and return how long to wait for it.

    Calls stand `interval` apart, whoever makes them. A wait longer than `patience` is returned
    without a turn being taken. By the database's time, which all workers share.
    """
    account = lock(db, provider, now)
    clock = now if db.dialect.name == "sqlite" else db.execute(select(func.now())).scalar_one()
    turn = max(clock, account.next_call_at or clock)
    # A turn further away than any queue was taken by a clock that has been set back since.
    turn = clock if turn - clock > timedelta(hours=1) else turn
    if turn - clock <= patience:
        change(db, provider, next_call_at=turn + interval)
    return turn - clock


def audit_by(db: Connection, provider: str, when: datetime) -> None:
    """Have an account looked over for strays by `when` at the latest."""
    look_by(db, provider, when)
    db.execute(
        update(accounts)
        .where(accounts.c.provider == provider, accounts.c.audit_due_at > when)
        .values(audit_due_at=when)
    )


def change(db: Connection, provider: str, **values: Any) -> None:  # noqa: ANN401 - columns
    """Set columns of an account."""
    db.execute(update(accounts).where(accounts.c.provider == provider).values(**values))


def set_gate(
    db: Connection,
    account: Account,
    gate: Gate,
    *,
    now: datetime,
    actor: str,
    until: datetime | None = None,
    code: str | None = None,
    reason: str | None = None,
) -> None:
    """Open, slow or close a gate; a changed cause leaves an event."""
    if account.paused and account.code == CLONED:
        # It is stopped for that, whatever its gate says.
        code, reason = CLONED, account.reason
    since = account.since if account.gate is gate else now
    strikes = 0 if gate is Gate.OPEN else account.strikes + 1
    change(
        db,
        account.provider,
        gate=gate,
        until=until,
        code=code,
        reason=reason,
        since=None if gate is Gate.OPEN else since,
        strikes=strikes,
    )
    if account.gate is not gate or account.code != code:
        events.record(
            db,
            f"gate_{gate}",
            at=now,
            actor=actor,
            provider=account.provider,
            data={"reason": reason, "code": code, "until": until},
        )


def take_refresh(db: Connection, account: Account, *, next_at: datetime) -> bool:
    """Claim one refresh of an account: true for exactly one worker an interval."""
    mine = {"the_provider": account.provider, "the_epoch": account.epoch}
    written = db.execute(_TAKE_REFRESH, {**mine, "next_at": next_at})
    return written.rowcount == 1


def look_by(db: Connection, provider: str, when: datetime) -> None:
    """Have an account listed by `when` at the latest."""
    ensure(db, provider, when)
    db.execute(_LOOK_BY, {"the_provider": provider, "latest": when})


def next_refresh(db: Connection, providers: list[str]) -> datetime | None:
    """Return when the next of these accounts is to be listed."""
    found = [_read(row) for row in db.execute(_SOME, {"providers": providers}).mappings()]
    return min((_refreshed_at(account) for account in found), default=None)


def _refreshed_at(account: Account) -> datetime:
    """Return when an account may be listed: not while its gate is closed."""
    if account.gate is Gate.OPEN or account.until is None:
        return account.refresh_due_at
    return max(account.refresh_due_at, account.until)


def furthest_due(db: Connection) -> datetime | None:
    """Return the furthest of the times that accounts wait for."""
    row = db.execute(_FURTHEST).one()
    return max((time for time in row if time is not None), default=None)


def clamp(db: Connection, now: datetime, furthest: datetime) -> None:
    """Bring back times that are further away than any wait: a clock was set back."""
    for name in _TIMES:
        where = accounts.c[name] > furthest
        db.execute(update(accounts).where(where).values({name: now}))
