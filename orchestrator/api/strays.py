"""Strays: remote batches under our name that no row had sent; listed, and let go by a person."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from orchestrator.domain.errors import NotFound
from orchestrator.domain.model import Stray, StrayVerdict
from orchestrator.engine.context import Context
from orchestrator.registry import batches, events, jobs, strays
from orchestrator.registry.session import Registry


@dataclass(frozen=True, slots=True)
class StrayView:
    """A stray, and the name of the row that has taken it in."""

    stray: Stray
    row: str | None

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        stray = self.stray
        return {
            "remote_id": stray.remote_id,
            "provider": stray.provider,
            "job": stray.job_name or None,
            "batch": stray.label or None,
            "status": stray.word,
            "verdict": stray.verdict.value,
            "since": stray.seen_at,
            "created_at": stray.remote_created_at,
            "row": self.row,
            "reason": stray.reason,
        }


def list_strays(registry: Registry, *, limit: int = 1_000) -> list[StrayView]:
    """Return strays, what is open first, then the latest."""
    with registry.read() as db:
        waiting = strays.everyone(db, verdicts=strays.OPEN, limit=limit)
        rest = strays.everyone(db, verdicts=_ENDED, limit=limit)
        return [view_of(db, stray) for stray in [*waiting, *rest][:limit]]


_ENDED = tuple(verdict for verdict in StrayVerdict if verdict not in strays.OPEN)


def view_of(db: Connection, stray: Stray) -> StrayView:
    """Return a stray with the name of its row."""
    if stray.batch_id is None:
        return StrayView(stray, None)
    row = batches.get(db, stray.batch_id)
    return StrayView(stray, f"{jobs.names(db, [row.job_id])[row.job_id]}/{row.label}")


def find_stray(registry: Registry, remote_id: str) -> StrayView:
    """Return the stray of this remote id. Raises NotFound."""
    with registry.read() as db:
        found = strays.find(db, remote_id)
        if found is not None:
            return view_of(db, found)
        row = batches.find_remote(db, remote_id)
        if row is not None:
            name = jobs.names(db, [row.job_id])[row.job_id]
            why = f"{name}/{row.label} follows it, as it should"
            raise NotFound(f"{remote_id} is no stray", why=why, next="orchestrator adopt --list")
    raise NotFound(
        f'there is no stray "{remote_id}"',
        why="a stray is known once an audit has met it",
        next="orchestrator verify --provider, which asks now",
    )


def is_forgettable(stray: Stray) -> bool:
    """Whether forgetting changes anything: not what a row follows, or was let go before."""
    return stray.verdict not in {StrayVerdict.ADOPTED, StrayVerdict.FORGOTTEN}


def forget(ctx: Context, remote_id: str) -> StrayView:
    """Let a stray go: it holds up no job any more, and nobody follows it.

    Its records are asked again by their job, though what it has done is billed. Raises NotFound.
    """
    found = find_stray(ctx.registry, remote_id)
    if not is_forgettable(found.stray):
        return found
    let_go = replace(
        found.stray,
        verdict=StrayVerdict.FORGOTTEN,
        reason=f"{ctx.actor} has let it go; before: {found.stray.reason}"[:500],
        seen_at=ctx.now(),
    )
    ctx.registry.write(lambda db: judged(ctx, db, let_go))
    return StrayView(let_go, found.row)


def judged(ctx: Context, db: Connection, stray: Stray) -> None:
    """Keep what became of a stray by a person's word, with its event; its job is due now."""
    strays.keep(db, stray)
    job = jobs.find(db, stray.job_name)
    if job is not None:
        jobs.set_due(db, job.id, ctx.now())
    events.record(
        db,
        f"stray_{stray.verdict}",
        at=ctx.now(),
        actor=ctx.actor,
        provider=stray.provider,
        job_id=job.id if job else None,
        batch_id=stray.batch_id,
        data={"remote_id": stray.remote_id, "job": stray.job_name, "reason": stray.reason},
    )
