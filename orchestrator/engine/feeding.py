"""Feed the stages of workflows that are due: part of every tick, before jobs are planned."""

from __future__ import annotations

from functools import partial

from orchestrator.domain.errors import ClaimLost, OrchestratorError, RegistryError
from orchestrator.domain.model import Stage
from orchestrator.engine.context import Context, Told
from orchestrator.engine.steps.feed import feed
from orchestrator.registry import stages

_AT_ONCE = 8
"""Stages claimed at once: they are fed one after the other."""


def serve_stages(ctx: Context, lost: list[int]) -> int:
    """Feed what is due; return how many moves that took. `lost`: what is left for another tick."""
    with ctx.registry.read() as db:
        if not stages.is_due(db, ctx.now()):
            return 0
    claim = partial(stages.claim, worker=ctx.worker, now=ctx.now(), limit=_AT_ONCE, busy=lost)
    return sum(_serve(ctx, stage, lost) for stage in ctx.registry.write(claim))


def _serve(ctx: Context, stage: Stage, lost: list[int]) -> int:
    try:
        return feed(ctx, stage)
    except ClaimLost as error:
        lost.append(stage.id)
        ctx.tell(Told(kind="claim_lost", error=error))
    except RegistryError:
        raise
    except Exception as exc:  # a bug met by one stage must not stop the others
        lost.append(stage.id)
        _later(ctx, stage, exc)
    return 0


def _later(ctx: Context, stage: Stage, exc: Exception) -> None:
    bug = OrchestratorError(f"{type(exc).__name__} while stage {stage.name} was fed")
    bug.__cause__ = exc
    due_at = ctx.now() + ctx.back_off(stage.tries + 1)
    ctx.registry.write(
        lambda db: stages.put_off(db, stage, due_at=due_at, reason=bug.message, code=bug.code)
    )
    ctx.tell(Told(kind="put_off", error=bug))
