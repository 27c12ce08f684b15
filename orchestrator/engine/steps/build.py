"""planned -> built: write the input file of a batch from the registry's rows."""

from __future__ import annotations

from orchestrator.domain.model import Batch, Job
from orchestrator.domain.rendering import batch_line
from orchestrator.domain.transitions import Built
from orchestrator.engine.context import Context
from orchestrator.registry import requests

_CHUNK = 2_000


def build(ctx: Context, batch: Batch, job: Job) -> Batch:
    """Write the file, line by line in source order; building again gives the same bytes."""
    endpoint = ctx.spec_of(job).endpoint
    with ctx.spool.writing(ctx.spool.input_path(batch.id), size=batch.bytes) as file:
        after = 0
        while True:
            with ctx.registry.read() as db:
                lines = requests.lines(db, batch.id, after=after, limit=_CHUNK)
            if not lines:
                break
            for line in lines:
                file.write(batch_line(line.custom_id, endpoint, line.body.encode()))
            after = lines[-1].id
    return ctx.record(batch, Built(sha256=file.sha256, bytes=file.size))
