"""Shapes: what a job's source said of its columns, so that types survive to the export."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("shape", sa.Text(), nullable=False, server_default=""))
