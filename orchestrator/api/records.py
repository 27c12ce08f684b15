"""One record from its source row to its outcome: every attempt, with the place it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from orchestrator.api.lookup import Found
from orchestrator.domain.cost import actual
from orchestrator.domain.model import Batch, Job
from orchestrator.domain.money import Money
from orchestrator.domain.progress import DayPrices, no_day_prices
from orchestrator.domain.shape import read_shape
from orchestrator.registry import batches, jobs, outcomes
from orchestrator.registry.session import Registry


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A request's inclusion in one batch, and what came of it.

    `word`: succeeded, the cause of its failure, or `in flight`. `file` and `line` say where the
    answer stood; `latency` is in seconds from the batch's creation.
    """

    batch: str
    remote_id: str | None
    word: str
    final: bool
    source: str | None = None
    file: str | None = None
    sha256: str | None = None
    line: int | None = None
    status_code: int | None = None
    code: str = ""
    message: str = ""
    finish_reason: str = ""
    body: str | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    latency: float | None = None
    provider_request_id: str = ""
    recorded_at: datetime | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form; a body that is JSON is an object."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**values, "body": _parsed(self.body)}


@dataclass(frozen=True, kw_only=True)
class EqualRecord:
    """The record whose request asks the same, and is sent for both.

    `answered_at`: when its answer was recorded, None where it gave no answer (yet).
    """

    job: str
    key: str
    answered_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class RecordTrace:
    """One record: its source row, the rendered request, its attempts, its state.

    `repair` is what was sent in the request's place after an answer that did not fit. `cost` is
    what all of its own attempts cost, None where no price or usage is known.
    """

    job: str
    key: str
    custom_id: str
    state: str
    model: str
    source: str
    position: int
    place: str
    row: str
    request: str
    attempts: tuple[Attempt, ...]
    repair: str | None = None
    equal_to: EqualRecord | None = None
    cost: Money | None = None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form; row and request are objects."""
        return {
            "job": self.job,
            "key": self.key,
            "custom_id": self.custom_id,
            "state": self.state,
            "model": self.model,
            "source": self.source,
            "position": self.position,
            "place": self.place,
            "row": _parsed(self.row),
            "request": _parsed(self.request),
            "repair": _parsed(self.repair),
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "equal_to": asdict(self.equal_to) if self.equal_to else None,
            "cost": None if self.cost is None else dict(self.cost.to_dict()),
        }


def trace_record(
    registry: Registry, found: Found, *, prices: DayPrices = no_day_prices
) -> RecordTrace:
    """Return everything the registry knows of a record; `prices` tells what a model costs."""
    with registry.read() as db:
        known = outcomes.trace(db, found.request_id)
        rows = [*known.failures, *([known.response] if known.response else [])]
        ids = {row["batch_id"] for row in rows} | {known.request["batch_id"]} - {None}
        by_id = {batch_id: batches.get(db, batch_id) for batch_id in ids}
        names = jobs.names(db, [batch.job_id for batch in by_id.values()])
        equal_to = _equal_to(db, known)
    name = found.job.name
    attempts = [_attempt(names, by_id[row["batch_id"]], row) for row in rows]
    request = known.request
    if request["state"] == "assigned":
        batch = by_id[request["batch_id"]]
        where = f"{name}/{batch.label}"
        attempts.append(
            Attempt(batch=where, remote_id=batch.remote_id, word="in flight", final=False)
        )
    return RecordTrace(
        job=name,
        key=request["key"] or request["custom_id"],
        custom_id=request["custom_id"],
        state=request["state"],
        model=request["model"],
        source=json.loads(found.job.spec).get("source", ""),
        position=known.payload["position"],
        place=_place(found.job, known.payload["position"]),
        row=known.payload["record"],
        request=known.payload["body"],
        attempts=tuple(attempts),
        repair=known.payload["repair"],
        equal_to=equal_to,
        cost=_cost(known, by_id, prices),
    )


def _cost(known: outcomes.Trace, by_id: Mapping[int, Batch], prices: DayPrices) -> Money | None:
    """Return what the record's own attempts cost; the answer to an equal one is paid for there."""
    own = known.response is not None and known.request["twin_of"] is None
    total: Money | None = None
    for row in (*known.failures, *([known.response] if own else [])):
        if row is None or (row["tokens_in"] is None and row["tokens_out"] is None):
            continue
        provider = by_id[row["batch_id"]].provider
        price = prices(provider, known.request["model"], row["recorded_at"].date())
        tokens = (row["tokens_in"] or 0, row["tokens_out"] or 0, row.get("tokens_cached") or 0)
        part = actual(*tokens, price)
        if part is None:
            return None
        total = part if total is None else total + part
    return total


def _equal_to(db: Connection, known: outcomes.Trace) -> EqualRecord | None:
    """Return the record that the one at hand waits for, or has its answer from."""
    twin_of = known.request["twin_of"]
    if twin_of is None:
        return None
    job_id, key = outcomes.key_of(db, twin_of)
    at = known.response["recorded_at"] if known.response else None
    return EqualRecord(job=jobs.names(db, [job_id])[job_id], key=key, answered_at=at)


def _place(job: Job, position: int) -> str:
    """Return where a record stands: `line 17 of reviews.csv`."""
    shape = read_shape(job.shape)
    told = shape.place(position)
    source: str = json.loads(job.spec).get("source", "")
    return told if shape.parts or not source else f"{told} of {source}"


def _attempt(names: Mapping[int, str], batch: Batch, row: RowMapping) -> Attempt:
    output = row["source"] == "output"
    told = row["source"] in {"output", "error"} and row["line"] > 0
    return Attempt(
        batch=f"{names[batch.job_id]}/{batch.label}",
        remote_id=batch.remote_id,
        word=row.get("cause", "succeeded"),
        final=row.get("final", True),
        source=row["source"] if told else None,
        file=(batch.output_file_id if output else batch.error_file_id) if told else None,
        sha256=(batch.output_sha256 if output else batch.error_sha256) if told else None,
        line=row["line"] if told else None,
        status_code=row["status_code"],
        code=row.get("code", ""),
        message=row.get("message", ""),
        finish_reason=row.get("finish_reason", ""),
        body=row["body"],
        tokens_in=row["tokens_in"],
        tokens_out=row["tokens_out"],
        tokens_cached=row.get("tokens_cached"),
        latency=row["latency"],
        provider_request_id=row["provider_request_id"],
        recorded_at=row["recorded_at"],
    )


def _parsed(text: str | None) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of JSON text, else the text itself."""
    if text is None:
        return None
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text
