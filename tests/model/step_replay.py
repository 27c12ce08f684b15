"""Runs a real step of the engine up to its next effect, and no further.

A step is an ordinary function: it can't be stopped in the middle and copied. So it is run again
from its start with the results that it has seen, until it asks for one that is not known yet: that
is its next effect. All that a step touches is handed to it, so a run costs nothing and leaves no
trace. Every time is kept relative to one moment, NOW, and forgotten once it is too old to matter.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from orchestrator.domain.decide import Rest, Step, Wait, next_step
from orchestrator.domain.errors import (
    ClaimLost,
    GoneError,
    ProviderError,
    RejectedError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.domain.model import Batch, BatchState, Books, Job, JobState
from orchestrator.domain.pacing import Pace, seconds
from orchestrator.domain.profile import Profile
from orchestrator.domain.remote import RemoteBatch, RemoteFile, RemoteStatus
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.transitions import Event, after
from orchestrator.engine.context import Context
from orchestrator.engine.tick import STEPS
from orchestrator.provider.profiles import load_profile
from orchestrator.registry import accounts, batches, events, jobs, strays

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)

_FAILURES: Mapping[str, type[ProviderError]] = {
    "unanswered": UnansweredError,
    "refused": UnavailableError,
    "rejected": RejectedError,
    "gone": GoneError,
}
_SPEC = JobSpec(name="job", source="-", provider="kimi", prompt="x", model="m")
_JOB = Job(
    id=1,
    name="job",
    state=JobState.RUNNING,
    provider="kimi",
    spec=msgspec.json.encode(_SPEC).decode(),
    digest="",
    books=Books(),
    batches=1,
    due_at=NOW,
    created_at=NOW,
)

# What no decision of the protocol reads, and what only grows.
_FORGOTTEN: Mapping[str, Any] = {
    "state_at": NOW,
    "create_began_at": None,
    "changed_at": None,
    "deadline_at": None,
    "expires_at": None,
    "reason": None,
    "code": None,
    "spare_tokens": "",
    "remote_status": None,
    "remote_word": None,
    "remote_raw": None,
}
_MOST_TRIES = 6
_TIMES = tuple(
    field.name
    for field in dataclasses.fields(Batch)
    if "datetime" in str(field.type) and field.name not in {*_FORGOTTEN, "planned_at"}
)


class Commit(NamedTuple):
    """A batch is about to be moved in the registry, under the state it was read in."""

    state: BatchState
    event: Event
    due_at: datetime


class Program(NamedTuple):
    """A daemon in the middle of a step: what it has seen and when, and what it does next."""

    batch: Batch
    step: Step
    began: datetime
    seen: tuple[tuple[Any, datetime], ...]
    effect: tuple[Any, ...]


class _Reached(BaseException):
    def __init__(self, effect: tuple[Any, ...]) -> None:
        self.effect = effect


class Replay:
    """The engine's decisions and steps, one effect at a time.

    `old`: after how many seconds a time no longer matters.
    """

    def __init__(self, pace: Pace, *, old: float) -> None:
        self.pace = pace
        self._oldest = NOW - seconds(old)
        self._profile = load_profile("kimi")
        self._older: dict[Batch, Batch] = {}

    def first(self) -> Batch:
        """Return a batch whose input file is built."""
        batch = Batch(
            id=1,
            job_id=1,
            number=1,
            provider="kimi",
            state=BatchState.BUILT,
            sha256="-",
            requests=10,
            bytes=1000,
            token="t0",
            planned_at=NOW,
            due_at=NOW,
            state_at=NOW,
        )
        return self._essence(batch)

    def decide(self, batch: Batch, *, can_revoke: bool) -> Step | Wait | Rest:
        """Ask the engine what the batch needs now."""
        return next_step(batch, NOW, self.pace, can_revoke=can_revoke)

    def begin(self, batch: Batch, step: Step) -> Program | Batch | None:
        """Take a step as far as its first effect; see `go_on`."""
        return self._go(batch, step, NOW, ())

    def go_on(self, program: Program, result: Any) -> Program | Batch | None:
        """Take in the result of the last effect.

        Returns what the step does next, the batch if it has ended, None if its claim was lost.
        """
        return self._go(program.batch, program.step, program.began, (*program.seen, (result, NOW)))

    def _go(
        self, batch: Batch, step: Step, began: datetime, seen: tuple[tuple[Any, datetime], ...]
    ) -> Program | Batch | None:
        try:
            with _without_a_database():
                ended = STEPS[step](self._handed(began, seen), batch, _JOB)
            return self._essence(ended)
        except _Reached as reached:
            return Program(batch, step, began, seen, reached.effect)
        except ClaimLost:
            return None

    def moved(self, batch: Batch, event: Event, due_at: datetime) -> Batch:
        """Return the batch as the registry holds it after a commit."""
        return self._essence(after(batch, event, NOW, due_at))

    def later(self, thing: Any, by: timedelta) -> Any:
        """Return a batch, a program or an effect as it looks when time has passed."""
        if isinstance(thing, Batch):
            if thing not in self._older:
                self._older[thing] = self._essence(thing, by)
            return self._older[thing]
        if isinstance(thing, Program):
            return self._program_later(thing, by)
        if isinstance(thing, Commit):
            return Commit(thing.state, self._aged(thing.event, by), self._clip(thing.due_at - by))
        if isinstance(thing, tuple):
            return tuple(self.later(part, by) for part in thing)
        return thing

    def _program_later(self, program: Program, by: timedelta) -> Program:
        """Age what a program knows.

        When a look began is told by the time before it. Else a time that was read is part of the
        effect already, so that the moments of the results before it are not kept apart.
        """
        batch, step, began, seen, effect = program
        kept = effect[0] == "list"
        began = self._clip(began - by) if kept else NOW
        aged = ((self.later(one, by), self._clip(at - by) if kept else NOW) for one, at in seen)
        return Program(
            batch=self.later(batch, by),
            step=step,
            began=began,
            seen=tuple(aged),
            effect=self.later(effect, by),
        )

    def commit(self, batch: Batch, event: Event, due_at: datetime) -> Commit:
        """Return the effect of a move, without what nobody reads."""
        return Commit(batch.state, self._aged(event, timedelta(0)), due_at)

    def _handed(self, began: datetime, seen: tuple[tuple[Any, datetime], ...]) -> Context:
        effects = _Effects(began, seen)
        return _Handed(
            registry=_Registry(self, effects),
            providers=_Provider(effects, self._profile),
            spool=_Spool(),
            clock=effects,
            pace=self.pace,
            worker="worker",
            instance="instance",
            new_token=lambda: str(effects.next("token")),
            rng=random.Random(0),
            effects=effects,
        )

    def _aged(self, event: Event, by: timedelta) -> Event:
        changes: dict[str, Any] = {}
        for name, value in event.values().items():
            if name in _FORGOTTEN and value is not None:
                changes[name] = _FORGOTTEN[name]
            elif isinstance(value, datetime):
                changes[name] = self._clip(value - by)
        return msgspec.structs.replace(event, **changes)

    def _clip(self, when: datetime) -> datetime:
        return max(when, self._oldest)

    def _essence(self, batch: Batch, by: timedelta = timedelta(0)) -> Batch:
        times = ((name, getattr(batch, name)) for name in _TIMES)
        kept: dict[str, Any] = {name: self._clip(when - by) for name, when in times if when}
        kept["due_at"] = max(kept["due_at"], NOW)
        kept["tries"] = min(batch.tries, _MOST_TRIES)
        kept["looks"] = min(batch.looks, max(self.pace.settle_looks, 2))
        return dataclasses.replace(batch, **{**_FORGOTTEN, **kept})


class _Effects:
    """Gives back what was seen, in order, and stops the step at the first thing that was not."""

    def __init__(self, began: datetime, seen: tuple[tuple[Any, datetime], ...]) -> None:
        self._now = began
        self._ahead = iter(seen)

    def now(self) -> datetime:
        return self._now

    def next(self, *effect: Any) -> Any:
        for result, seen_at in self._ahead:
            self._now = seen_at
            if isinstance(result, str) and result in _FAILURES:
                raise _FAILURES[result](result)
            return result
        raise _Reached(effect)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Handed(Context):
    effects: _Effects

    def may_go_on(self) -> None:
        if not self.effects.next("check lease"):
            raise ClaimLost("the lease is over")

    def back_off(self, tries: int) -> timedelta:
        return seconds(self.pace.back_off_min)


class _Provider:
    """The provider's port; also the set of providers, of which it is the only one."""

    fingerprint = "account"
    name = "kimi"

    def __init__(self, effects: _Effects, profile: Profile) -> None:
        self._effects = effects
        self.profile = profile

    def get(self, _name: str) -> _Provider:
        return self

    def upload(self, _path: object, name: str) -> RemoteFile:
        token = name.rsplit("-", 1)[1].removesuffix(".jsonl")
        return _file(self._effects.next("upload", token))

    def list_files(self) -> Iterator[RemoteFile]:
        return iter([_file(token) for token in self._effects.next("list files")])

    def file(self, file_id: str) -> RemoteFile:
        return _file(self._effects.next("file", _token(file_id)))

    def delete_file(self, file_id: str) -> bool:
        return bool(self._effects.next("delete", _token(file_id)))

    def create(self, input_file_id: str, *, metadata: Mapping[str, str], **_: object) -> Any:
        made = self._effects.next("create", _token(input_file_id), metadata["orc_token"])
        return _batch(*made)

    def list_batches(self) -> Iterator[RemoteBatch]:
        return iter([_batch(*made) for made in self._effects.next("list")])

    def cancel(self, batch_id: str) -> None:
        self._effects.next("cancel", batch_id)


