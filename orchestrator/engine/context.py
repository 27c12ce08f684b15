"""The step context: everything a step may touch, handed to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection

from orchestrator.connections import Connections, no_connections
from orchestrator.domain.budget import Budgets
from orchestrator.domain.errors import AuthError, ClaimLost, ConfigError, OrchestratorError
from orchestrator.domain.model import Batch, Job
from orchestrator.domain.pacing import Pace, back_off
from orchestrator.domain.profile import Price, Profile
from orchestrator.domain.shape import Column
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import Event
from orchestrator.provider.port import Provider
from orchestrator.registry import accounts, batches
from orchestrator.registry.session import Registry
from orchestrator.spool import Spool


class Clock(Protocol):
    """The time, handed in."""

    def now(self) -> datetime:
        """Return the time in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never jump."""


class Providers(Protocol):
    """The configured providers, opened at first use."""

    def get(self, name: str) -> Provider:
        """Return the provider. Raises AuthError for a missing key, ConfigError for no such name."""

    def profile(self, name: str) -> Profile:
        """Return the provider's facts, which need no key. Raises ConfigError for no such name."""

    def names(self) -> list[str]:
        """Return the names of the configured providers."""

    def max_in_flight(self, name: str) -> int:
        """Return how many of our batches may be on their way there at once."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """Something worth a log line: a step done, a step put off, a gate moved."""

    kind: str
    batch: Batch | None = None
    job: Job | None = None
    provider: str = ""
    error: OrchestratorError | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


# Made at import, by one thread: see the end of `domain.profile`.
_SPEC = msgspec.json.Decoder(JobSpec)


def no_secrets(_reference: Mapping[str, Any], what: str) -> str:
    """Refuse to follow a reference to a secret where there is no configuration."""
    raise ConfigError(f"{what} can't be looked up here", code="ORC1107")


def silence(_told: Told) -> None:
    """Tell nobody."""


class Audits:
    """Which accounts this process has looked over since it began: before that it sends nothing."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._not_before: dict[str, datetime] = {}

    def through(self, provider: str) -> bool:
        """Whether the account was looked over."""
        return provider in self._began

    def done(self, provider: str, now: datetime) -> None:
        """Note that the account was looked over."""
        self._began.setdefault(provider, now.timestamp())
        self._not_before.pop(provider, None)

    def put_off(self, provider: str, until: datetime) -> None:
        """Note that the account could not be looked over."""
        self._not_before[provider] = until

    def next_try(self, provider: str, now: datetime) -> datetime:
        """Return when the account may be looked over."""
        return max(now, self._not_before.get(provider, now))

    def came_later(self, provider: str, created_at: float | None, skew: float) -> bool:
        """Whether a remote batch was surely made after the account was first looked over."""
        began = self._began.get(provider)
        return began is not None and created_at is not None and created_at > began + skew


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a step works with. `worker` is this process's random boot id, `actor` names it."""

    registry: Registry
    providers: Providers
    spool: Spool
    clock: Clock
    pace: Pace
    worker: str
    instance: str
    new_token: Callable[[], str]
    rng: random.Random
    actor: str = "daemon"
    requests_per_batch: int = 50_000
    transfers: int = 4
    max_download_bytes: int = 8 << 30
    tell: Callable[[Told], None] = silence
    lease_left: Callable[[], float] = lambda: float("inf")
    stopping: Callable[[], bool] = lambda: False
    audits: Audits = field(default_factory=Audits)
    connections: Connections = field(default_factory=no_connections)
    secret: Callable[[Mapping[str, Any], str], str] = no_secrets
    """Follows a reference to a secret; the text names the secret in errors."""
    columns: dict[tuple[int, bool], tuple[Column, ...]] = field(default_factory=dict)
    """What the records of a job with an untyped source have shown: columns, by the job's
    id and whether each has a type."""
    budgets: Budgets = field(default_factory=Budgets)

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self.clock.now()

    def back_off(self, tries: int) -> timedelta:
        """Return how long to wait after `tries` failures in a row."""
        return back_off(tries, self.pace, self.rng.random())

    def record(
        self,
        batch: Batch,
        event: Event,
        *,
        due_at: datetime | None = None,
        look_by: datetime | None = None,
        audit_by: datetime | None = None,
    ) -> Batch:
        """Move `batch` by `event` in a transaction of its own. Raises ClaimLost.

        `look_by`, `audit_by`: when its provider's batches are to be listed, and looked over for
        strays, at the latest.
        """
        now = self.now()

        def work(db: Connection) -> Batch:
            if look_by is not None:
                accounts.look_by(db, batch.provider, look_by)
            if audit_by is not None:
                accounts.audit_by(db, batch.provider, audit_by)
            return batches.move(db, batch, event, now=now, due_at=due_at or now, actor=self.actor)

        moved = self.registry.write(work)
        self.tell(Told(kind=type(event).__name__, batch=moved))
        return moved

    def provider_of(self, batch: Batch) -> Provider:
        """Return the provider that holds the batch's remote objects.

        Raises AuthError when the key in use belongs to another account than the batch's: there,
        absence would prove nothing.
        """
        provider = self.providers.get(batch.provider)
        if batch.fingerprint and batch.fingerprint != provider.fingerprint:
            raise AuthError(
                f"the key of {batch.provider} is not the one that sent batch {batch.label}",
                code="ORC3108",
                why="remote files and batches can be seen and deleted by their own account only",
                safe="the batch goes on at the provider; its results wait there",
                next=f"put the old key back for {batch.provider} until its batches are finished",
            )
        return provider

    def holds_lease(self) -> bool:
        """Whether this worker's lease is being renewed as it should."""
        return self.lease_left() > self.pace.lease_seconds / 4

    def may_go_on(self) -> None:
        """Stop before a step or a call when the lease is nearly over. Raises ClaimLost.

        A process that was paused wakes up with claims that may be somebody else's by now.
        """
        if not self.holds_lease():
            raise ClaimLost("the lease of this worker is nearly over; nothing was sent")

    def price(self, provider: str, model: str, day: date) -> Price | None:
        """Return the price of a model on a day; None where it is unknown, or can't be read now.

        What was answered is recorded all the same: its charge says that it has no price.
        """
        try:
            return self.providers.profile(provider).price_on(model, day)
        except ConfigError:
            return None

    def prices_from(self, provider: str, model: str, day: date) -> tuple[Price, ...]:
        """Return the prices that what is sent on a day may be charged at; none if unknown."""
        try:
            known = self.providers.profile(provider).models.get(model)
        except ConfigError:
            return ()
        return known.prices_from(day) if known else ()

    def spec_of(self, job: Job) -> JobSpec:
        """Return the job's declaration."""
        return read_spec(job.spec)


def read_spec(text: str) -> JobSpec:
    """Read a stored job spec."""
    return _SPEC.decode(text)
