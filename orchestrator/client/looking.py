"""What everything that only looks is made of: the registry, prices, the time, filters."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

from orchestrator.api.lookup import find_job
from orchestrator.app import App
from orchestrator.domain.errors import ConfigError, NotFound, RegistryError, UsageError
from orchestrator.domain.filters import Field, Filter, parse_filter
from orchestrator.domain.model import Job
from orchestrator.domain.profile import Price
from orchestrator.domain.progress import DayPrices, Prices
from orchestrator.registry.session import Registry

_EMPTY = "ORC4007"

Words = str | Sequence[str] | None
_PLAIN = re.compile(r"[^\s\"\\]+")


class Look:
    """One look at a registry after the other, through an App that stays open."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.closed = False

    @property
    def registry(self) -> Registry:
        """The registry. Raises RegistryError, NotFound where nothing was ever submitted.

        UsageError where it went with its Orchestrator: that of a sandbox is gone once it is closed.
        """
        try:
            return self.app.reading()
        except RegistryError as error:
            if not self.closed:
                raise
            raise UsageError(
                "this Orchestrator is closed",
                why=error.message,
                next="open another, and use it inside its with block",
            ) from error

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever submitted to the registry: to those who list, no error."""
        try:
            _ = self.registry
        except NotFound as nothing:
            if nothing.code != _EMPTY:
                raise
            return True
        return False

    @property
    def cwd(self) -> Path:
        """The folder that paths start from."""
        return self.app.configuration.cwd

    def now(self) -> datetime:
        """Return the time in the zone that the configuration names."""
        return self.app.clock.now().astimezone(self.app.configuration.zone())

    def again(self, job: Job) -> Job:
        """Return the job as it is now."""
        return find_job(self.registry, job.name)

    @functools.cached_property
    def prices(self) -> Prices:
        """What a model costs, None where nobody says."""
        return functools.cache(self._price)

    def _price(self, provider: str, model: str) -> Price | None:
        try:
            profile = self.app.providers.profile(provider)
        except ConfigError:
            return None
        return profile.price_on(model, self.app.clock.now().date())

    @functools.cached_property
    def day_prices(self) -> DayPrices:
        """What a model costs on a day, None where nobody says."""

        def price(provider: str, model: str, day: date) -> Price | None:
            try:
                return self.app.providers.profile(provider).price_on(model, day)
            except ConfigError:
                return None

        return functools.cache(price)

    def currency(self, provider: str) -> str | None:
        """Return the currency of a provider's prices, None where none is known."""
        try:
            models = self.app.providers.profile(provider).models
        except ConfigError:
            return None
        prices = (model.latest_price for model in models.values())
        return next((price.currency for price in prices if price), None)

    def filter(self, fields: Mapping[str, Field], where: str = "", **words: Words) -> Filter:
        """Return the filter that `where` and single fields make together. Raises UsageError."""
        terms = [where, *(f"{name}:{_listed(value)}" for name, value in words.items() if value)]
        return parse_filter(" ".join(filter(None, terms)), fields, now=self.now())


def _listed(value: str | Sequence[str]) -> str:
    """Return the words of a field; what is no plain word, a blank in a key say, is quoted."""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else _quoted(value)
    return ",".join(_quoted(word) for word in value)


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
