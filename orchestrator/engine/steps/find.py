"""Find what was made of a batch at the provider: by its token, and by its input file."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.domain.model import Batch
from orchestrator.domain.remote import RemoteBatch
from orchestrator.provider.port import Provider

OLDER_IN_A_ROW = 100
"""Listed batches in a row that are too old: no list is in perfect order."""

SKEW = 3_600.0
"""Seconds by which the provider's clock and ours may differ."""


def made_of(provider: Provider, batch: Batch) -> Iterator[RemoteBatch]:
    """Yield the remote batches made from this batch, until the list is clearly too old.

    The input file is a second key beside the token: it serves one create only.
    """
    if not provider.profile.quirks.list_batches:
        return
    began = batch.create_began_at or batch.state_at
    horizon = began.timestamp() - SKEW
    older = 0
    for remote in provider.list_batches():
        by_token = remote.metadata.get("orc_token") == batch.token
        by_file = remote.input_file_id is not None and remote.input_file_id == batch.input_file_id
        if by_token or by_file:
            yield remote
        older = older + 1 if (remote.created_at or horizon) < horizon else 0
        if older >= OLDER_IN_A_ROW:
            return
