"""The part of a tick that serves sinks: claims deliveries that have work, and takes their failures.

A sink that fails never touches the provider or the job: its delivery is put off, and left to a
person when it has failed often, or refuses.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

from orchestrator.domain.errors import ClaimLost, OrchestratorError, RegistryError
from orchestrator.domain.model import Delivery
from orchestrator.domain.pacing import seconds
from orchestrator.engine.context import Context, Told
from orchestrator.engine.steps.deliver import deliver
from orchestrator.registry import deliveries, jobs
from orchestrator.sinks.chunks import SinkAway, SinkRefused

MAX_TRIES = 12
"""Failures in a row after which a delivery is left to a person: about two hours."""


_FOR_GOOD = frozenset({"ORC6003", "ORC6005", "ORC6010", "ORC6011", "ORC6012"})
"""Errors of a file's format that do not pass: the same outcomes never fit it."""


def serve_sinks(ctx: Context, lost: list[int], job_id: int | None) -> int:
    """Pass outcomes on to every sink that has work; return how many deliveries were taken up.

    `lost`: ids of claims that another worker has taken; they are let alone, and added to.
    """
    with ctx.registry.read() as db:
        if not deliveries.is_due(db, ctx.now(), job_id=job_id):
            return 0
    claimed = ctx.registry.write(partial(_claim, ctx, lost, job_id))
    for delivery in claimed:
        _serve(ctx, delivery, lost)
    return len(claimed)


def _claim(ctx: Context, lost: list[int], job_id: int | None, db: Connection) -> list[Delivery]:
    return deliveries.claim(
        db, worker=ctx.worker, now=ctx.now(), limit=ctx.transfers, busy=lost, job_id=job_id
    )


def _serve(ctx: Context, delivery: Delivery, lost: list[int]) -> None:
    try:
        ctx.may_go_on()
        deliver(ctx, delivery)
    except ClaimLost as error:
        lost.append(delivery.id)
        ctx.tell(Told(kind="claim_lost", error=error, facts={"sink": delivery.name}))
    except RegistryError:
        raise
    except OrchestratorError as error:
        refused = isinstance(error, SinkRefused) or error.code in _FOR_GOOD
        (_hold if refused else _failed)(ctx, delivery, error)
    except OSError as exc:
        why = (exc.strerror or type(exc).__name__).lower()
        _failed(ctx, delivery, SinkAway(f"the sink {delivery.name} can't be written", why=why))
    except Exception as exc:  # a bug, perhaps of the user's own sink, must not stop the others
        bug = OrchestratorError(f"{type(exc).__name__} in the sink {delivery.name}")
        bug.__cause__ = exc
        _failed(ctx, delivery, bug)


def _failed(ctx: Context, delivery: Delivery, error: OrchestratorError) -> None:
    with ctx.registry.read() as db:
        # It may have got further, and failed less often, than when it was claimed.
        delivery = delivery.with_(tries=deliveries.get(db, delivery.id).tries)
    tries = delivery.tries + 1
    if tries >= MAX_TRIES:
        _hold(ctx, delivery, error)
        return
    wait = ctx.back_off(tries)
    asked = error.retry_after if isinstance(error, SinkAway) else None
    due_at = ctx.now() + max(wait, seconds(min(asked or 0.0, ctx.pace.cap)))
    put_off = partial(
        deliveries.put_off,
        delivery=delivery,
        due_at=due_at,
        code=error.code,
        reason=_reason(error),
        tries=tries,
    )
    _unless_lost(ctx, delivery, error, put_off)


def _hold(ctx: Context, delivery: Delivery, error: OrchestratorError) -> None:
    hold = partial(
        deliveries.hold,
        delivery=delivery,
        code=error.code,
        reason=_reason(error),
        now=ctx.now(),
        actor=ctx.actor,
    )
    _unless_lost(ctx, delivery, error, hold)


def _unless_lost(
    ctx: Context, delivery: Delivery, error: OrchestratorError, note: partial[None]
) -> None:
    try:
        ctx.registry.write(note)
    except ClaimLost:
        return  # whoever has it by now tells of it
    with ctx.registry.read() as db:
        job = jobs.get(db, delivery.job_id)
    ctx.tell(Told(kind="put_off", job=job, error=error, facts={"sink": delivery.name}))


def _reason(error: OrchestratorError) -> str:
    """Return what happened, why, and how to mend it: whoever reads the row sees no error."""
    happened = f"{error.message}: {error.why}" if error.why else error.message
    return f"{happened}; {error.next}" if error.next else happened
