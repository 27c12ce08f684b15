"""The ledger: what was used and paid, few rows a job, kept by the transaction that records it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, func, literal_column, select
from sqlalchemy.engine import RowMapping

from orchestrator.domain.charging import Charge
from orchestrator.domain.estimating import Seen
from orchestrator.domain.model import Batch, ChargeKind
from orchestrator.registry.bulk import among, inserting
from orchestrator.registry.tables import accounts, charges


class Row(NamedTuple):
    """A line of the ledger: whose it is, and the charge."""

    job_id: int
    day: date
    provider: str
    model: str
    charge: Charge


_CHARGE = tuple(Charge.__dataclass_fields__)
_MILLION = 1_000_000
_KEY = ("job_id", "day", "provider", "model", "kind")
_ADDED = ("requests", "tokens_in", "tokens_out", "tokens_cached", "est_in", "est_out")


def add(db: Connection, batch: Batch, day: date, found: Sequence[Charge]) -> None:
    """Add what answers of one batch have used and cost on a day to the ledger."""
    for each in found:
        values = {name: getattr(each, name) for name in Charge.__dataclass_fields__}
        whose = {"job_id": batch.job_id, "provider": batch.provider, "model": batch.model}
        db.execute(_adding(db.dialect.name), {**values, **whose, "day": day.isoformat()})


def of_jobs(db: Connection, job_ids: Sequence[int]) -> dict[int, list[Row]]:
    """Return the ledger of some jobs, by day; an empty list for a job that has used nothing."""
    found: dict[int, list[Row]] = {job_id: [] for job_id in job_ids}
    if found:
        query = select(charges).where(among(db, charges.c.job_id, list(found)))
        for row in db.execute(query.order_by(charges.c.job_id, charges.c.day)).mappings():
            found[row["job_id"]].append(_read(row))
    return found


def since(db: Connection, day: date | None = None, *, job_id: int | None = None) -> list[Row]:
    """Return the ledger from a day on, of one job or of all, in the order of jobs and days."""
    query = select(charges).order_by(charges.c.job_id, charges.c.day, charges.c.model)
    if day is not None:
        query = query.where(charges.c.day >= day.isoformat())
    if job_id is not None:
        query = query.where(charges.c.job_id == job_id)
    return [_read(row) for row in db.execute(query).mappings()]


def _read(row: RowMapping) -> Row:
    values = {name: row[name] for name in _CHARGE}
    charge = Charge(**{**values, "kind": ChargeKind(row["kind"])})
    day = date.fromisoformat(row["day"])
    return Row(row["job_id"], day, row["provider"], row["model"], charge)


def seen(db: Connection, provider: str, model: str, limit: int = 50) -> list[Seen]:
    """Return what answers of a model have used, of the latest jobs and days that tell."""
    columns = (charges.c[name] for name in ("requests", "est_in", "tokens_in", "tokens_out"))
    query = (
        select(*columns)
        .where(
            charges.c.provider == provider,
            charges.c.model == model,
            charges.c.kind == ChargeKind.ANSWERED,
            charges.c.est_in > 0,
            charges.c.tokens_in > 0,
        )
        .order_by(charges.c.day.desc(), charges.c.job_id.desc())
        .limit(limit)
    )
    return [Seen(*row) for row in db.execute(query)]


def total(
    db: Connection, currency: str, *, provider: str | None = None, day: str | None = None
) -> int:
    """Return what was spent in a currency at a provider, or at all, on a day or ever.

    Summed in two halves: SQLite's own sum ends at about nine million of a currency.
    """
    who = [provider] if provider is not None else select(accounts.c.provider)
    millions = func.sum(charges.c.amount // literal_column(str(_MILLION)))
    rest = func.sum(charges.c.amount % literal_column(str(_MILLION)))
    query = select(func.coalesce(millions, 0), func.coalesce(rest, 0))
    query = query.where(charges.c.provider.in_(who), charges.c.currency == currency)
    if day is not None:
        query = query.where(charges.c.day == day)
    high, low = db.execute(query).one()
    return int(high) * _MILLION + int(low)


@functools.cache
def _adding(dialect: str) -> Any:  # noqa: ANN401 - an INSERT of the dialect
    """Return the statement that adds to a row, or makes it.

    A row is of one currency: what comes in another one on the same day counts as unpriced, rather
    than be added to what it can't be added to.
    """
    statement = inserting(dialect, charges)
    statement = statement.values({column.name: bindparam(column.name) for column in charges.c})
    new = statement.excluded
    fits = (charges.c.currency == new.currency) | (charges.c.currency == "") | (new.currency == "")
    changes = {name: charges.c[name] + new[name] for name in _ADDED}
    changes |= {
        name: charges.c[name] + case((fits, new[name]), else_=0) for name in ("amount", "online")
    }
    changes["unpriced"] = charges.c.unpriced + case((fits, new.unpriced), else_=new.requests)
    changes["currency"] = case((charges.c.currency == "", new.currency), else_=charges.c.currency)
    return statement.on_conflict_do_update(index_elements=_KEY, set_=changes)
