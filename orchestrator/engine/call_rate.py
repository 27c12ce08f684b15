"""Calls per minute: one queue an account, over all workers of a registry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from orchestrator.domain.errors import ThrottledError
from orchestrator.registry import accounts
from orchestrator.registry.session import Registry

PATIENCE = timedelta(seconds=30)
"""The longest wait in line; whoever would wait longer comes back later."""


def wait_for_turn(
    registry: Registry,
    provider: str,
    per_minute: int,
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
) -> None:
    """Wait until the account may be called once more. Raises ThrottledError when the line is long.

    The limit is the configuration's, or the profile's where the provider's pages state one.
    """
    interval = timedelta(minutes=1) / per_minute
    wait = registry.write(
        lambda db: accounts.take_turn(db, provider, now=now(), interval=interval, patience=PATIENCE)
    )
    if wait > PATIENCE:
        raise ThrottledError(
            f"{provider} takes {per_minute:,} calls a minute, and the line is long",
            code="ORC3107",
            safe="nothing was sent; it is tried again by itself",
            retry_after=wait.total_seconds(),
        )
    if wait > timedelta(0):
        sleep(wait.total_seconds())