def _file(token: str) -> RemoteFile:
    name = f"orc-job-b01-{token}.jsonl"
    return RemoteFile(f"file-{token}", name, 1000, purpose="batch", created_at=None)


def _token(file_id: str) -> str:
    return file_id.removeprefix("file-")


def _batch(remote_id: str, file: str, token: str) -> RemoteBatch:
    return RemoteBatch(
        remote_id,
        RemoteStatus.IN_PROGRESS,
        "in_progress",
        input_file_id=f"file-{file}",
        metadata={"orc_token": token},
    )


class _Spool:
    """Holds every file."""

    def input_path(self, _batch_id: int) -> None:
        return None

    def result_path(self, _batch_id: int, _kind: str) -> None:
        return None

    def holds(self, *_: object) -> bool:
        return True

    def drop(self, *_: object) -> None:
        return None


class _Registry:
    """Every move is an effect; what else is written is a note that no decision reads."""

    def __init__(self, replay: Replay, effects: _Effects) -> None:
        self.replay = replay
        self.effects = effects

    def write(self, work: Callable[[_Registry], Any]) -> Any:
        return work(self)

    @contextmanager
    def read(self) -> Iterator[_Registry]:
        yield self


def _move(db: _Registry, batch: Batch, event: Event, *, due_at: datetime, **_: object) -> Any:
    return db.effects.next("commit", db.replay.commit(batch, event, due_at))


def _nothing(*_: object, **__: object) -> None:
    return None


_QUERIES: Mapping[tuple[ModuleType, str], Callable[..., Any]] = {
    (batches, "move"): _move,
    (batches, "take_over"): lambda _db, batch: batch,  # the move that follows has its guard
    (jobs, "get"): lambda _db, _job_id: _JOB,
    (accounts, "look_by"): _nothing,
    (accounts, "audit_by"): _nothing,
    (events, "record"): _nothing,
    (strays, "find"): _nothing,
    (strays, "keep"): _nothing,
}


@contextmanager
def _without_a_database() -> Iterator[None]:
    """Answer the few queries that steps make from the model; any other fails for want of one."""
    real = {place: getattr(*place) for place in _QUERIES}
    for (module, name), query in _QUERIES.items():
        setattr(module, name, query)
    try:
        yield
    finally:
        for (module, name), query in real.items():
            setattr(module, name, query)
