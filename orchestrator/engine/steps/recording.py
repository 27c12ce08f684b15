"""Record judged members, a chunk a transaction, and end the batch in the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date

from sqlalchemy import Connection

from orchestrator.domain.charging import Charge, charge
from orchestrator.domain.model import Batch, ChargeKind, RequestState
from orchestrator.domain.pacing import seconds
from orchestrator.domain.transitions import Reconciled
from orchestrator.engine.context import Context
from orchestrator.engine.steps.judge import Chunk
from orchestrator.engine.steps.repair import write_repairs
from orchestrator.registry import answers, batches, charges, events, jobs, requests

_TOKENS = ("tokens_in", "tokens_out", "tokens_cached")

CHUNK = 5_000
"""Members a transaction: large enough for bulk speed, small enough that a stop is prompt."""


def commit(ctx: Context, batch: Batch, chunk: Chunk) -> Batch:
    """Record one chunk of judged members in one transaction. Raises ClaimLost."""
    day = ctx.now().date()
    charged = _charged(ctx, batch, chunk, day)
    tokens = {name: sum(getattr(each, name) for each in charged) for name in _TOKENS}

    def work(db: Connection) -> Batch:
        counted = Counter(chunk.closed.values())
        succeeded = counted[RequestState.SUCCEEDED]
        failed = chunk.size - succeeded
        moved = batches.note_progress(
            db, batch, cursor=chunk.size, succeeded=succeeded, failed=failed, **tokens
        )
        answers.record_responses(db, chunk.responses)
        answers.record_failures(db, chunk.failures)
        requests.burn(db, batch.id, chunk.burned)
        write_repairs(db, chunk)
        stamp = jobs.next_stamp(db, batch.job_id) if counted else 0
        for word in counted:
            ids = [request for request, state in chunk.closed.items() if state is word]
            closed = requests.close(db, batch.id, ids, word, stamp=stamp)
            jobs.count(db, batch.job_id, in_flight=-closed, **{word.value: closed})
        jobs.count(db, batch.job_id, **tokens)
        charges.add(db, batch, day, charged)
        return moved

    return ctx.registry.write(work)


def _charged(ctx: Context, batch: Batch, chunk: Chunk, day: date) -> list[Charge]:
    """Return what the chunk has used and costs, by kind."""
    used = {ChargeKind.ANSWERED: chunk.answered, **chunk.wasted}
    price = ctx.price(batch.provider, batch.model, day)
    return [charge(kind, each, price) for kind, each in used.items() if each.requests]


def finish(
    ctx: Context, batch: Batch, *, missing: int, odd_lines: Mapping[str, int] | None = None
) -> Batch:
    """Give back the members that have no final word, and end the batch, in one transaction.

    `odd_lines`: counts of files that did not hold what was to be expected, for an event.
    """
    now = ctx.now()

    def work(db: Connection) -> Batch:
        moved = batches.move(
            db, batch, Reconciled(missing=missing), now=now, due_at=now, actor=ctx.actor
        )
        if odd_lines is not None:
            events.record(
                db,
                "odd_lines",
                at=now,
                actor=ctx.actor,
                job_id=batch.job_id,
                batch_id=batch.id,
                provider=batch.provider,
                data=odd_lines,
            )
        given_back = requests.give_back(db, batch.id)
        jobs.count(db, batch.job_id, in_flight=-given_back, waiting=given_back)
        odd = answers.count_odd(db, batch.id)
        if odd:
            moved = batches.note_progress(db, moved, odd=odd)
        others = batches.count_unfinished(db, batch.job_id)
        linger = ctx.spec_of(jobs.get(db, batch.job_id)).policy.linger_seconds
        jobs.set_due(db, batch.job_id, now + seconds(linger) if others and given_back else now)
        return moved

    return ctx.registry.write(work)
