"""What at a provider is ours: batches by their metadata, input files by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from orchestrator.domain.auditing import Finding, examine
from orchestrator.domain.model import Batch, Stray
from orchestrator.domain.remote import RemoteBatch, RemoteFile
from orchestrator.provider.port import Provider
from orchestrator.registry import batches, strays
from orchestrator.registry.session import Registry

_AT_ONCE = 200
_INPUT = re.compile(r"orc-(?P<instance>\w+)-.+-(?P<token>[0-9a-f]{32})")


class Seen(NamedTuple):
    """A remote batch under our name, the row that it belongs to, and how they fit together."""

    remote: RemoteBatch
    finding: Finding
    row: Batch | None
    stray: Stray | None


def token_of(file: RemoteFile, instance: str | None) -> str | None:
    """Return the token in the name of an input file of this registry; None for any other file."""
    named = _INPUT.search(file.name)
    return named["token"] if named is not None and named["instance"] == instance else None


def is_ours(remote: RemoteBatch, instance: str | None) -> bool:
    """Whether a remote batch was made under this registry's name."""
    return instance is not None and remote.metadata.get("orc_instance") == instance


def ours_at(
    registry: Registry, provider: Provider, instance: str | None, listed: Iterable[RemoteBatch]
) -> Iterator[Seen]:
    """Yield those of the listed batches that are ours, each with its row. Reads only.

    Where the list shows no metadata, what no row follows is asked for by its id.
    """
    remaining = iter(listed)
    while chunk := list(islice(remaining, _AT_ONCE)):
        yield from _with_rows(registry, provider, instance, chunk)


def _with_rows(
    registry: Registry, provider: Provider, instance: str | None, chunk: Sequence[RemoteBatch]
) -> Iterator[Seen]:
    ids = [remote.id for remote in chunk]
    with registry.read() as db:
        followed = {
            b.remote_id for b in batches.known(db, provider.name, remote_ids=ids, tokens=[])
        }
        known = strays.known(db, provider.name, ids)
    if not provider.profile.quirks.metadata_in_list:
        unknown = (r for r in chunk if r.id not in followed and r.id not in known)
        told = {remote.id: provider.batch(remote.id) for remote in unknown}
        chunk = [told.get(remote.id, remote) for remote in chunk]
    mine = [r for r in chunk if r.id in followed | known.keys() or is_ours(r, instance)]
    tokens = [_token(remote) for remote in mine]
    with registry.read() as db:
        owners = batches.known(db, provider.name, remote_ids=[r.id for r in mine], tokens=tokens)
    by_id = {row.remote_id: row for row in owners}
    by_token = {row.token: row for row in owners}
    for remote in mine:
        row = by_id.get(remote.id) or by_token.get(_token(remote))
        if row is None and _token(remote):
            with registry.read() as db:
                row = batches.by_spare_token(db, _token(remote))
        yield Seen(remote, examine(remote, row), row, known.get(remote.id))


def _token(remote: RemoteBatch) -> str:
    return remote.metadata.get("orc_token", "")
