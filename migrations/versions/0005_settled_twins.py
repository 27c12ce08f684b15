"""Settled twins: up to which outcome of a job its equal requests have theirs.

And indexes that hold no more than is looked for: registering is that much faster, and a body that
comes a million times is found at once. What jobs of earlier releases have used goes into the
ledger, without a price: that of its day counts when shown.
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
    asked = "body_hash IS NOT NULL AND twin_of IS NULL"
    _anew("ix_requests_body_hash", ["body_hash", "state", "id"], asked)
    _anew("ix_requests_batch_id", ["batch_id"], "batch_id IS NOT NULL")
    _charge_what_was_used()


def _anew(name: str, columns: list[str], where: str) -> None:
    op.drop_index(name, table_name="requests")
    op.create_index(
        name, "requests", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where)
    )


def _charge_what_was_used() -> None:
    """Give each job that has used tokens a line in the ledger: as it stands, of its one model."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    day = "created_at" if sqlite else "CAST(created_at AT TIME ZONE 'UTC' AS text)"
    op.execute(
        "INSERT INTO charges (job_id, day, provider, model, kind, requests, unpriced,"  # noqa: S608 - no value of anybody's
        " tokens_in, tokens_out, tokens_cached)"
        f" SELECT id, substr({day}, 1, 10), provider,"
        " (SELECT CASE WHEN COUNT(DISTINCT model) = 1 THEN MIN(model) ELSE '' END"
        " FROM batches WHERE job_id = jobs.id),"
        " 'answered', succeeded, succeeded, tokens_in, tokens_out, tokens_cached FROM jobs"
        " WHERE tokens_in + tokens_out > 0"
        " AND NOT EXISTS (SELECT 1 FROM charges WHERE charges.job_id = jobs.id)"
    )
