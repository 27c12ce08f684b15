"""What an audit makes of a remote batch under our name: pure, over the row that may be its own."""

from __future__ import annotations

import enum
import re

from orchestrator.domain.model import Batch, BatchState
from orchestrator.domain.remote import RemoteBatch

S = BatchState

CLONED = "ORC5209"
"""Why an account is paused when another copy of this registry was seen at work."""

_LABEL = re.compile(r"b(\d+), (\d+) requests?")

_BEING_LOOKED_FOR = frozenset({S.CREATING, S.CREATE_UNKNOWN})
_NOT_MADE = frozenset({S.PLANNED, S.BUILT, S.UPLOADING, S.UPLOAD_UNKNOWN, S.UPLOADED, S.PARKED})

GIVEN_UP_FROM = frozenset({S.LIVE, S.REMOTE_DONE})
"""Where a batch was parked that has a remote batch and none of its answers."""


class Finding(enum.StrEnum):
    """How a remote batch and the registry fit together."""

    KNOWN = "known"
    LOOKED_FOR = "looked_for"
    """Its create is unanswered, and the batch's own next step finds it."""
    FORGOTTEN = "forgotten"
    """The row was never told that it had been made: it takes it in."""
    EXTRA = "extra"
    """A second one: the row has another, or its members travel elsewhere."""
    STRAY = "stray"
    """No row knows it."""


def examine(remote: RemoteBatch, row: Batch | None) -> Finding:
    """Hold a remote batch against the row that its id, token or input file leads to."""
    if row is None:
        return Finding.STRAY
    if row.remote_id == remote.id:
        return Finding.KNOWN
    if row.remote_id is not None:
        return Finding.EXTRA
    if row.state in _BEING_LOOKED_FOR:
        return Finding.LOOKED_FOR
    return Finding.FORGOTTEN if row.state in _NOT_MADE else Finding.EXTRA


def was_given_up(row: Batch) -> bool:
    """Whether a person released the row without the answers of its remote batch.

    Its records travel in other batches then. What it answers after all is paid for.
    """
    ended = row.state in {S.SUPERSEDED, S.CLOSED} and row.remote_id is not None
    return ended and row.parked_from in GIVEN_UP_FROM and not row.cursor


def is_successor(remote: RemoteBatch, row: Batch) -> bool:
    """Whether a stray that says it is this batch of its job can be believed.

    Its token is one that the row was to get later: the registry forgot a renewal. A row with a
    remote batch of its own, or another number of requests, is another one.
    """
    told = _LABEL.fullmatch(remote.metadata.get("orc_batch", ""))
    may_be = row.state in _NOT_MADE | _BEING_LOOKED_FOR and row.remote_id is None
    return may_be and told is not None and int(told[2]) == row.requests


def number_of(remote: RemoteBatch) -> int | None:
    """Return the number in its job that a remote batch of ours says it has."""
    told = _LABEL.fullmatch(remote.metadata.get("orc_batch", ""))
    return int(told[1]) if told else None
