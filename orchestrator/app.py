"""Composition: from the configuration to a registry, providers and a step context."""

from __future__ import annotations

import functools
import getpass
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import make_url

from orchestrator.connections import Connections
from orchestrator.domain.budget import Budgets, ProviderLimits
from orchestrator.domain.errors import NotFound, RegistryError
from orchestrator.domain.estimating import Seen
from orchestrator.domain.pacing import Pace
from orchestrator.domain.profile import Profile
from orchestrator.engine.call_rate import wait_for_turn
from orchestrator.engine.context import Context, Told, silence
from orchestrator.engine.opening import opening
from orchestrator.provider.client import HttpProvider, OnCall, Timeouts
from orchestrator.provider.profiles import load_profile
from orchestrator.registry import charges, migrate, workers
from orchestrator.registry.session import Registry
from orchestrator.settings import Configuration
from orchestrator.settings.sinks import secret_of
from orchestrator.sources.port import Opening
from orchestrator.spool import Spool

if TYPE_CHECKING:
    from orchestrator.domain.spec import JobSpec
    from orchestrator.engine.repeats import Bodies
    from orchestrator.engine.sharing import Reuse

DEFAULT_IN_FLIGHT = 40
"""Batches on their way at once, where neither the configuration nor the profile says less."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never jump."""
        return time.monotonic()


class ConfiguredProviders:
    """The providers of the configuration, each opened at first use and closed together."""

    def __init__(self, configuration: Configuration, *, on_call: OnCall | None = None) -> None:
        self._configuration = configuration
        self._on_call = on_call
        self._opened: dict[str, HttpProvider] = {}
        self._profiles: dict[str, Profile] = {}
        self._lock = threading.Lock()
        self.may_go_on: Callable[[], bool] = lambda: True
        self.wait_for_turn: Callable[[str, int], None] = lambda _name, _per_minute: None

    def get(self, name: str) -> HttpProvider:
        """Return the provider. Raises AuthError for a missing key, ConfigError for no such name."""
        with self._lock:
            if name not in self._opened:
                self._opened[name] = self._open(name)
            return self._opened[name]

    def profile(self, name: str) -> Profile:
        """Return the provider's facts; they need no key. Raises ConfigError."""
        if name not in self._profiles:
            settings = self._configuration.provider(name)
            self._profiles[name] = load_profile(settings.profile, prices=settings.prices)
        return self._profiles[name]

    def names(self) -> list[str]:
        """Return every name that may be used, configured ones first."""
        return list(self._configuration.provider_names)

    def max_in_flight(self, name: str) -> int:
        """Return how many of our batches may be on their way there at once."""
        configured = self._configuration.provider(name).max_batches_in_flight
        known = self.profile(name).limits.live_batches
        return min(configured or DEFAULT_IN_FLIGHT, known or configured or DEFAULT_IN_FLIGHT)

    def _calls_per_minute(self, name: str) -> int | None:
        configured = self._configuration.provider(name).max_calls_per_minute
        return configured or self.profile(name).limits.calls_per_minute

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for provider in self._opened.values():
                provider.close()
            self._opened.clear()

    def _open(self, name: str) -> HttpProvider:
        settings = self._configuration.provider(name)
        profile = self.profile(name)
        key = self._configuration.api_key(name, profile)
        per_minute = self._calls_per_minute(name)
        return HttpProvider(
            name=name,
            profile=profile,
            key=key,
            key_source=key.source if key else "",
            base_url=settings.base_url or "",
            now=SystemClock().now,
            monotonic=time.monotonic,
            sleep=time.sleep,
            rng=random.Random(),  # noqa: S311 - jitter, not a secret
            timeouts=Timeouts(
                connect=settings.connect_timeout.total_seconds(),
                read=settings.read_timeout.total_seconds(),
                write=settings.read_timeout.total_seconds(),
            ),
            on_call=self._on_call,
            may_go_on=lambda: self.may_go_on(),  # noqa: PLW0108 - set when work begins
            before_call=lambda: self.wait_for_turn(name, per_minute) if per_minute else None,
        )


