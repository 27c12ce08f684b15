"""Room at the provider: how many batches and files an account may hold, over all workers."""

from __future__ import annotations

from sqlalchemy import Connection

from orchestrator.domain.model import Account
from orchestrator.domain.profile import Profile
from orchestrator.engine.context import Context
from orchestrator.registry import batches

_FILES_A_BATCH = 3


def has_room(ctx: Context, db: Connection, account: Account, profile: Profile) -> bool:
    """Whether one more batch may be on its way there."""
    provider = account.provider
    if account.paused:
        return False
    if batches.count_in_flight(db, provider) >= ctx.providers.max_in_flight(provider):
        return False
    return not is_crowded(db, provider, profile)


def is_crowded(db: Connection, provider: str, profile: Profile) -> bool:
    """Whether the files of one more batch would not fit into the account's quotas."""
    limits = profile.limits
    if limits.files is None and limits.storage_bytes is None:
        return False
    count, size = batches.remote_files(db, provider)
    if limits.files is not None and count + _FILES_A_BATCH > limits.files:
        return True
    return limits.storage_bytes is not None and size + limits.max_file_bytes > limits.storage_bytes
