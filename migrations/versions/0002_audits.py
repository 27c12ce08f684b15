"""Audits: remote batches that the registry did not know, and when each account was looked over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("audit_due_at", "audited_at", "next_call_at"):
        op.add_column("accounts", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "strays",
        sa.Column("provider", sa.String(length=100), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("job_name", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("boot", sa.Text(), nullable=False),
        sa.Column("word", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remote_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint(
            "verdict IN ('waiting', 'adopted', 'extra', 'lost', 'foreign', 'forgotten')",
            name=op.f("ck_strays_verdict"),
        ),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_strays_batch_id_batches")
        ),
        sa.PrimaryKeyConstraint("provider", "remote_id", name=op.f("pk_strays")),
    )
    op.create_index("ix_strays_job_name", "strays", ["job_name", "verdict"])
    op.create_index("ix_workers_lease_until", "workers", ["lease_until"])
