"""Providers as people and programs see them: may each be called, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.model import Account, Gate
from orchestrator.engine.context import Providers
from orchestrator.registry import accounts
from orchestrator.registry.session import Registry


@dataclass(frozen=True, kw_only=True)
class ProviderView:
    """One provider. `state`: open, slowed, closed or paused; `reason`, `since`, `until` tell why.

    `used`: whether this registry has ever sent anything there. `max_in_flight`: how many batches
    may be on their way there at once.
    """

    name: str
    state: str
    used: bool
    max_in_flight: int
    code: str | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def provider_views(registry: Registry | None, configured: Providers) -> list[ProviderView]:
    """Return every provider that may be named, configured ones first.

    Without a registry nothing was ever sent to any of them.
    """
    known: dict[str, Account] = {}
    if registry is not None:
        with registry.read() as db:
            known = {account.provider: account for account in accounts.everyone(db)}
    return [_view(name, known.get(name), configured) for name in configured.names()]


def _view(name: str, account: Account | None, configured: Providers) -> ProviderView:
    most = configured.max_in_flight(name)
    if account is None:
        return ProviderView(name=name, state=Gate.OPEN, used=False, max_in_flight=most)
    return ProviderView(
        name=name,
        state="paused" if account.paused else account.gate,
        used=True,
        max_in_flight=most,
        code=account.code,
        reason=account.reason,
        since=account.since,
        until=account.until,
    )
