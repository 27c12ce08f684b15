"""What was spent, and what is in flight may cost at most: the two sides of every budget."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from orchestrator.domain.budget import ENOUGH, Ceiling, at_most
from orchestrator.domain.charging import priced_anew
from orchestrator.domain.packing import Load
from orchestrator.engine.context import Context
from orchestrator.registry import charges, loads
from orchestrator.registry.loads import Moving

UNKNOWN = 1 << 62
"""More than any limit: what a batch may cost whose answers have no bound, or no price."""


def in_flight(
    ctx: Context,
    db: Connection,
    currency: str,
    *,
    job_id: int | None = None,
    provider: str | None = None,
) -> int:
    """Return what the batches under way may cost at most, of a job, of a provider, or all."""
    moving = loads.moving(db, job_id=job_id, provider=provider)
    known = ratios(db, list({batch.job_id for batch in moving}))
    return sum(_at_most(ctx, batch, currency, known.get(batch.job_id)) for batch in moving)


def _at_most(ctx: Context, batch: Moving, currency: str, ratio: int | None) -> int:
    prices = ctx.prices_from(batch.provider, batch.model, batch.planned_at.date())
    currencies = {price.currency for price in prices}
    if currencies and currency not in currencies:
        return 0  # another currency's limit is never held against it
    if currencies != {currency}:
        return UNKNOWN
    load = Load(batch.requests, batch.bytes, batch.est_in, batch.est_out)
    most = at_most(load, Ceiling.of(prices), ratio)
    return UNKNOWN if most is None else most


def ratios(db: Connection, job_ids: Sequence[int]) -> dict[int, int]:
    """Return the worst ratio of used to estimated tokens of prompts, in thousandths, by job.

    Jobs with too few answers to tell are left out.
    """
    found: dict[int, int] = {}
    for job_id, rows in charges.of_jobs(db, job_ids).items():
        told = sum(row.charge.requests for row in rows if row.charge.tokens_in)
        estimated = sum(row.charge.est_in for row in rows)
        if told >= ENOUGH and estimated:
            used = sum(row.charge.tokens_in for row in rows)
            found[job_id] = -(-used * 1_000 // estimated)
    worst = loads.worst_ratios(db, list(found)) if found else {}
    return {job_id: max(ratio, worst.get(job_id, 0)) for job_id, ratio in found.items()}


def spent(
    ctx: Context,
    db: Connection,
    currency: str,
    *,
    job_id: int | None = None,
    provider: str | None = None,
    day: str | None = None,
) -> int | None:
    """Return what was spent in a currency. None where a job's answers tell no usage or price.

    Of a provider and of all jobs, what has no price is left out: it was used before there was a
    limit, which lets nothing without a price go.
    """
    if job_id is None:
        return charges.total(db, currency, provider=provider, day=day)
    total = 0
    for row in charges.of_jobs(db, [job_id])[job_id]:
        price = ctx.price(row.provider, row.model, row.day)
        known = priced_anew(row.charge, price)
        if known.unpriced:
            return None
        total += known.amount if known.currency == currency else 0
    return total
