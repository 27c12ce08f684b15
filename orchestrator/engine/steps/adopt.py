"""create_unknown -> live, or anew: look, settle, revoke, look again, renew.

The call that creates has no idempotency key. An unanswered one is looked for by our token in the
batches' metadata and by the input file, which serves one create only. Looking alone is not enough,
as the call may be applied after the look: deleting the input file makes a late one fail.
"""

from __future__ import annotations

from orchestrator.domain.decide import look_again_at, look_counts
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import seconds
from orchestrator.domain.transitions import (
    Adopted,
    InputRevoked,
    LookedInVain,
    Parked,
    Renewed,
)
from orchestrator.engine.context import Context
from orchestrator.engine.extras import cancel_extra
from orchestrator.engine.steps.create import unanswered
from orchestrator.engine.steps.find import made_of
from orchestrator.engine.steps.follow import start_following


def adopt(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Look for the batch that an unanswered create may have made; adopt what is found."""
    if batch.state is BatchState.CREATING:
        batch = unanswered(ctx, batch, "the process ended before the provider's answer")
    provider = ctx.provider_of(batch)
    if not provider.profile.quirks.list_batches:
        return give_up(ctx, batch, job)
    began = ctx.now()
    found = sorted(made_of(provider, batch), key=lambda remote: (remote.created_at or 0, remote.id))
    if not found:
        due_at = look_again_at(batch, ctx.now(), ctx.pace)
        looks = batch.looks + look_counts(batch, began, ctx.pace)
        return ctx.record(batch, LookedInVain(looks=looks), due_at=due_at)
    for extra in found[1:]:
        cancel_extra(ctx, provider, batch, extra)
    return start_following(ctx, batch, found[0], ctx.spec_of(job), Adopted)


def revoke(ctx: Context, batch: Batch, _job: Job) -> Batch:
    """Delete the input file, so that a create still on its way is refused."""
    provider = ctx.provider_of(batch)
    if batch.input_file_id is not None:
        provider.delete_file(batch.input_file_id)
    now = ctx.now()
    due_at = now + seconds(ctx.pace.revoke_seconds / 2)
    return ctx.record(batch, InputRevoked(revoked_at=now), due_at=due_at)


def renew(ctx: Context, batch: Batch, _job: Job) -> Batch:
    """Start over with a fresh upload under a new token."""
    spares = f"{batch.spare_tokens} {batch.token}".strip()
    event = Renewed(token=ctx.new_token(), spare_tokens=spares, renewals=batch.renewals + 1)
    return ctx.record(batch, event)


def give_up(ctx: Context, batch: Batch, _job: Job) -> Batch:
    """Hand an unanswered create to a person: here no automatic move is safe."""
    why = "no batch of ours was found, and this provider is not known to refuse a create over a "
    why += "deleted file: sending again could pay twice"
    event = Parked(parked_from=BatchState.CREATE_UNKNOWN, reason=why, code="ORC5201")
    return ctx.record(batch, event, due_at=ctx.now() + seconds(ctx.pace.cap))
