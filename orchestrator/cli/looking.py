"""What commands that only look are made of: the registry, prices, pages. No engine, no client."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, TypeVar

from orchestrator.cli.session import Session

if TYPE_CHECKING:
    from orchestrator.domain.profile import Price, Profile
    from orchestrator.domain.progress import DayPrices, Prices
    from orchestrator.registry.session import Registry

T = TypeVar("T")

PAGE = 500
"""Rows asked for at once where a list has no limit."""


@contextmanager
def reading(session: Session) -> Iterator[Registry]:
    """Open the registry for looking. Raises RegistryError for one that is empty or not ours."""
    from orchestrator.registry import migrate  # noqa: PLC0415 - help needs no database
    from orchestrator.registry.session import Registry  # noqa: PLC0415

    registry = Registry(session.configuration.registry_url())
    try:
        migrate.check(registry)
        yield registry
    finally:
        registry.close()


def prices_of(session: Session) -> Prices:
    """Return what tells the price of a provider's model, from the profiles in force."""

    def price(provider: str, model: str) -> Price | None:
        profile = profile_of(session, provider)
        return profile.price_on(model, today) if profile else None

    today = session.console.now().date()
    return functools.cache(price)


def day_prices_of(session: Session) -> DayPrices:
    """Return what tells the price of a provider's model on a day, from the profiles in force."""
    known = functools.cache(functools.partial(profile_of, session))

    def price(provider: str, model: str, day: date) -> Price | None:
        profile = known(provider)
        return profile.price_on(model, day) if profile else None

    return functools.cache(price)


def profile_of(session: Session, provider: str) -> Profile | None:
    """Return the facts of a provider; None of one that the configuration no longer has."""
    from orchestrator.domain.errors import ConfigError  # noqa: PLC0415
    from orchestrator.provider.profiles import load_profile  # noqa: PLC0415 - money only

    try:
        settings = session.configuration.provider(provider)
        return load_profile(settings.profile, prices=settings.prices)
    except ConfigError:
        return None


def pages(limit: int, page: Callable[[T | None, int], Sequence[T]]) -> Iterator[T]:
    """Yield up to `limit` items, 0 for all; `page` returns those behind one, a page at a time."""
    left = limit or None
    last: T | None = None
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        found = page(last, size)
        yield from found
        if len(found) < size:
            return
        last = found[-1]
        left = None if left is None else left - len(found)
