"""The queries that every tick makes use their indexes, whatever was ever done before.

The statements are those that the functions really send, heard at the driver.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from support.crowd import JOBS, MEMBERS, fill
from support.databases import NOW, Databases

from orchestrator.registry import (
    accounts,
    batches,
    deliveries,
    jobs,
    outcomes,
    requests,
    sharing,
    workers,
)
from orchestrator.registry.session import Registry

LARGE = {"requests", "batches", "payloads", "events", "responses", "failures", "jobs", "workers"}
LARGE |= {"leader"}
"""Tables that grow with everything that was ever done: none is read from one end to the other.

`leader`: requests, where another one is meant than the one that waits for it."""

_BY_REMOTE = "ix_batches_remote"
"""By its first column alone this one gives every batch a provider ever had."""

PARTIAL = {"ix_batches_due", "ix_batches_open", "ix_jobs_due", "ix_requests_ready"}
PARTIAL |= {"ix_requests_twin_of"}
"""Indexes of what is open: they may be read whole, as they forget what has ended."""

Query = Callable[[sa.Connection], object]
QUERIES: dict[str, Query] = {
    "claim": lambda db: batches.claim(db, worker="w", now=NOW, limit=16, busy=[5, 6]),
    "next due batch": lambda db: batches.next_due(db, worker="w", now=NOW),
    "furthest due batch": batches.furthest_due,
    "clamp of batches": lambda db: batches.clamp(db, NOW, NOW + timedelta(days=9)),
    "live": lambda db: batches.live(db, "sandbox"),
    "in flight": lambda db: batches.count_in_flight(db, "sandbox"),
    "remote files": lambda db: batches.remote_files(db, "sandbox"),
    "oldest unsettled": lambda db: batches.oldest_unsettled(db, "sandbox"),
    "due for cleaning": lambda db: batches.due_for_cleaning(db, "sandbox", 10),
    "unfinished of a job": lambda db: batches.count_unfinished(db, JOBS),
    "known remote batches": lambda db: batches.known(
        db, "sandbox", remote_ids=["batch-1"], tokens=["crowd-1"]
    ),
    "due jobs": lambda db: jobs.due(db, NOW),
    "next due job": jobs.next_due,
    "next refresh": lambda db: accounts.next_refresh(db, ["sandbox"]),
    "first pending": lambda db: requests.first_pending_model(db, JOBS),
    "first pending of a finished job": lambda db: requests.first_pending_model(db, 1),
    "pending": lambda db: requests.pending(db, JOBS, "kimi-k2.6", 10_000),
    "assign": lambda db: requests.assign(db, 1, [requests.request_id(JOBS, 1)]),
    "members": lambda db: requests.members(db, 3),
    "lines": lambda db: requests.lines(db, 3, after=0, limit=2_000),
    "give back": lambda db: requests.give_back(db, 3),
    "equal requests": lambda db: sharing.pair(db, JOBS, sharing.seqs(JOBS, 0, 5_000)),
    "twins to settle": lambda db: sharing.pass_on(
        db, sharing.of_leaders_after(jobs.get(db, 1)), stamp=1, limit=5_000
    ),
    "twins just registered": lambda db: sharing.pass_on(
        db, sharing.seqs(JOBS, 0, 5_000), stamp=1, limit=5_000
    ),
    "outcomes behind a stamp": lambda db: outcomes.stamped(db, 1, (1, 0), 100),
    "due deliveries": lambda db: deliveries.is_due(db, NOW),
    "claimed deliveries": lambda db: deliveries.claim(db, worker="w", now=NOW, limit=4),
    "next due delivery": lambda db: deliveries.next_due(db, worker="w", now=NOW),
    "furthest due delivery": deliveries.furthest_due,
    "deliveries of jobs": lambda db: deliveries.of_jobs(db, [1, 2]),
    "alive workers": lambda db: workers.alive(db, NOW),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def crowded(request: pytest.FixtureRequest, databases: Databases) -> Iterator[tuple[Registry, str]]:
    """A registry of a hundred thousand requests, with --thorough of a million."""
    registry = Registry(databases.fresh(request.param), sync=False)
    thorough = request.config.getoption("--thorough")
    count = 1_000_000 if thorough else 100_000
    fill(registry, now=NOW, batches=count // MEMBERS, live=count // MEMBERS // 50)
    yield registry, request.param
    registry.close()


class _Undo(Exception):
    """Ends the transaction that a query was heard in."""


def heard(registry: Registry, query: Query) -> list[tuple[str, Any]]:
    """Run a query, undo it, and return the statements that reached the driver."""
    found: list[tuple[str, Any]] = []

    def listen(*seen: Any) -> None:
        found.append((seen[2], seen[3]))

    def work(db: sa.Connection) -> None:
        sa.event.listen(db, "before_cursor_execute", listen)
        query(db)
        raise _Undo

    with pytest.raises(_Undo):
        registry.write(work)
    return found


def reads(registry: Registry, statement: str, parameters: Any) -> set[tuple[str, str]]:
    """Return each table that the plan reads from end to end, with the index it reads, if any."""
    with registry.connect() as db:
        if registry.dialect == "sqlite":
            rows = db.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            return {scan for row in rows if (scan := _scanned(row[3]))}
        plan = db.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar()
        tree = plan if isinstance(plan, list) else json.loads(str(plan))
        return set(_scans(tree[0]["Plan"]))


def _scanned(detail: str) -> tuple[str, str] | None:
    """Read a line of SQLite's plan: `SCAN batches USING INDEX ix_batches_due`."""
    words = detail.split()
    if words[0] == "SCAN":
        return words[1], words[-1] if "INDEX" in words else ""
    return ("batches", _BY_REMOTE) if f"{_BY_REMOTE} (provider=?)" in detail else None


def _scans(node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    index, condition = node.get("Index Name", ""), node.get("Index Cond", "")
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"], ""
    elif index and not condition:
        yield index.split("_")[1], index
    elif index == _BY_REMOTE and "remote_id" not in condition:
        yield "batches", index
    for below in node.get("Plans", ()):
        yield from _scans(below)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_every_tick_reads_no_history(crowded: tuple[Registry, str], name: str) -> None:
    registry, _ = crowded
    statements = heard(registry, QUERIES[name])
    assert statements
    for statement, parameters in statements:
        whole = reads(registry, statement, parameters)
        history = {(table, index) for table, index in whole if table in LARGE}
        assert {index for _, index in history} <= PARTIAL, (whole, statement)


def test_a_query_that_reads_history_is_seen(crowded: tuple[Registry, str]) -> None:
    registry, _ = crowded
    ((statement, parameters),) = heard(
        registry, lambda db: db.execute(sa.text("SELECT count(*) FROM batches WHERE bytes = 7"))
    )
    assert ("batches", "") in reads(registry, statement, parameters)
