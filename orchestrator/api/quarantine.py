"""Odd lines of result files: a list of them, and one with everything that is kept of it."""

from __future__ import annotations

from orchestrator.api.lookup import batch_named, job_named
from orchestrator.domain.errors import NotFound
from orchestrator.registry import quarantine
from orchestrator.registry.quarantine import OddLine
from orchestrator.registry.session import Registry

HEAD = 160
"""Bytes of a line that a list shows."""


def odd_lines(
    registry: Registry, subject: str | None = None, *, after: int = 0, limit: int = 50
) -> list[OddLine]:
    """Return odd lines of a JOB, of a batch JOB/b07, or of all, as they were met.

    Raises NotFound and UsageError for a name that is nobody's, or several.
    """
    with registry.read() as db:
        job_id = batch_id = None
        if subject is not None and "/" in subject:
            batch_id = batch_named(db, subject)[1].id
        elif subject is not None:
            job_id = job_named(db, subject).id
        return quarantine.page(
            db, head=HEAD, job_id=job_id, batch_id=batch_id, after=after, limit=limit
        )


def odd_line(registry: Registry, odd_id: int) -> OddLine:
    """Return one odd line, whole as far as it is kept. Raises NotFound."""
    with registry.read() as db:
        found = quarantine.find(db, odd_id)
    if found is None:
        raise NotFound(f"there is no odd line {odd_id}", next="orchestrator quarantine")
    return found
