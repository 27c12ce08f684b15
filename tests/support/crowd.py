"""A registry full of history: made by the database itself, a million rows in seconds."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa

from orchestrator.registry.session import Registry

MEMBERS = 100
"""Requests a batch."""

JOBS = 10
"""All but the last are finished."""

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)"

_JOBS = f"""
INSERT INTO jobs (id, name, state, provider, spec, digest, records, waiting, in_flight, succeeded,
                  batches, due_at, created_at)
{_NUMBERS} SELECT i + 1, 'job-' || i,
       CASE WHEN i + 1 < :count THEN 'finished' ELSE 'running' END, 'sandbox', '{{}}', '',
       CAST(:size AS bigint), 0, 0, CAST(:size AS bigint), 0, :later, :now FROM n"""

_BATCHES = f"""
INSERT INTO batches (job_id, number, provider, state, epoch, model, requests, bytes, token,
                     planned_at, due_at, state_at, input_file_id, remote_id)
{_NUMBERS} SELECT 1 + i * {JOBS} / :count, i, 'sandbox',
       CASE WHEN i < :count - :open THEN 'closed' ELSE 'live' END, 1, 'kimi-k2.6', {MEMBERS}, 1000,
       'crowd-' || i, :now, :later, :now, 'file-' || i, 'batch-' || i FROM n ORDER BY i"""

_REQUESTS = f"""
INSERT INTO requests (id, job_id, custom_id, state, model, size, batch_id, rounds)
{_NUMBERS} SELECT (CAST(1 + i * {JOBS} / :count AS bigint) << 32) | (i % (:count / {JOBS})),
       1 + i * {JOBS} / :count, 'r-' || i,
       CASE WHEN i < :count - :open THEN 'succeeded'
            WHEN i % 2 = 0 THEN 'assigned' ELSE 'pending' END,
       'kimi-k2.6', 100, CASE WHEN i < :count - :open OR i % 2 = 0 THEN 1 + i / {MEMBERS} END, 1
FROM n ORDER BY i"""

_PAYLOADS = """
INSERT INTO payloads (request_id, position, record, body)
SELECT id, id % 1000000, '{}', '{}' FROM requests ORDER BY id"""

_ENDED_JOBS = f"""
INSERT INTO jobs (id, name, state, provider, spec, digest, records, batches, due_at, created_at)
{_NUMBERS} SELECT 1000 + i, 'ended-' || i, 'finished', 'sandbox', '{{}}', '', 0, 0, :now, :now
FROM n"""

_WORKERS = f"""
INSERT INTO workers (id, kind, host, pid, version, started_at, seen_at, lease_until, stopped_at)
{_NUMBERS} SELECT 'tick-' || i, 'tick', 'here', i, '0', :now, :now, :now, :now FROM n"""

_EVENTS = f"""
INSERT INTO events (at, kind, job_id, batch_id, actor, data)
{_NUMBERS} SELECT :now, 'planned', 1 + i * {JOBS} / :count, 1 + i, 'crowd', '{{}}' FROM n"""


def fill(registry: Registry, *, now: datetime, batches: int, live: int) -> None:
    """Make ten jobs with so many batches of a hundred requests; `live` of them run, none is due.

    As many ended jobs without records and as many one-shots stand beside them.
    """
    count = batches * MEMBERS
    times = {"now": now - timedelta(days=1), "later": now + timedelta(minutes=30)}

    def work(db: sa.Connection) -> None:
        def run(sql: str, **values: object) -> None:
            given = sa.text(sql)
            names = [name for name in ("now", "later") if f":{name}" in sql]
            kinds = [sa.bindparam(name, times[name], type_=sa.DateTime(True)) for name in names]
            db.execute(given.bindparams(*kinds) if kinds else given, values)

        run(_JOBS, count=JOBS, size=count // JOBS)
        run(_BATCHES, count=batches, open=live)
        run(_REQUESTS, count=count, open=live * MEMBERS)
        run(_PAYLOADS)
        run(_EVENTS, count=batches)
        run(_ENDED_JOBS, count=batches)
        run(_WORKERS, count=batches)
        if db.dialect.name == "postgresql":
            run("SELECT setval(pg_get_serial_sequence('jobs', 'id'), (SELECT max(id) FROM jobs))")

    registry.write(work)
    if registry.dialect == "postgresql":
        with registry.connect() as db:
            db.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
