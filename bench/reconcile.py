"""Reconcile against the barest script that does the same: parse with orjson, write to SQLite.

    python bench/reconcile.py [RECORDS]

Both read the same output file and end with the same response rows in a database of their own, WAL
and synchronous=FULL. Prints lines a second of each, and their ratio, from one run.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.world import World

from orchestrator.domain import transitions as t
from orchestrator.domain.model import BatchState
from orchestrator.domain.remote import RemoteStatus
from orchestrator.engine.steps.prepare import prepare
from orchestrator.engine.steps.reconcile import reconcile
from orchestrator.registry import jobs, migrate, requests
from orchestrator.registry.session import Registry


def main() -> None:
    """Run both, in turn, three times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=int, nargs="?", default=100_000)
    parser.add_argument("--url", help="a PostgreSQL registry to use instead; it is emptied")
    args = parser.parse_args()
    rows = []
    for turn in range(3):
        with tempfile.TemporaryDirectory() as folder:
            ours, files = ours_once(Path(folder), args.records, args.url)
            bare = bare_once(Path(folder), files)
        rows.append((ours, bare))
        print(
            f"run {turn + 1}: ours {ours:,.0f} lines/s, bare script {bare:,.0f} lines/s, "
            f"ratio {ours / bare:.2f}"
        )
    ratios = sorted(ours / bare for ours, bare in rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{args.records:,} lines: median ratio {ratios[1]:.2f}; peak memory {peak:,.0f} MiB")


def ours_once(folder: Path, records: int, url: str | None) -> tuple[float, list[Path]]:
    """Bring a job to `collected`, then time the reconcile step alone."""
    if url:
        empty(url)
    registry = Registry(url or f"sqlite:///{folder / 'registry.db'}")
    migrate.ensure(registry, now=datetime.now(UTC))
    world = World(registry, folder)
    world.requests_per_batch = 100_000
    world.boot()
    name = f"bench-{time.time_ns()}"
    world.submit(records, name=name, prompt="{text} " + "x" * 100)
    forge(world, name)
    ready = [batch for batch in world.batches(name) if batch.state is BatchState.COLLECTED]
    started = time.perf_counter()
    for batch in ready:
        with registry.read() as db:
            job = jobs.get(db, batch.job_id)
        reconcile(world.context, batch, job)
    seconds = time.perf_counter() - started
    assert world.job(name).books.succeeded == records, world.job(name).books
    files = [world.context.spool.result_path(batch.id, "output") for batch in ready]
    registry.close()
    return records / seconds, files


def forge(world: World, name: str) -> None:
    """Walk each batch to `collected` over an output file of 950-byte lines in random order."""
    ctx = world.context
    prepare(ctx, world.job(name))
    now = ctx.now()
    for planned in world.batches(name):
        batch = ctx.record(planned, t.Built(sha256="0" * 64, bytes=1))
        batch = ctx.record(batch, t.UploadBegan(fingerprint="f"))
        batch = ctx.record(batch, t.Uploaded(input_file_id="file"))
        batch = ctx.record(batch, t.CreateBegan(create_began_at=now))
        batch = ctx.record(
            batch,
            t.Created(
                remote_id=f"batch-{batch.id}",
                remote_status="validating",
                remote_word="validating",
                remote_raw="{}",
                remote_created_at=now,
                expires_at=None,
                deadline_at=now,
                changed_at=now,
            ),
        )
        batch = ctx.record(
            batch,
            t.RemoteEnded(
                remote_status=RemoteStatus.COMPLETED,
                remote_word="completed",
                remote_raw="{}",
                remote_total=batch.requests,
                remote_completed=batch.requests,
                remote_failed=0,
                expires_at=None,
                looked_at=now,
                changed_at=now,
                output_file_id="out",
                error_file_id=None,
                remote_ended_at=now,
            ),
        )
        with world.registry.read() as db:
            members = requests.members(db, batch.id)
        random.Random(3).shuffle(members)
        with ctx.spool.writing(ctx.spool.result_path(batch.id, "output")) as file:
            for member in members:
                file.write(line(member.custom_id))
        ctx.record(
            batch,
            t.Collected(
                output_sha256=file.sha256,
                output_bytes=file.size,
                error_sha256=None,
                error_bytes=None,
            ),
        )


def line(custom_id: str) -> bytes:
    """Return an output line of about 950 bytes."""
    body: dict[str, Any] = {
        "id": f"chatcmpl-{custom_id}",
        "object": "chat.completion",
        "created": 1788000000,
        "model": "kimi-k2.6",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "word " * 100},
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 30,
            "completion_tokens": 100,
            "total_tokens": 130,
            "cached_tokens": 0,
        },
    }
    whole = {
        "id": custom_id,
        "custom_id": custom_id,
        "response": {"status_code": 200, "request_id": "", "body": body},
        "error": None,
    }
    return json.dumps(whole).encode() + b"\n"


def empty(url: str) -> None:
    """Drop everything in a PostgreSQL database."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.exec_driver_sql("DROP SCHEMA public CASCADE")
        db.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


def bare_once(folder: Path, files: list[Path]) -> float:
    """Parse and insert, nothing else: no states, no guards, no books, no quarantine."""
    started = time.perf_counter()
    db = sqlite3.connect(folder / "bare.db")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(
        "CREATE TABLE responses (custom_id TEXT PRIMARY KEY, status INTEGER, body TEXT,"
        " tokens_in INTEGER, tokens_out INTEGER, tokens_cached INTEGER, finish_reason TEXT)"
    )
    count = 0
    for path in files:
        chunk = []
        with path.open("rb", buffering=1 << 20) as file:
            for raw in file:
                found = orjson.loads(raw)
                body = found["response"]["body"]
                usage = body["usage"]
                chunk.append(
                    (
                        found["custom_id"],
                        found["response"]["status_code"],
                        orjson.dumps(body).decode(),
                        usage["prompt_tokens"],
                        usage["completion_tokens"],
                        usage["cached_tokens"],
                        body["choices"][0]["finish_reason"],
                    )
                )
                count += 1
                if len(chunk) == 5000:
                    db.executemany("INSERT INTO responses VALUES (?,?,?,?,?,?,?)", chunk)
                    db.commit()
                    chunk = []
        db.executemany("INSERT INTO responses VALUES (?,?,?,?,?,?,?)", chunk)
        db.commit()
    db.close()
    return count / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
