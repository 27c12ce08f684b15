"""A finished job with any records and answers, written straight into a registry."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from orchestrator.domain.model import Job
from orchestrator.domain.shape import Shape
from orchestrator.domain.spec import JobSpec
from orchestrator.registry import answers, jobs
from orchestrator.registry.bulk import insert_rows
from orchestrator.registry.requests import request_id
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import batches, payloads, requests
from orchestrator.registry.tables import jobs as jobs_table

NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
MODEL = "kimi-k2.6"
_CHUNK = 20_000
_names = itertools.count(1)


def completion(text: str) -> str:
    """Return the body of an ordinary answer."""
    message = {"role": "assistant", "content": text}
    return json.dumps({"id": "chatcmpl-1", "choices": [{"index": 0, "message": message}]})


def finished(
    registry: Registry,
    records: Iterable[str],
    *,
    shape: Shape | None = None,
    bodies: Sequence[str] = (completion("yes"),),
    source: str = "output",
    **spec: Any,
) -> Job:
    """Make a job of `records`, all succeeded in one batch, answered by `bodies` in turn."""
    name = spec.pop("name", f"finished-{next(_names)}")
    made = JobSpec(name=name, source="-", provider="sandbox", model=MODEL, **spec)
    given = enumerate(zip(records, itertools.cycle(bodies)))

    def work(db: sa.Connection) -> Job:
        job = jobs.add(
            db,
            name=name,
            provider="sandbox",
            spec=msgspec.json.encode(made).decode(),
            digest="",
            shape=msgspec.json.encode(shape or Shape()).decode(),
            now=NOW,
            actor="test",
        )
        assert job is not None
        batch = _batch(db, job.id)
        total = 0
        while rows := list(itertools.islice(given, _CHUNK)):
            _write(db, job.id, batch, rows, source)
            total += len(rows)
        counts = {"records": total, "succeeded": total, "stamp": 1, "state": "finished"}
        db.execute(sa.update(jobs_table).where(jobs_table.c.id == job.id).values(**counts))
        return jobs.get(db, job.id)

    return registry.write(work)


def _batch(db: sa.Connection, job_id: int) -> int:
    times = dict.fromkeys(("planned_at", "due_at", "state_at"), NOW)
    values = {"job_id": job_id, "number": 1, "provider": "sandbox", "state": "closed"}
    values |= {"model": MODEL, "requests": 0, "bytes": 0, "token": f"t-{job_id}", **times}
    return int(db.execute(sa.insert(batches).values(**values)).inserted_primary_key[0])


def _write(
    db: sa.Connection, job_id: int, batch: int, rows: list[tuple[int, tuple[str, str]]], source: str
) -> None:
    ids = [request_id(job_id, seq) for seq, _ in rows]
    names = ("id", "job_id", "custom_id", "state", "model", "size", "batch_id", "stamp")
    places = ((i, job_id, f"r-{i}", "succeeded", MODEL, 100, batch, 1) for i in ids)
    insert_rows(db, requests, names, places)
    texts = ((i, n, record, "{}") for i, (n, (record, _)) in zip(ids, rows, strict=True))
    insert_rows(db, payloads, ("request_id", "position", "record", "body"), texts)
    used = (None, None, None) if source in {"twin", "cache"} else (10, 5, 0)
    answers.record_responses(
        db,
        [
            answers.ResponseRow(i, batch, source, n, 200, body, *used, "stop", "", 1.0, NOW)
            for i, (n, (_, body)) in zip(ids, rows, strict=True)
        ],
    )
