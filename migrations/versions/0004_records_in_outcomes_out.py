"""Money, equal requests, repairs, deliveries to sinks, stages of workflows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_UTC = sa.DateTime(timezone=True)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(
        name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )


def upgrade() -> None:
    _widen()
    _index()
    _charges()
    _deliveries()
    _stages()


def _widen() -> None:
    for column in (
        sa.Column("series", sa.Text(), nullable=False, server_default=""),
        sa.Column("source_digest", sa.String(length=64), nullable=False, server_default=""),
        _count("stamp"),
        sa.Column("growing", sa.Boolean(), nullable=False, server_default=sa.false()),
        _count("shared"),
        _count("cached"),
        sa.Column("canary", sa.String(length=10), nullable=True),
        sa.Column("budget", sa.Text(), nullable=True),
        sa.Column("hold_code", sa.String(length=10), nullable=True),
        sa.Column("hold_reason", sa.Text(), nullable=True),
        sa.Column("held_since", _UTC, nullable=True),
    ):
        op.add_column("jobs", column)
    for column in (
        sa.Column("est_in", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("est_out", sa.Integer(), nullable=True),
        sa.Column("body_hash", sa.String(length=32), nullable=True),
        sa.Column("twin_of", _KEY, nullable=True),
        sa.Column("stamp", sa.BigInteger(), nullable=True),
    ):
        op.add_column("requests", column)
    op.add_column("payloads", sa.Column("repair", sa.Text(), nullable=True))
    for column in (
        _count("est_in"),
        sa.Column("est_out", sa.BigInteger(), nullable=True),
        _count("tokens_in"),
        _count("tokens_out"),
        _count("tokens_cached"),
    ):
        op.add_column("batches", column)
    if op.get_bind().dialect.name == "postgresql":
        _compress_repairs()


def _compress_repairs() -> None:
    """Compress them as the other bodies are, see the first migration."""
    known = sa.text("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = :name")
    if op.get_bind().execute(known, {"name": "default_toast_compression"}).scalar():
        op.execute("ALTER TABLE payloads ALTER COLUMN repair SET COMPRESSION lz4")


def _index() -> None:
    _partial("ix_jobs_series", "jobs", ["series", "id"], "series <> ''")
    ready = "state = 'pending' AND twin_of IS NULL"
    _partial("ix_requests_ready", "requests", ["job_id", "model", "id"], ready)
    op.drop_index("ix_requests_pending", table_name="requests")
    _partial("ix_requests_stamp", "requests", ["job_id", "stamp", "id"], "stamp IS NOT NULL")
    _partial("ix_requests_body_hash", "requests", ["body_hash", "id"], "body_hash IS NOT NULL")
    _partial("ix_requests_twin_of", "requests", ["twin_of", "id"], "twin_of IS NOT NULL")


def _charges() -> None:
    op.create_table(
        "charges",
        sa.Column("job_id", _KEY, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("provider", sa.String(length=100), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        _count("requests"),
        _count("unpriced"),
        _count("tokens_in"),
        _count("tokens_out"),
        _count("tokens_cached"),
        _count("est_in"),
        _count("est_out"),
        _count("amount"),
        _count("online"),
        sa.Column("currency", sa.String(length=3), nullable=False, server_default=""),
        sa.CheckConstraint(
            "kind IN ('answered', 'invalid', 'refused', 'lost')", name=op.f("ck_charges_kind")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_charges_job_id_jobs")),
        sa.PrimaryKeyConstraint(
            "job_id", "day", "provider", "model", "kind", name=op.f("pk_charges")
        ),
    )
    op.create_index("ix_charges_provider", "charges", ["provider", "day"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("job_id", _KEY, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("sink", sa.Text(), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("owner", sa.String(length=32), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"),
        _count("after_stamp"),
        _count("after_id"),
        _count("rows"),
        sa.Column("memo", sa.Text(), nullable=False, server_default=""),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("code", sa.String(length=10), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("due_at", _UTC, nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("finished_at", _UTC, nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'held', 'done')", name=op.f("ck_deliveries_state")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("job_id", "name", name=op.f("uq_deliveries_job_id_name")),
        sqlite_autoincrement=True,
    )
    _partial("ix_deliveries_due", "deliveries", ["due_at"], "state IN ('waiting', 'running')")


def _stages() -> None:
    op.create_table(
        "stages",
        sa.Column("id", _KEY, autoincrement=True, nullable=False),
        sa.Column("workflow", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("upstream", sa.String(length=200), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("stream", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("job_id", _KEY, nullable=True),
        sa.Column("owner", sa.String(length=32), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False, server_default="0"),
        _count("after_stamp"),
        _count("after_id"),
        _count("rows"),
        _count("passed_over"),
        sa.Column("tries", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("code", sa.String(length=10), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("due_at", _UTC, nullable=False),
        sa.Column("created_at", _UTC, nullable=False),
        sa.Column("finished_at", _UTC, nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'feeding', 'held', 'fed')", name=op.f("ck_stages_state")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_stages_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stages")),
        sa.UniqueConstraint("name", name=op.f("uq_stages_name")),
        sqlite_autoincrement=True,
    )
    _partial("ix_stages_due", "stages", ["due_at"], "state IN ('waiting', 'feeding')")
    op.create_index("ix_stages_upstream", "stages", ["upstream"])
    op.create_index("ix_stages_workflow", "stages", ["workflow"])
