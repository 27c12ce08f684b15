"""Settled twins: up to which outcome of a job its equal requests have theirs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WAITING = sa.text("state = 'pending' AND twin_of IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("settled", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index("ix_requests_twin_of", table_name="requests")
    op.create_index(
        "ix_requests_twin_of",
        "requests",
        ["twin_of", "id"],
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
