"""What batches are estimated to use, and what they have used: the side of budgets in flight."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update

from orchestrator.domain.transitions import SETTLED
from orchestrator.registry.batches import OPEN
from orchestrator.registry.bulk import among
from orchestrator.registry.tables import batches


def weigh(db: Connection, batch_id: int, *, est_in: int, est_out: int | None) -> None:
    """Say what the members of a batch are estimated to use."""
    values = {"est_in": est_in, "est_out": est_out}
    db.execute(update(batches).where(batches.c.id == batch_id).values(values))


class Moving(NamedTuple):
    """A batch under way, as a budget sees it."""

    job_id: int
    provider: str
    model: str
    requests: int
    bytes: int
    est_in: int
    est_out: int | None
    planned_at: datetime


def moving(
    db: Connection, *, job_id: int | None = None, provider: str | None = None
) -> list[Moving]:
    """Return the batches that may still cost something, of a job, of a provider, or all."""
    query = select(*(batches.c[name] for name in Moving._fields))
    query = query.where(OPEN, batches.c.state.not_in(tuple(SETTLED)))
    if job_id is not None:
        query = query.where(batches.c.job_id == job_id)
    if provider is not None:
        query = query.where(batches.c.provider == provider)
    return [Moving(*row) for row in db.execute(query)]


def worst_ratios(db: Connection, job_ids: Sequence[int]) -> dict[int, int]:
    """Return the highest ratio of used to estimated tokens of prompts of a batch, by job.

    In thousandths, rounded up.
    """
    ratio = func.max(batches.c.tokens_in * 1000 // batches.c.est_in) + 1
    query = (
        select(batches.c.job_id, ratio)
        .where(among(db, batches.c.job_id, job_ids), batches.c.est_in > 0, batches.c.tokens_in > 0)
        .group_by(batches.c.job_id)
    )
    return {job_id: int(worst) for job_id, worst in db.execute(query)}
