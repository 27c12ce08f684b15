"""The submission of one batch by several daemons to a provider that loses, delays and lags.

The daemons take the engine's own decisions and steps (`step_replay`); the registry's row, the
provider and all that may go wrong are modelled here. Between any two effects a daemon may stop for
long, for ever, or die: a daemon that isn't moved is a daemon that is paused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any, NamedTuple

from step_replay import NOW, Commit, Program, Replay

from orchestrator.domain.decide import Step
from orchestrator.domain.model import Batch, BatchState
from orchestrator.domain.pacing import Pace, seconds
from orchestrator.domain.transitions import CreateBegan, ReleasedToLooking, Renewed

S = BatchState

TICK = seconds(1)
PACE = Pace(
    settle_seconds=2, settle_looks=2, revoke_seconds=2, renewals_max=1, back_off_min=1, cap=4
)


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the protocol relies on, each with a switch; none is about how fast a daemon is."""

    deleted_file_is_refused: bool = True
    lag_is_bounded: bool = True
    writes_are_fenced: bool = True
    one_file_one_create: bool = True
    intent_before_send: bool = True
    lease_is_checked: bool = True
    no_post_is_repeated: bool = True
    a_no_is_a_no: bool = True

    def off(self) -> list[str]:
        """Return the names of those that don't hold."""
        return [field.name for field in fields(self) if not getattr(self, field.name)]


class Daemon(NamedTuple):
    """What a daemon is at; `program` is -1 for nothing.

    `holds`: its epoch is the row's. `unwritten`: a move that only its memory knows.
    """

    program: int = -1
    holds: bool = False
    unwritten: int = -1


class Remote(NamedTuple):
    """A remote batch, and for how many ticks the list may have kept it back."""

    file: str
    token: str
    number: int
    runs: bool
    age: int

    @property
    def id(self) -> str:
        return f"batch-{self.token}-{self.number}"

    @property
    def seen(self) -> tuple[str, str, str]:
        return (self.id, self.file, self.token)


class State(NamedTuple):
    """All there is. `flights`: requests under way that may be applied at any later moment."""

    row: int
    daemons: tuple[Daemon, ...]
    flights: frozenset[tuple[str, str, str]] = frozenset()
    files: frozenset[str] = frozenset()
    remotes: tuple[Remote, ...] = ()


class Move(NamedTuple):
    """Something that may happen. `fair`: it is no fault, and will happen if none does."""

    fair: bool
    what: str
    to: State


class _Moved(NamedTuple):
    """A commit's result: the batch as its daemon knows it, and what is not written of it."""

    batch: int
    unwritten: int


_LOST = object()
"""A commit's result when the row is no longer what the daemon read."""

Outcome = tuple[bool, str, Any, State]
IDLE = Daemon()