class App:
    """Everything a face needs, opened when it is first used. Close it, or use it in a `with`."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        tell: Callable[[Told], None] = silence,
        on_call: OnCall | None = None,
    ) -> None:
        self.configuration = configuration
        self.clock = SystemClock()
        self.tell = tell
        self.providers = ConfiguredProviders(configuration, on_call=on_call)
        self.connections = Connections(configuration.connection_url)

    @functools.cached_property
    def registry(self) -> Registry:
        """The database, not looked into yet."""
        return Registry(self.configuration.registry_url())

    def reading(self) -> Registry:
        """Return the registry for a command that only looks. Raises RegistryError if empty."""
        migrate.check(self.registry)
        return self.registry

    def writing(self) -> Registry:
        """Return the registry for work: made or brought up to date first, where that is safe."""
        migrate.ensure(self.registry, now=self.clock.now())
        return self.registry

    @property
    def actor(self) -> str:
        """Who is at the keyboard, for the audit trail."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        return f"{user}@{socket.gethostname()}"

    @functools.cached_property
    def pace(self) -> Pace:
        """The engine's intervals, as configured."""
        daemon = self.configuration.settings.daemon
        return Pace(
            poll_min=daemon.poll_min.total_seconds(),
            poll_max=daemon.poll_max.total_seconds(),
            lease_seconds=daemon.lease.total_seconds(),
            settle_seconds=daemon.settle.total_seconds(),
            revoke_seconds=daemon.settle.total_seconds() / 6,
            keep_remote=daemon.keep_remote.total_seconds(),
        )

    @property
    def budgets(self) -> Budgets:
        """What jobs may spend together, as configured."""
        settings = self.configuration.settings
        providers = {
            name: ProviderLimits(per_day=each.budget.per_day, total=each.budget.total)
            for name, each in settings.providers.items()
        }
        return Budgets(per_day=settings.defaults.budget_per_day, providers=providers)

    def context(
        self,
        *,
        worker: str = "",
        actor: str = "",
        stopping: Callable[[], bool] = lambda: False,
        lease_left: Callable[[], float] = lambda: float("inf"),
    ) -> Context:
        """Return a step context over a registry that is fit for work."""
        registry = self.writing()
        now = self.clock.now()
        instance = registry.write(lambda db: workers.instance_id(db, now))
        owner = worker or secrets.token_hex(16)
        spool = Spool(
            self.configuration.spool_directory / instance,
            owner=owner,
            reserve=self.configuration.settings.spool.reserve,
        )
        spool.prepare(clean=False)
        self.providers.may_go_on = lambda: lease_left() > self.pace.lease_seconds / 4
        self.providers.wait_for_turn = lambda name, per_minute: wait_for_turn(
            registry, name, per_minute, now=self.clock.now, sleep=time.sleep
        )
        return Context(
            registry=registry,
            providers=self.providers,
            spool=spool,
            clock=self.clock,
            pace=self.pace,
            worker=owner,
            instance=instance,
            new_token=lambda: secrets.token_hex(16),
            rng=random.Random(),  # noqa: S311 - jitter, not a secret
            actor=actor or self.actor,
            requests_per_batch=self.configuration.settings.defaults.requests_per_batch,
            tell=self.tell,
            stopping=stopping,
            lease_left=lease_left,
            connections=self.connections,
            secret=lambda table, what: secret_of(table, what, self.configuration.environ),
            budgets=self.budgets,
        )

    def at_hand(self, spec: JobSpec, bodies: Bodies) -> Reuse:
        """Return what earlier jobs have answers to; nothing where there never was a job."""
        from orchestrator.engine.sharing import Reuse, at_hand  # noqa: PLC0415 - brings templates

        try:
            registry = self._existing()
        except NotFound:
            return Reuse()
        return at_hand(registry, spec, bodies, now=self.clock.now())

    def history(self, provider: str, model: str) -> Sequence[Seen]:
        """Return what a model has used here so far; nothing where there never was a job."""
        try:
            with self._existing().read() as db:
                return charges.seen(db, provider, model)
        except (NotFound, RegistryError):
            return ()

    def opening(self) -> Opening:
        """Return what the source of a job may reach."""
        return opening(self.connections, self._existing)

    def _existing(self) -> Registry:
        """Return the registry if there is one: planning makes none. Raises RegistryError, NotFound.

        On SQLite to open a registry is to make its file.
        """
        url = make_url(self.configuration.registry_url())
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            raise migrate.empty(url.render_as_string(hide_password=True))
        return self.reading()

    def close(self) -> None:
        """Close connections to providers and database."""
        self.providers.close()
        self.connections.close()
        if "registry" in self.__dict__:
            self.registry.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
