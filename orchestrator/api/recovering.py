"""Recover by hand: take strays in, look a whole account over, give a copied registry its own name.

Each has a rehearsal that only reads. What the engine does at its start and hourly, over what is
new, is done here over everything, or for the one batch that a person names.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection

from orchestrator.api.needs import stopped_by_a_copy
from orchestrator.api.strays import StrayView, find_stray, judged, view_of
from orchestrator.domain.auditing import Finding, is_successor, number_of
from orchestrator.domain.errors import AlreadyRunning, GoneError, GuardError
from orchestrator.domain.model import Batch, Job, JobState, Stray, StrayVerdict
from orchestrator.domain.remote import RemoteBatch
from orchestrator.engine.audit import audit, examine_all
from orchestrator.engine.context import Context
from orchestrator.engine.gates import account_of
from orchestrator.engine.ours import Seen, ours_at
from orchestrator.engine.recovery import take_in
from orchestrator.provider.port import Provider
from orchestrator.registry import accounts, batches, events, jobs, strays, workers
from orchestrator.registry.identity import identity, rename
from orchestrator.registry.session import Registry

_AT_ONCE = 200
_SHOWN = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What recovering would do with one remote batch. `says`: what it says it is."""

    remote_id: str
    says: str
    status: str
    words: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Rehearsal:
    """What a provider lists under our name, and what would be done about it."""

    provider: str
    listed: int = 0
    ours: int = 0
    foreseen: list[Foreseen] = field(default_factory=list)
    more: int = 0

    @property
    def count(self) -> int:
        """How many remote batches would be seen to."""
        return len(self.foreseen) + self.more


def rehearse(registry: Registry, provider: Provider, instance: str | None) -> Rehearsal:
    """Say what `recover` would do; nothing is changed, here or there. Raises ProviderError."""
    found = Rehearsal(provider.name)
    for seen in ours_at(registry, provider, instance, _listed(provider, found)):
        found.ours += 1
        words = _outlook(registry, seen)
        if words is None:
            continue
        if len(found.foreseen) < _SHOWN:
            found.foreseen.append(_foreseen(seen.remote, words))
        else:
            found.more += 1
    return found


def _foreseen(remote: RemoteBatch, words: str) -> Foreseen:
    label = remote.metadata.get("orc_batch", "").partition(",")[0]
    return Foreseen(
        remote_id=remote.id,
        says=f"{remote.metadata.get('orc_job') or '?'}/{label or '?'}",
        status=remote.word,
        words=words,
    )


def _listed(provider: Provider, found: Rehearsal) -> Iterator[RemoteBatch]:
    _must_list(provider)
    for remote in provider.list_batches():
        found.listed += 1
        yield remote


def _must_list(provider: Provider) -> None:
    if not provider.profile.quirks.list_batches:
        raise GuardError(
            f"{provider.name} can't list its batches",
            code="ORC5215",
            why="what a registry has forgotten can only be found by going through all of them",
            safe="nothing was changed",
            next="look for orc_job and orc_batch in the metadata that the provider's console shows",
        )


def _outlook(registry: Registry, seen: Seen) -> str | None:
    """Return what would be done with a remote batch of ours; None where all is well."""
    match seen.finding:
        case Finding.KNOWN | Finding.LOOKED_FOR:
            return None
        case Finding.FORGOTTEN:
            return "its row was never told of it, and follows it from now on"
        case Finding.EXTRA:
            if seen.stray is not None or seen.remote.status.terminal:
                return None
            return "its row has another one: this one is cancelled; what it has done is billed"
    if seen.stray is not None and seen.stray.verdict is not StrayVerdict.WAITING:
        return None
    return outlook(registry, seen.remote)


def outlook(registry: Registry, remote: RemoteBatch) -> str:
    """Say what becomes of a stray that is taken in now. Reads only."""
    with registry.read() as db:
        job = jobs.find(db, remote.metadata.get("orc_job", ""))
        number = number_of(remote)
        row = batches.find(db, job_id=job.id, number=number) if job and number else None
    if job is None or job.state is JobState.REGISTERING:
        return "it waits until its job is submitted here again, and holds it up then"
    if row is not None and is_successor(remote, row):
        return f"{job.name}/{row.label}, whose row has not sent it, follows it from now on"
    ended = "" if remote.status.terminal else " and it is cancelled; what it has done is billed"
    if not job.books.open:
        return f"all records of {job.name} have their outcome: it is listed as extra{ended}"
    return (
        f"it gets a row of its own in {job.name}, with those of its records that are open; "
        f"if none is, it is listed as extra{ended}"
    )


def adopt(ctx: Context, remote_id: str) -> StrayView:
    """Take a stray in now, whatever was decided about it before; say what became of it.

    Raises NotFound for one that no audit has met, GoneError for one that is not there any more.
    """
    found = find_stray(ctx.registry, remote_id)
    if found.stray.verdict is StrayVerdict.ADOPTED:
        return found
    provider = ctx.providers.get(found.stray.provider)
    taken = take_in(ctx, provider, ask_for(provider, remote_id))
    ctx.registry.write(lambda db: judged(ctx, db, taken))
    with ctx.registry.read() as db:
        return view_of(db, taken)


