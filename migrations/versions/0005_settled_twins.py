"""Settled twins: up to which outcome of a job its equal requests have theirs.

And an index of members that holds nobody who waits: registering is that much faster.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("settled", sa.BigInteger(), nullable=False, server_default="0"))
    waiting = "state = 'pending' AND twin_of IS NOT NULL"
    _anew("ix_requests_twin_of", ["twin_of", "id"], waiting)
    _anew("ix_requests_batch_id", ["batch_id"], "batch_id IS NOT NULL")


def _anew(name: str, columns: list[str], where: str) -> None:
    op.drop_index(name, table_name="requests")
    op.create_index(
        name, "requests", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )
