"""Words of the way in: records, requests, violations."""

from __future__ import annotations

from typing import Any

import msgspec


class Record(msgspec.Struct, frozen=True, gc=False):
    """One row of a source. `position` is its line number, counted from 1.

    `raw` is the row's JSON text as it stands in the source, empty where the source is not JSON.
    `key` identifies it where no column is to: empty where only its position does. `messages` is
    the JSON array of those that the source brings with it, empty where they are still to be made.
    """

    position: int
    data: dict[str, Any]
    raw: bytes = b""
    key: str = ""
    messages: bytes = b""


class BadRow(msgspec.Struct, frozen=True):
    """A row that can't be read at all, and why."""

    position: int
    code: str
    reason: str


class Request(msgspec.Struct, frozen=True, gc=False):
    """A record rendered for the provider.

    `record` is the source row as JSON text, `body` the request body as JSON text with ASCII
    escapes. `size` is the length in bytes of the batch line made from it, line break included.
    `est_in` estimates the tokens of the prompt, `est_out` is the body's bound on the answer's.
    `body_hash`: of a job that shares equal requests, else None.
    """

    seq: int
    position: int
    key: str
    custom_id: str
    model: str
    record: bytes
    body: bytes
    size: int
    est_in: int = 0
    est_out: int | None = None
    body_hash: str | None = None


class Violation(msgspec.Struct, frozen=True, order=True):
    """One broken rule. `position` is the line in the source, 0 for the job as a whole."""

    position: int
    code: str
    reason: str