def ask_for(provider: Provider, remote_id: str) -> RemoteBatch:
    """Return a stray as the provider shows it now. Raises GoneError."""
    try:
        return provider.batch(remote_id)
    except GoneError as error:
        raise GoneError(
            f"{provider.name} does not know {remote_id} any more",
            why=error.message,
            safe="nothing was changed; its records wait",
            next=f"orchestrator adopt {remote_id} --forget, which asks its records again",
            request_id=error.request_id,
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was done about an account: the remote batches that were listed, and new verdicts."""

    provider: str
    listed: int
    found: Sequence[StrayView]


def recover(ctx: Context, name: str) -> Recovery:
    """Look over everything that an account lists, and take in what no row knows.

    For whoever is at work, alone on SQLite. Memory does not grow with the account. Raises
    ProviderError; what was taken in by then stays, and doing it again is harmless.
    """
    account, provider = account_of(ctx, name), ctx.providers.get(name)
    _must_list(provider)
    began, listed, running = ctx.now(), 0, list[RemoteBatch]()
    remaining = provider.list_batches()
    while chunk := list(islice(remaining, _AT_ONCE)):
        ctx.may_go_on()
        examine_all(ctx, provider, chunk)
        listed += len(chunk)
        running += (remote for remote in chunk if not remote.status.terminal)
    audit(ctx, account, provider, running)
    with ctx.registry.read() as db:
        new = [s for s in strays.everyone(db) if s.provider == name and s.seen_at >= began]
        return Recovery(provider=name, listed=listed, found=[view_of(db, s) for s in new])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a registry and its copy have in common.

    `live`: batches that both follow, with their remote ids. `unsent`: batches that either may
    still send. `waiting`: jobs whose waiting records either would send. `strays`: what is open.
    """

    identity: str
    live: Sequence[tuple[str, str]]
    unsent: Sequence[str]
    waiting: Sequence[tuple[str, int]]
    strays: Sequence[Stray]


def shared(registry: Registry) -> Shared:
    """Return what a copy of this registry has in common with it. Reads only."""
    with registry.read() as db:
        active = jobs.active(db)
        rows = [(job, row) for job in active for row in batches.unfinished(db, job.id)]
        return Shared(
            identity=identity(db) or "",
            live=[(_name(job, row), row.remote_id) for job, row in rows if row.remote_id],
            unsent=[_name(job, row) for job, row in rows if row.remote_id is None],
            waiting=[(job.name, job.books.waiting) for job in active if job.books.waiting],
            strays=strays.everyone(db, verdicts=strays.OPEN),
        )


def _name(job: Job, row: Batch) -> str:
    return f"{job.name}/{row.label}"


def refuse_beside_workers(registry: Registry, now: datetime) -> None:
    """Refuse while a worker is alive: it would go on under the old identity.

    Raises AlreadyRunning. On SQLite the lock beside the file says it for certain.
    """
    with registry.read() as db:
        alive = workers.alive(db, now)
    if alive:
        kind, host, pid, _ = alive[0]
        raise AlreadyRunning(
            f"{len(alive):,} workers are alive" if len(alive) > 1 else "a worker is alive",
            where=f"{kind} {pid} on {host}",
            why="it has read the registry's identity at its start, and would send under it",
            safe="nothing was changed",
            next="stop every daemon and watch of this registry, then run the same command again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Renamed:
    """A registry's old and new id, and the providers whose stop was lifted."""

    old: str
    new: str
    lifted: Sequence[str]
    forgotten: int


def new_identity(ctx: Context) -> Renamed:
    """Give a copy of a registry a name of its own: what it sends from now on is told apart.

    What the old name has sent is followed where a row knows it; strays under it are let go, since
    they are the other copy's. A stop for the sake of the other copy is lifted.
    """
    now, new = ctx.now(), secrets.token_hex(8)
    with ctx.registry.read() as reading:
        old = identity(reading) or ""

    def work(db: Connection) -> Renamed:
        rename(db, new, now)
        lifted = stopped_by_a_copy(db)
        for name in lifted:
            accounts.change(db, name, paused=False, code=None, reason=None)
            events.record(db, "provider_resumed", at=now, actor=ctx.actor, provider=name)
        theirs = strays.everyone(db, verdicts=strays.OPEN)
        for stray in theirs:
            reason = f"sent under {old}, the name that another copy keeps"
            verdict = StrayVerdict.FORGOTTEN
            judged(ctx, db, replace(stray, verdict=verdict, reason=reason, seen_at=now))
        data = {"from": old, "to": new}
        events.record(db, "identity_changed", at=now, actor=ctx.actor, data=data)
        return Renamed(old=old, new=new, lifted=lifted, forgotten=len(theirs))

    return ctx.registry.write(work)
