"""The ledger: what was used and paid, few rows a job, kept by the transaction that records it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, bindparam, case

from orchestrator.domain.charging import Charge
from orchestrator.domain.model import Batch
from orchestrator.registry.bulk import inserting
from orchestrator.registry.tables import charges

_KEY = ("job_id", "day", "provider", "model", "kind")
_ADDED = ("requests", "tokens_in", "tokens_out", "tokens_cached", "est_in", "est_out")


def add(db: Connection, batch: Batch, day: date, found: Sequence[Charge]) -> None:
    """Add what answers of one batch have used and cost on a day to the ledger."""
    for each in found:
        values = {name: getattr(each, name) for name in Charge.__dataclass_fields__}
        whose = {"job_id": batch.job_id, "provider": batch.provider, "model": batch.model}
        db.execute(_adding(db.dialect.name), {**values, **whose, "day": day.isoformat()})


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
