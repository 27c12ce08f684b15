"""Strays: remote batches under our name that no row had sent, and what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.engine import RowMapping

from orchestrator.domain.model import Stray, StrayVerdict
from orchestrator.registry.tables import strays

OPEN = (StrayVerdict.WAITING, StrayVerdict.LOST, StrayVerdict.FOREIGN)
"""Verdicts that leave something to do."""

_HOLDING = (StrayVerdict.WAITING, StrayVerdict.LOST)


def _read(row: RowMapping) -> Stray:
    return Stray(**{**row, "verdict": StrayVerdict(row["verdict"])})


def find(db: Connection, remote_id: str) -> Stray | None:
    """Return the stray with this remote id, if there is one."""
    row = db.execute(select(strays).where(strays.c.remote_id == remote_id)).mappings().first()
    return _read(row) if row else None


def known(db: Connection, provider: str, remote_ids: Sequence[str]) -> dict[str, Stray]:
    """Return what is known of these remote batches, by id."""
    if not remote_ids:
        return {}
    where = strays.c.provider == provider, strays.c.remote_id.in_(remote_ids)
    found = [_read(row) for row in db.execute(select(strays).where(*where)).mappings()]
    return {stray.remote_id: stray for stray in found}


def everyone(
    db: Connection, *, verdicts: Sequence[StrayVerdict] = (), limit: int = 1_000
) -> list[Stray]:
    """Return strays, the latest first; those of some verdicts only, if any are given."""
    query = select(strays).order_by(strays.c.seen_at.desc(), strays.c.remote_id).limit(limit)
    if verdicts:
        query = query.where(strays.c.verdict.in_(verdicts))
    return [_read(row) for row in db.execute(query).mappings()]


def holding_up(db: Connection, job_name: str) -> set[StrayVerdict]:
    """Return the verdicts of strays that may hold records of this job.

    Nothing new is planned for it as long as there are any.
    """
    where = strays.c.job_name == job_name, strays.c.verdict.in_(_HOLDING)
    found = db.execute(select(strays.c.verdict).where(*where).distinct()).scalars()
    return {StrayVerdict(verdict) for verdict in found}


def keep(db: Connection, stray: Stray) -> None:
    """Keep what is known of a stray now, in the place of what was."""
    where = strays.c.provider == stray.provider, strays.c.remote_id == stray.remote_id
    db.execute(delete(strays).where(*where))
    db.execute(insert(strays).values(**asdict(stray)))
