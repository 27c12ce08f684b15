"""Every table of the registry. Alembic migrations make them; this module is what queries name.

Request ids are integers in request order: `job_id << 32 | seq`, so that a job's requests lie side
by side and bulk writes go in key order. Bodies stand in tables of their own (`payloads`,
`responses`): a state move then rewrites a short row, never a prompt.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from orchestrator.domain.model import (
    BatchState,
    ChargeKind,
    DeliveryState,
    Gate,
    JobState,
    RequestState,
    StageState,
    StrayVerdict,
)

SCHEMA = "0005"
"""The migration that this code works with: the head of `migrations/`."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Utc(TypeDecorator[datetime]):
    """A time in UTC: timestamptz on PostgreSQL, ISO text on SQLite; aware in Python."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time as the database keeps it."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - theirs
        """Return the time, aware."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Key = BigInteger().with_variant(Integer(), "sqlite")


def _word(
    name: str, length: int, words: type[StrEnum], *, primary_key: bool = False
) -> Column[str]:
    """Return a column that holds one of `words`, guarded by a CHECK."""
    legal = ", ".join(repr(str(word)) for word in words)
    check = CheckConstraint(f"{name} IN ({legal})", name)
    return Column(name, String(length), check, nullable=False, primary_key=primary_key)


instance = Table(
    "instance",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created_at", Utc, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("name", String(200), nullable=False, unique=True),
    _word("state", 16, JobState),
    Column("provider", String(100), nullable=False),
    Column("spec", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("shape", Text, nullable=False, server_default=""),
    Column("records", BigInteger, nullable=False, server_default="0"),
    Column("waiting", BigInteger, nullable=False, server_default="0"),
    Column("in_flight", BigInteger, nullable=False, server_default="0"),
    Column("succeeded", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("expired", BigInteger, nullable=False, server_default="0"),
    Column("cancelled", BigInteger, nullable=False, server_default="0"),
    Column("batches", Integer, nullable=False, server_default="0"),
    Column("tokens_in", BigInteger, nullable=False, server_default="0"),
    Column("tokens_out", BigInteger, nullable=False, server_default="0"),
    Column("tokens_cached", BigInteger, nullable=False, server_default="0"),
    Column("due_at", Utc, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("finished_at", Utc),
    Column("series", Text, nullable=False, server_default=""),
    Column("source_digest", String(64), nullable=False, server_default=""),
    Column("stamp", BigInteger, nullable=False, server_default="0"),
    Column("growing", Boolean, nullable=False, server_default=false()),
    Column("shared", BigInteger, nullable=False, server_default="0"),
    Column("cached", BigInteger, nullable=False, server_default="0"),
    Column("settled", BigInteger, nullable=False, server_default="0"),
    Column("canary", String(10)),
    Column("budget", Text),
    Column("hold_code", String(10)),
    Column("hold_reason", Text),
    Column("held_since", Utc),
    CheckConstraint(
        "records = waiting + in_flight + succeeded + failed + expired + cancelled", "books"
    ),
    CheckConstraint(
        "waiting >= 0 AND in_flight >= 0 AND succeeded >= 0 AND failed >= 0 AND expired >= 0",
        "counts",
    ),
    Index("ix_jobs_due", "due_at", sqlite_where=text("state IN ('running', 'cancelling')"),
          postgresql_where=text("state IN ('running', 'cancelling')")),
    Index("ix_jobs_series", "series", "id", sqlite_where=text("series <> ''"),
          postgresql_where=text("series <> ''")),
    sqlite_autoincrement=True,
)  # fmt: skip
"""`stamp`: counts the transactions that recorded outcomes, see `requests.stamp`. `growing`: an
earlier stage still feeds it, so that it does not finish. `shared`, `cached`: records answered by a
twin or by an earlier job. `settled`: the stamp up to which outcomes were passed on to the twins
that wait for them. `canary`: how its first slice stands. `budget`: in the place of the
spec's. `hold_*`: why a guard lets nothing new be sent. `series`: what its jobs are the runs of."""

requests = Table(
    "requests",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=False),
    Column("job_id", Key, ForeignKey("jobs.id"), nullable=False),
    Column("custom_id", String(100), nullable=False),
    Column("key", Text),
    _word("state", 10, RequestState),
    Column("model", String(200), nullable=False),
    Column("size", Integer, nullable=False),
    Column("batch_id", Key, ForeignKey("batches.id")),
    Column("rounds", Integer, nullable=False, server_default="0"),
    Column("refusals", Integer, nullable=False, server_default="0"),
    Column("est_in", Integer, nullable=False, server_default="0"),
    Column("est_out", Integer),
    Column("body_hash", String(32)),
    Column("twin_of", Key),
    Column("stamp", BigInteger),
    UniqueConstraint("job_id", "custom_id"),
    Index("ix_requests_ready", "job_id", "model", "id",
          sqlite_where=text("state = 'pending' AND twin_of IS NULL"),
          postgresql_where=text("state = 'pending' AND twin_of IS NULL")),
    Index("ix_requests_batch_id", "batch_id",
          sqlite_where=text("batch_id IS NOT NULL"), postgresql_where=text("batch_id IS NOT NULL")),
    Index("ix_requests_stamp", "job_id", "stamp", "id",
          sqlite_where=text("stamp IS NOT NULL"), postgresql_where=text("stamp IS NOT NULL")),
    Index("ix_requests_body_hash", "body_hash", "state", "id",
          sqlite_where=text("body_hash IS NOT NULL AND twin_of IS NULL"),
          postgresql_where=text("body_hash IS NOT NULL AND twin_of IS NULL")),
    Index("ix_requests_twin_of", "twin_of", "id",
          sqlite_where=text("state = 'pending' AND twin_of IS NOT NULL"),
          postgresql_where=text("state = 'pending' AND twin_of IS NOT NULL")),
)  # fmt: skip
"""`key` is NULL where it equals `custom_id`. `rounds` counts batches, `refusals` the provider's
noes to that very line. `est_in`, `est_out`: estimated tokens, the latter the bound of the body and
NULL without one. `body_hash`: of a job that shares equal requests or is a cache for later ones.
`twin_of`: the equal request, of its job or of an earlier one, whose answer this one waits for or
has; it is never sent itself. `stamp`: which
transaction of the job recorded the outcome; stamps rise in the order of commits, so that whoever
has read up to one has missed none."""

payloads = Table(
    "payloads",
    metadata,
    Column("request_id", Key, ForeignKey("requests.id"), primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("repair", Text),
)
"""`body`: as rendered. `repair`: the body sent next instead, after an answer that did not fit the
schema: the same conversation with that answer and what is wrong with it."""

batches = Table(
    "batches",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("job_id", Key, ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("provider", String(100), nullable=False),
    Column("fingerprint", String(64)),
    _word("state", 16, BatchState),
    Column("owner", String(32)),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("model", String(200), nullable=False),
    Column("requests", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64)),
    Column("token", String(32), nullable=False, unique=True),
    Column("spare_tokens", Text, nullable=False, server_default=""),
    Column("planned_at", Utc, nullable=False),
    Column("due_at", Utc, nullable=False),
    Column("state_at", Utc, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("reason", Text),
    Column("code", String(10)),
    Column("parked_from", String(16)),
    Column("input_file_id", Text),
    Column("create_began_at", Utc),
    Column("unknown_since", Utc),
    Column("looks", Integer, nullable=False, server_default="0"),
    Column("revoked_at", Utc),
    Column("renewals", Integer, nullable=False, server_default="0"),
    Column("splits", Integer, nullable=False, server_default="0"),
    Column("remote_id", Text),
    Column("remote_status", String(20)),
    Column("remote_word", Text),
    Column("remote_raw", Text),
    Column("remote_total", BigInteger),
    Column("remote_completed", BigInteger),
    Column("remote_failed", BigInteger),
    Column("remote_created_at", Utc),
    Column("remote_ended_at", Utc),
    Column("expires_at", Utc),
    Column("deadline_at", Utc),
    Column("looked_at", Utc),
    Column("changed_at", Utc),
    Column("gone_since", Utc),
    Column("cancel_asked_at", Utc),
    Column("cancel_sent_at", Utc),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("output_sha256", String(64)),
    Column("output_bytes", BigInteger),
    Column("error_sha256", String(64)),
    Column("error_bytes", BigInteger),
    Column("cursor", BigInteger, nullable=False, server_default="0"),
    Column("succeeded", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("missing", Integer, nullable=False, server_default="0"),
    Column("odd", Integer, nullable=False, server_default="0"),
    Column("est_in", BigInteger, nullable=False, server_default="0"),
    Column("est_out", BigInteger),
    Column("tokens_in", BigInteger, nullable=False, server_default="0"),
    Column("tokens_out", BigInteger, nullable=False, server_default="0"),
    Column("tokens_cached", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("job_id", "number"),
    CheckConstraint(
        "remote_id IS NOT NULL OR state NOT IN ('live', 'remote_done', 'collected')",
        "remote_id",
    ),
    Index("ix_batches_due", "due_at", sqlite_where=text("state <> 'closed'"),
          postgresql_where=text("state <> 'closed'")),
    Index("ix_batches_remote", "provider", "remote_id"),
    Index("ix_batches_open", "provider", "state", sqlite_where=text("state <> 'closed'"),
          postgresql_where=text("state <> 'closed'")),
    sqlite_autoincrement=True,
)  # fmt: skip

responses = Table(
    "responses",
    metadata,
    Column("request_id", Key, ForeignKey("requests.id"), primary_key=True, autoincrement=False),
    Column("batch_id", Key, ForeignKey("batches.id"), nullable=False),
    Column("source", String(6), nullable=False),
    Column("line", Integer, nullable=False),
    Column("status_code", Integer),
    Column("body", Text, nullable=False),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("tokens_cached", Integer),
    Column("finish_reason", String(40), nullable=False),
    Column("provider_request_id", Text, nullable=False),
    Column("latency", Float),
    Column("recorded_at", Utc, nullable=False),
)
"""The answer of a request that succeeded: exact bytes as received, and where they came from."""

charges = Table(
    "charges",
    metadata,
    Column("job_id", Key, ForeignKey("jobs.id"), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("provider", String(100), primary_key=True),
    Column("model", String(200), primary_key=True),
    _word("kind", 10, ChargeKind, primary_key=True),
    Column("requests", BigInteger, nullable=False, server_default="0"),
    Column("unpriced", BigInteger, nullable=False, server_default="0"),
    Column("tokens_in", BigInteger, nullable=False, server_default="0"),
    Column("tokens_out", BigInteger, nullable=False, server_default="0"),
    Column("tokens_cached", BigInteger, nullable=False, server_default="0"),
    Column("est_in", BigInteger, nullable=False, server_default="0"),
    Column("est_out", BigInteger, nullable=False, server_default="0"),
    Column("amount", BigInteger, nullable=False, server_default="0"),
    Column("online", BigInteger, nullable=False, server_default="0"),
    Column("currency", String(3), nullable=False, server_default=""),
    Index("ix_charges_provider", "provider", "day"),
)
"""What was used and paid, by job, day (UTC), model and kind: kept in the transaction that records
the answers, so that money is read from few rows. `amount`, `online`: in 10**-12 of the currency, at
the price of the day; `unpriced` counts requests whose price was not known."""

failures = Table(
    "failures",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("request_id", Key, ForeignKey("requests.id"), nullable=False),
    Column("job_id", Key, ForeignKey("jobs.id"), nullable=False),
    Column("batch_id", Key, ForeignKey("batches.id"), nullable=False),
    Column("cause", String(12), nullable=False),
    Column("final", Boolean, nullable=False),
    Column("source", String(6), nullable=False),
    Column("line", Integer, nullable=False),
    Column("status_code", Integer),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("body", Text),
    Column("tokens_in", Integer),
    Column("tokens_out", Integer),
    Column("provider_request_id", Text, nullable=False),
    Column("latency", Float),
    Column("recorded_at", Utc, nullable=False),
    UniqueConstraint("request_id", "batch_id"),
    Index("ix_failures_job_id", "job_id", "cause"),
    sqlite_autoincrement=True,
)
"""Every failed attempt, with the provider's words. `final`: it closed the request."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("batch_id", Key, ForeignKey("batches.id"), nullable=False),
    Column("source", String(6), nullable=False),
    Column("line", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("recorded_at", Utc, nullable=False),
    UniqueConstraint("batch_id", "source", "line"),
    sqlite_autoincrement=True,
)
"""Odd lines, kept: what they were, up to a cap, and why no request could take them."""

events = Table(
    "events",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("job_id", Key, ForeignKey("jobs.id")),
    Column("batch_id", Key, ForeignKey("batches.id")),
    Column("provider", String(100)),
    Column("actor", String(100), nullable=False),
    Column("data", Text, nullable=False),
    Index("ix_events_job_id", "job_id", "id"),
    Index("ix_events_batch_id", "batch_id", "id"),
    sqlite_autoincrement=True,
)
"""Append-only audit trail: who moved what, when, why. `data` is a JSON object."""

accounts = Table(
    "accounts",
    metadata,
    Column("provider", String(100), primary_key=True),
    Column("fingerprint", String(64)),
    _word("gate", 8, Gate),
    Column("code", String(10)),
    Column("reason", Text),
    Column("since", Utc),
    Column("until", Utc),
    Column("strikes", Integer, nullable=False, server_default="0"),
    Column("paused", Boolean, nullable=False),
    Column("refresh_due_at", Utc, nullable=False),
    Column("refreshed_at", Utc),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("audit_due_at", Utc),
    Column("audited_at", Utc),
    Column("next_call_at", Utc),
)
"""One row a configured provider: its gate, shared by all workers, and when to list next.

`audited_at`: up to then every remote batch of ours is known to have its row. `next_call_at`: when
the next call may be sent, where calls per minute are limited."""

strays = Table(
    "strays",
    metadata,
    Column("provider", String(100), primary_key=True),
    Column("remote_id", Text, primary_key=True),
    _word("verdict", 10, StrayVerdict),
    Column("job_name", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("word", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("remote_created_at", Utc),
    Column("seen_at", Utc, nullable=False),
    Column("batch_id", Key, ForeignKey("batches.id")),
    Index("ix_strays_job_name", "job_name", "verdict"),
)
"""Remote batches under our name that no row had sent: found by an audit, and what became of
them. `batch_id`: the row that took it in."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("job_id", Key, ForeignKey("jobs.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("sink", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    _word("state", 10, DeliveryState),
    Column("owner", String(32)),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("after_stamp", BigInteger, nullable=False, server_default="0"),
    Column("after_id", BigInteger, nullable=False, server_default="0"),
    Column("rows", BigInteger, nullable=False, server_default="0"),
    Column("memo", Text, nullable=False, server_default=""),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("code", String(10)),
    Column("reason", Text),
    Column("due_at", Utc, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("finished_at", Utc),
    UniqueConstraint("job_id", "name"),
    Index("ix_deliveries_due", "due_at",
          sqlite_where=text("state IN ('waiting', 'running')"),
          postgresql_where=text("state IN ('waiting', 'running')")),
    sqlite_autoincrement=True,
)  # fmt: skip
"""Outcomes on their way to a sink. `sink`: a SinkSpec as JSON. `after_*`: the last outcome that
the sink surely has; `memo`: what the sink itself noted there."""

stages = Table(
    "stages",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("workflow", String(200), nullable=False),
    Column("name", String(200), nullable=False, unique=True),
    Column("upstream", String(200), nullable=False),
    Column("spec", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("stream", Boolean, nullable=False),
    _word("state", 10, StageState),
    Column("job_id", Key, ForeignKey("jobs.id")),
    Column("owner", String(32)),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("after_stamp", BigInteger, nullable=False, server_default="0"),
    Column("after_id", BigInteger, nullable=False, server_default="0"),
    Column("rows", BigInteger, nullable=False, server_default="0"),
    Column("passed_over", BigInteger, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("code", String(10)),
    Column("reason", Text),
    Column("due_at", Utc, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("finished_at", Utc),
    Index("ix_stages_due", "due_at",
          sqlite_where=text("state IN ('waiting', 'feeding')"),
          postgresql_where=text("state IN ('waiting', 'feeding')")),
    Index("ix_stages_upstream", "upstream"),
    Index("ix_stages_workflow", "workflow"),
    sqlite_autoincrement=True,
)  # fmt: skip
"""Jobs of a workflow whose records are another job's outcomes: declared before these exist.
`upstream`: that job's name. `after_*`: the last outcome of it that was read."""

schedules = Table(
    "schedules",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("spec", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("last_slot", Utc),
    Column("next_at", Utc, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(40), nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Column("lease_until", Utc, nullable=False),
    Column("stopped_at", Utc),
    Index("ix_workers_lease_until", "lease_until"),
)
"""Heartbeats. A claim holds as long as its worker's lease; the id is random, no host or pid."""