class Model:
    """Says what may happen next in any state.

    `lag`: for how many ticks the list may keep a new batch back. `calm`: uploads just work, files
    stay and people keep out of it. `hurried`: somebody makes the batch due at once, now and then,
    as resuming a job does. `change`: overrules a decision of the engine, to see that a wrong one
    is found.
    """

    def __init__(
        self,
        assumed: Assumptions = Assumptions(),
        *,
        daemons: int = 2,
        pace: Pace = PACE,
        lag: int = 2,
        can_revoke: bool = True,
        calm: bool = False,
        hurried: bool = False,
        change: Callable[[Batch, Any], Any] = lambda _batch, decision: decision,
    ) -> None:
        self.assumed = assumed
        self._can_revoke = can_revoke
        self._calm = calm
        self._hurried = hurried
        self._lag = lag if assumed.lag_is_bounded else None
        self._daemons = daemons
        self._change = change
        self._replay = Replay(pace, old=max(pace.settle_seconds, pace.revoke_seconds))
        self._things: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._memory: dict[tuple[Any, ...], Any] = {}
        self._does: dict[str, Callable[..., Iterator[Outcome]]] = {
            "commit": self._commit,
            "check lease": self._check_lease,
            "upload": self._upload,
            "create": self._create,
            "delete": self._delete,
            "list": self._list,
            "list files": self._list_files,
            "file": self._file,
            "cancel": self._cancel,
        }

    def first(self) -> State:
        """Return the state in which the input file is built and nobody works on it."""
        return State(self._number(self._replay.first()), (IDLE,) * self._daemons)

    def row(self, state: State) -> Batch:
        """Return the registry's row."""
        batch: Batch = self._things[state.row]
        return batch

    def moves(self, state: State) -> Iterator[Move]:
        """Yield whatever may happen next."""
        for index, daemon in enumerate(state.daemons):
            name = "ABC"[index]
            if daemon.program < 0:
                yield from self._claims(state, index, name)
            else:
                yield self._move(False, f"{name} dies", self._put(state, index, IDLE))
                yield from self._goes_on(state, index, name)
        yield from self._late(state)
        if not self._calm:
            yield from self._people(state)
        row = self.row(state)
        if self._hurried and row.due_at > NOW and row.state is not S.LIVE:
            due = state._replace(row=self._number(row.with_(due_at=NOW)))
            yield self._move(False, "somebody makes the batch due at once", due)
        yield self._move(True, "time passes", self._later(state))

    # What a daemon does.

    def _claims(self, state: State, index: int, name: str) -> Iterator[Move]:
        row = self.row(state)
        program = self._begin(state.row) if row.due_at <= NOW else -1
        program = self._with_token(program, state)
        if program < 0:
            return
        held = any(daemon.holds for daemon in state.daemons)
        others = tuple(daemon._replace(holds=False) for daemon in state.daemons)
        to = self._put(state._replace(daemons=others), index, Daemon(program, True))
        verb = "takes over" if held else "claims"
        step = self._things[program].step
        yield self._move(not held, f"{name} {verb} the {row.state} batch, to {step} it", to)

    def _goes_on(self, state: State, index: int, name: str) -> Iterator[Move]:
        daemon = state.daemons[index]
        kind, *about = self._things[daemon.program].effect
        for fair, what, result, to in self._does[kind](state, daemon, *about):
            if result is _LOST:
                after = IDLE
            else:
                unwritten = result.unwritten if isinstance(result, _Moved) else daemon.unwritten
                program = self._with_token(self._advance(daemon.program, result), to)
                after = Daemon(program, daemon.holds, unwritten) if program >= 0 else IDLE
            yield self._move(fair, f"{name} {what}", self._put(to, index, after))

    def _begin(self, batch: int) -> int:
        """Return the program of the batch's next step, -1 if it has to wait."""
        key = ("begin", batch)
        if key not in self._memory:
            mine = self._things[batch]
            decision = self._change(mine, self._replay.decide(mine, can_revoke=self._can_revoke))
            goes = isinstance(decision, Step)
            self._memory[key] = self._after(self._replay.begin(mine, decision)) if goes else -1
        found: int = self._memory[key]
        return found

    def _advance(self, program: int, result: Any) -> int:
        """Return what a program has become by a result; -1 when the claim is given back."""
        key = ("advance", program, result)
        if key not in self._memory:
            was: Program = self._things[program]
            seen = self._things[result.batch] if isinstance(result, _Moved) else result
            self._memory[key] = self._after(self._replay.go_on(was, seen))
        found: int = self._memory[key]
        return found

    def _with_token(self, program: int, state: State) -> int:
        """Hand a program the new token that it asks for, if it does."""
        while program >= 0 and self._things[program].effect == ("token",):
            program = self._advance(program, self._fresh(state))
        return program

    def _after(self, gone: Program | Batch | None) -> int:
        if isinstance(gone, Program):
            return self._number(gone)
        if gone is None or gone.due_at > NOW:
            return -1
        return self._begin(self._number(gone))

    # The registry.

    def _commit(self, state: State, daemon: Daemon, commit: Commit) -> Iterator[Outcome]:
        word = type(commit.event).__name__
        if isinstance(commit.event, CreateBegan) and not self.assumed.intent_before_send:
            local = self._known(daemon, commit)
            yield True, f"keeps {word} to itself", _Moved(local, self._number(commit)), state
            return
        row = self.row(state)
        base: Commit | None = self._things[daemon.unwritten] if daemon.unwritten >= 0 else None
        mine = daemon.holds or not self.assumed.writes_are_fenced
        if not mine or row.state is not (base or commit).state:
            yield True, f"finds its {word} refused", _LOST, state
            return
        key = ("commit", state.row, daemon.program, daemon.unwritten)
        if key not in self._memory:
            self._memory[key] = self._written(row, daemon, base, commit)
        written, local = self._memory[key]
        what = f"commits {word}: {row.state} -> {self._things[written].state}"
        yield True, what, _Moved(local, -1), state._replace(row=written)

    def _written(
        self, row: Batch, daemon: Daemon, base: Commit | None, commit: Commit
    ) -> tuple[int, int]:
        """Return the row after a commit, and what the daemon makes of it."""
        if base is not None:
            row = self._replay.moved(row, base.event, base.due_at)
        moved = self._replay.moved(row, commit.event, commit.due_at)
        if isinstance(commit.event, Renewed) and not self.assumed.one_file_one_create:
            moved = moved.with_(state=S.UPLOADED, token=row.token, input_file_id=row.input_file_id)
            return self._number(moved), self._number(moved)
        return self._number(moved), self._known(daemon, commit)

    def _known(self, daemon: Daemon, commit: Commit) -> int:
        known = self._replay.moved(self._local(daemon), commit.event, commit.due_at)
        return self._number(known)

    def _local(self, daemon: Daemon) -> Batch:
        program: Program = self._things[daemon.program]
        known = [thing for thing, _ in program.seen if isinstance(thing, Batch)]
        return known[-1] if known else program.batch

    def _check_lease(self, state: State, daemon: Daemon) -> Iterator[Outcome]:
        holds = daemon.holds or not self.assumed.lease_is_checked
        yield True, "checks its lease" if holds else "finds its lease over", holds, state

    # The provider.

    def _upload(self, state: State, daemon: Daemon, token: str) -> Iterator[Outcome]:
        there = state._replace(files=state.files | {token})
        under_way = state._replace(flights=state.flights | {("upload", token, token)})
        yield True, f"uploads file {token}", token, there
        if self._calm:
            return
        yield False, f"uploads file {token}; the answer is lost", "unanswered", there
        yield False, f"uploads file {token}; it is still under way", "unanswered", under_way
        if self._local(daemon).tries == 0:
            yield False, f"uploads file {token}; refused for now", "refused", state

    def _create(self, state: State, daemon: Daemon, file: str, token: str) -> Iterator[Outcome]:
        sends = f"sends the create over file {file}"
        under_way = state._replace(flights=state.flights | {("create", file, token)})
        if self._refuses(state, file):
            yield True, f"{sends}: no such file", "gone", state
            yield False, f"{sends}: no such file, but the answer is lost", "unanswered", state
            return
        made, remote = self._made(state, file, token)
        yield True, f"{sends}: {remote.id} runs", remote.seen, made
        yield False, f"{sends}: {remote.id} runs, but the answer is lost", "unanswered", made
        yield False, f"{sends}; the request is still under way", "unanswered", under_way
        if not self.assumed.no_post_is_repeated:
            again = made._replace(flights=under_way.flights)
            yield False, f"{sends}: {remote.id} runs; a proxy sends it again", remote.seen, again
        if self._local(daemon).tries == 0:
            after = state if self.assumed.a_no_is_a_no else under_way
            yield False, f"{sends}: refused for now", "refused", after
            yield False, f"{sends}: refused for good", "rejected", after

    def _made(self, state: State, file: str, token: str) -> tuple[State, Remote]:
        number = sum(remote.token == token for remote in state.remotes)
        remote = Remote(file, token, number, runs=True, age=0)
        return state._replace(remotes=(*state.remotes, remote)), remote

    def _refuses(self, state: State, file: str) -> bool:
        return file not in state.files and self.assumed.deleted_file_is_refused

    def _delete(self, state: State, _daemon: Daemon, file: str) -> Iterator[Outcome]:
        if not self.assumed.one_file_one_create:
            yield True, f"leaves file {file}, which the next create needs", True, state
            return
        for fair, what, to in self._deleted(state, file):
            yield fair, f"deletes file {file}{what}", True, to

    def _deleted(self, state: State, file: str) -> Iterator[tuple[bool, str, State]]:
        to = state._replace(files=state.files - {file})
        yield True, "", to
        if file in state.files and any(r.runs and r.file == file for r in state.remotes):
            ended = tuple(r._replace(runs=r.runs and r.file != file) for r in state.remotes)
            yield True, "; its batch, still in validation, fails", to._replace(remotes=ended)

    def _list(self, state: State, _daemon: Daemon) -> Iterator[Outcome]:
        sure = [r for r in state.remotes if self._lag is not None and r.age >= self._lag]
        unsure = [r for r in state.remotes if r not in sure]
        for count in range(len(unsure) + 1):
            for shown in combinations(unsure, count):
                ids = tuple(sorted(r.seen for r in (*sure, *shown)))
                said = ", ".join(name for name, _, _ in ids) or "nothing"
                yield count == len(unsure), f"lists batches: {said}", ids, state

    def _list_files(self, state: State, _daemon: Daemon) -> Iterator[Outcome]:
        yield True, "lists files", tuple(sorted(state.files)), state
        if state.files and self._lag != 0:
            yield False, "lists files: nothing yet", (), state

    def _file(self, state: State, _daemon: Daemon, file: str) -> Iterator[Outcome]:
        yield True, f"looks at file {file}", file if file in state.files else "gone", state

    def _cancel(self, state: State, _daemon: Daemon, remote_id: str) -> Iterator[Outcome]:
        yield True, f"cancels {remote_id}", None, state

    # What happens by itself.

    def _late(self, state: State) -> Iterator[Move]:
        for flight in sorted(state.flights):
            kind, file, token = flight
            landed = state._replace(flights=state.flights - {flight})
            if kind == "upload":
                there = landed._replace(files=state.files | {file})
                yield self._move(False, f"the late upload of file {file} arrives", there)
            elif not self._refuses(state, file):
                made, remote = self._made(landed, file, token)
                what = f"the late create over file {file} arrives: {remote.id} runs"
                yield self._move(False, what, made)

    def _people(self, state: State) -> Iterator[Move]:
        row = self.row(state)
        if row.state is S.PARKED and row.parked_from == S.CREATE_UNKNOWN:
            looking = self._replay.moved(row, ReleasedToLooking(), NOW)
            freed = tuple(daemon._replace(holds=False) for daemon in state.daemons)
            to = state._replace(row=self._number(looking), daemons=freed)
            yield self._move(False, "a person lets it be looked for again", to)
        file = (row.input_file_id or "").removeprefix("file-")
        if file in state.files and row.state is not S.LIVE:
            for _, what, to in self._deleted(state, file):
                yield self._move(False, f"somebody deletes file {file}{what}", to)

    def _later(self, state: State) -> State:
        daemons = tuple(
            daemon._replace(program=self._aged(daemon.program)) if daemon.program >= 0 else daemon
            for daemon in state.daemons
        )
        lag = self._lag or 0
        remotes = tuple(r._replace(age=min(r.age + 1, lag)) for r in state.remotes)
        return state._replace(row=self._aged(state.row), daemons=daemons, remotes=remotes)

    def _aged(self, thing: int) -> int:
        key = ("aged", thing)
        if key not in self._memory:
            self._memory[key] = self._number(self._replay.later(self._things[thing], TICK))
        found: int = self._memory[key]
        return found

    # Keeping the space finite: names are used again, and what can matter no more is forgotten.

    def _move(self, fair: bool, what: str, to: State) -> Move:
        """Forget what no one can notice any more."""
        daemons = tuple(self._idle_if_harmless(to, daemon) for daemon in to.daemons)
        row = self._names(to.row)
        flights = frozenset(
            flight
            for flight in to.flights
            if (flight[1] in row if flight[0] == "upload" else not self._refuses(to, flight[1]))
        )
        used = row.union(*(flight[1:] for flight in flights))
        used = used.union(*(self._names(d.program) for d in daemons if d.program >= 0))
        remotes = tuple(r for r in to.remotes if r.runs or r.token in used or r.file in used)
        return Move(fair, what, State(to.row, daemons, flights, to.files & used, remotes))

    def _idle_if_harmless(self, state: State, daemon: Daemon) -> Daemon:
        """Let go of a daemon whose claim is lost, unless its next call is still felt."""
        if daemon.program < 0 or daemon.holds or not self.assumed.writes_are_fenced:
            return daemon
        kind, *about = self._things[daemon.program].effect
        felt = {
            "create": lambda: not self._refuses(state, about[0]),
            "upload": lambda: about[0] in self._names(state.row),
            "delete": lambda: about[0] in state.files,
            # What follows the check is a fenced commit.
            "check lease": lambda: (
                not (self.assumed.lease_is_checked or self.assumed.intent_before_send)
            ),
            "commit": lambda: not self.assumed.intent_before_send,
        }.get(kind, lambda: False)
        return daemon if felt() else IDLE

    def _fresh(self, state: State) -> str:
        used = self._names(state.row).union(state.files, *(f[1:] for f in state.flights))
        used = used.union(*((r.file, r.token) for r in state.remotes))
        used = used.union(*(self._names(d.program) for d in state.daemons if d.program >= 0))
        return next(name for number in range(99) if (name := f"t{number}") not in used)

    def _names(self, thing: int) -> frozenset[str]:
        """Return the tokens that a thing knows; a file has the token that it was uploaded with."""
        key = ("names", thing)
        if key not in self._memory:
            self._memory[key] = frozenset(_tokens_in(self._things[thing]))
        found: frozenset[str] = self._memory[key]
        return found

    def _put(self, state: State, index: int, daemon: Daemon) -> State:
        daemons = (*state.daemons[:index], daemon, *state.daemons[index + 1 :])
        return state._replace(daemons=daemons)

    def _number(self, thing: Any) -> int:
        number = self._numbers.setdefault(thing, len(self._things))
        if number == len(self._things):
            self._things.append(thing)
        return number


def _tokens_in(thing: Any) -> Iterator[str]:
    if isinstance(thing, Batch):
        yield thing.token
        if thing.input_file_id:
            yield thing.input_file_id.removeprefix("file-")
    elif isinstance(thing, Commit):
        yield from _tokens_in(tuple(thing.event.values().values()))
    elif isinstance(thing, tuple):
        for part in thing:
            yield from _tokens_in(part)
    elif isinstance(thing, str) and not isinstance(thing, Step | BatchState):
        name = thing.removeprefix("file-")
        if name[:1] == "t" and name[1:].isdigit():
            yield name
