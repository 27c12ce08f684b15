"""Histories: the events of one batch or job, held against the tables of moves. Pure.

The audit trail is written in the transaction of each move, so that it must tell one unbroken story
that ends where the row stands. What it tells besides shows whether the protocol was kept: an
intent before each call, a second create only after the first one's input was revoked, nothing
removed before its answers were recorded.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from orchestrator.domain.model import Batch, BatchState, Job, JobState
from orchestrator.domain.transitions import JOB_TRANSITIONS, TRANSITIONS, Event, JobEvent


class Rule(enum.Enum):
    """What a history must keep: the invariant it belongs to, and its words."""

    INTENT = "I4", "each upload and creation was begun before its remote id was recorded"
    REMOTE = "I4", "the remote batch of a row is the one that its events tell of"
    MOVES = "I7", "each move is in the table, and begins where the last one ended"
    ENDS = "I7", "the last move ends at the state of the row"
    CLAIMED = "I8", "a batch that was worked on was claimed first: its epoch was raised"
    REMOVED = "I10", "nothing was removed before its answers were recorded"
    CREATED_AGAIN = "I12", "an unanswered creation was sent again only after its input was revoked"

    @property
    def invariant(self) -> str:
        """The invariant, as `docs/operations.md` lists them."""
        return str(self.value[0])

    @property
    def words(self) -> str:
        """What must hold."""
        return str(self.value[1])


class Entry(NamedTuple):
    """One event of a history."""

    id: int
    kind: str
    data: Mapping[str, Any]


class Breach(NamedTuple):
    """A rule that a history breaks, and where."""

    rule: Rule
    words: str


def _kinds(base: type) -> Iterator[type]:
    below: list[type] = base.__subclasses__()
    for kind in below:
        yield kind
        yield from _kinds(kind)


def _plain(kind: str) -> str:
    """Return a kind without the underscores, which some were once recorded without."""
    return kind.replace("_", "")


_MOVES = {kind.__name__.lower(): kind for kind in _kinds(Event)}
_JOB_MOVES = {f"job{kind.__name__.removeprefix('Job')}".lower(): kind for kind in _kinds(JobEvent)}
_BEGINNINGS = {
    "planned": BatchState.PLANNED.value,
    "recovered": BatchState.LIVE.value,
    "submitted": JobState.REGISTERING.value,
}
_MAY_BE_CLEANED = frozenset({BatchState.RECONCILED, BatchState.SUPERSEDED, BatchState.PARKED})


def breaches_of_job(job: Job, entries: Iterable[Entry]) -> Iterator[Breach]:
    """Yield what is wrong with the history of a job; `entries` are its own events, in order."""
    stands: str | None = None
    for entry in entries:
        move = _JOB_MOVES.get(_plain(entry.kind))
        stands, wrong = _follow(stands, entry, move, JOB_TRANSITIONS)
        yield from wrong
    if stands is not None and stands != job.state:
        yield Breach(Rule.ENDS, f"it is {job.state}, its events end at {stands}")


def breaches_of_batch(batch: Batch, entries: Iterable[Entry]) -> Iterator[Breach]:
    """Yield what is wrong with the history of a batch; `entries` are its events, in order."""
    stands: str | None = None
    story = _Story()
    for entry in entries:
        move = _MOVES.get(_plain(entry.kind))
        if stands is None:
            story.planned = entry.kind == "planned"
        elif move is not None and "from" in entry.data:
            story.moves += 1
        stands, wrong = _follow(stands, entry, move, TRANSITIONS)
        yield from wrong
        yield from story.tell(entry)
    if stands != batch.state:
        yield Breach(Rule.ENDS, f"it is {batch.state}, its events end at {stands or 'nothing'}")
    if batch.remote_id != story.remote_id:
        told = story.remote_id or "none"
        yield Breach(Rule.REMOTE, f"it follows {batch.remote_id or 'none'}, its events say {told}")
    if story.planned and story.moves and batch.epoch < 1:
        yield Breach(Rule.CLAIMED, f"{story.moves} moves, epoch {batch.epoch}")


def _follow(
    stands: str | None, entry: Entry, move: type | None, table: Mapping[Any, Mapping[type, str]]
) -> tuple[str | None, list[Breach]]:
    """Return where a history stands after an event, and what is wrong with that."""
    if entry.kind in _BEGINNINGS and "from" not in entry.data:
        wrong = [] if stands is None else [_breach(entry, f"it began anew, from {stands}")]
        return _BEGINNINGS[entry.kind], wrong
    if move is None:
        return stands, []
    came, went = entry.data.get("from"), entry.data.get("to")
    wrong = []
    if table.get(came, {}).get(move) != went:
        wrong.append(_breach(entry, f"it led from {came} to {went}"))
    if stands != came:
        wrong.append(_breach(entry, f"it began at {came}, not at {stands or 'nothing'}"))
    return went, wrong


def _breach(entry: Entry, words: str) -> Breach:
    return Breach(Rule.MOVES, f"event {entry.id}, {entry.kind}: {words}")


class _Story:
    """What is known of a batch while its events are gone through."""

    def __init__(self) -> None:
        self.planned = False
        self.moves = 0
        self.remote_id: str | None = None
        self._upload_began = False
        self._create_began = False
        self._revoked = False

    def tell(self, entry: Entry) -> Iterator[Breach]:
        """Take in one event; yield the rules that it breaks."""
        match entry.kind:
            case "upload_began":
                self._upload_began = True
            case "create_began":
                self._create_began, self._revoked = True, False
            case "input_revoked":
                self._revoked = True
            case "uploaded" if not self._upload_began:
                yield Breach(Rule.INTENT, f"event {entry.id}: uploaded, but never begun")
            case "created" | "adopted" | "recovered":
                if entry.kind != "recovered" and not self._create_began:
                    yield Breach(Rule.INTENT, f"event {entry.id}: {entry.kind}, but never begun")
                self.remote_id = entry.data.get("remote_id")
            case "renewed" if not self._revoked:
                yield Breach(Rule.CREATED_AGAIN, f"event {entry.id}: its input was not revoked")
            case "cleaned_up":
                came = entry.data.get("from")
                parked = came == BatchState.PARKED and self.remote_id is not None
                if came not in _MAY_BE_CLEANED or parked:
                    yield Breach(Rule.REMOVED, f"event {entry.id}: cleaned up while {came}")
