"""Batches brought to their end at a provider that a test speaks for: odd files, real steps."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import sqlalchemy as sa

from orchestrator.domain import transitions as t
from orchestrator.domain.errors import OrchestratorError
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.engine.steps.collect import collect
from orchestrator.engine.steps.follow import observe
from orchestrator.engine.steps.prepare import prepare
from orchestrator.engine.steps.reconcile import reconcile
from orchestrator.provider import wire
from orchestrator.provider.client import HttpProvider, Patience
from orchestrator.registry import batches, events, requests
from orchestrator.registry.tables import quarantine, responses
from orchestrator.registry.tables import requests as request_rows
from support.world import World

ENDED = 1_756_703_600
PATIENCE = 200
"""Steps that a batch may take until it must have ended, be parked, or be put off for good."""


class Shelf(httpx.BaseTransport):
    """A provider that has nothing but batch objects and files, each with versions in a row."""

    def __init__(self) -> None:
        self.batches: dict[str, bytes] = {}
        self.files: dict[str, list[bytes | int]] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        parts = request.url.path.split("/")
        if parts[-1] == "content":
            return self._content(parts[-2])
        return httpx.Response(200, content=self.batches[parts[-1]])

    def _content(self, name: str) -> httpx.Response:
        versions = self.files[name]
        content = versions.pop(0) if len(versions) > 1 else versions[0]
        if isinstance(content, int):
            return httpx.Response(content, json={"error": {"message": "no", "type": "gone"}})
        return httpx.Response(200, content=content)


class Forge:
    """A job whose batches are live at the shelf; each is brought to its end by a test."""

    def __init__(self, world: World, *, count: int, size: int) -> None:
        self.world = world
        self.shelf = Shelf()
        self.size = size
        world.requests_per_batch = size
        world.providers.in_flight = 1_000_000
        self.ctx = world.boot()
        world.providers.made["sandbox"] = HttpProvider(
            name="sandbox",
            profile=world.providers.profile("sandbox"),
            key=world.key,
            now=world.clock.now,
            monotonic=world.clock.monotonic,
            sleep=lambda _seconds: None,
            rng=random.Random(1),
            transport=self.shelf,
            patience=Patience(attempts=1),
        )
        world.submit(count * size)
        while prepare(self.ctx, world.job()):
            pass
        self._planned = iter(batches_of(world))
        self.job: Job = world.job()

    def live(self) -> tuple[Batch, list[str]]:
        """Return the next batch, live at the provider, and the custom_ids of its members."""
        ctx, now = self.ctx, self.ctx.now()
        batch = ctx.record(next(self._planned), t.Built(sha256="0" * 64, bytes=1))
        fingerprint = self.world.providers.get("sandbox").fingerprint
        batch = ctx.record(batch, t.UploadBegan(fingerprint=fingerprint))
        batch = ctx.record(batch, t.Uploaded(input_file_id=f"in-{batch.id}"))
        batch = ctx.record(batch, t.CreateBegan(create_began_at=now))
        created = t.Created(
            remote_id=f"batch-{batch.id}",
            remote_status="validating",
            remote_word="validating",
            remote_raw="{}",
            remote_created_at=now,
            expires_at=None,
            deadline_at=now,
            changed_at=now,
        )
        batch = ctx.record(batch, created)
        with self.world.registry.read() as db:
            return batch, [member.custom_id for member in requests.members(db, batch.id)]

    def end(
        self,
        batch: Batch,
        *,
        status: str = "completed",
        counts: Sequence[int] | None = None,
        output: Sequence[bytes | int] | None = None,
        error: Sequence[bytes | int] | None = None,
        more: Mapping[str, Any] | None = None,
        appears: bool = False,
    ) -> Batch:
        """End a live batch; each file comes with its versions, None is no file at all.

        `appears`: the ids of the files are seen at a later look only.
        """
        ids: dict[str, str | None] = {"output_file_id": None, "error_file_id": None}
        for kind, versions in (("output", output), ("error", error)):
            if versions is not None:
                ids[f"{kind}_file_id"] = f"{kind}-{batch.id}"
                self.shelf.files[f"{kind}-{batch.id}"] = list(versions)
        shown: dict[str, Any] = {
            "id": f"batch-{batch.id}",
            "status": status,
            f"{status}_at": ENDED,
            **(more or {}),
        }
        if counts is not None:
            total, completed, failed = counts
            shown["request_counts"] = {"total": total, "completed": completed, "failed": failed}
        full = json.dumps({**shown, **ids}).encode()
        self.shelf.batches[f"batch-{batch.id}"] = full
        first = json.dumps(shown).encode() if appears else full
        return observe(self.ctx, batch, wire.read_batch(first))

    def settle(self, batch: Batch, *, loses: bool = False) -> Batch:
        """Collect and reconcile until the batch has ended or is parked; errors put it off.

        `loses`: what was collected first is gone from the spool before it is reconciled.
        """
        for _ in range(PATIENCE):
            batch = self._read(batch)
            if batch.state not in {BatchState.REMOTE_DONE, BatchState.COLLECTED}:
                break
            if batch.state is BatchState.COLLECTED and loses:
                loses = False
                for kind in ("output", "error"):
                    self.ctx.spool.drop(self.ctx.spool.result_path(batch.id, kind))
            step = collect if batch.state is BatchState.REMOTE_DONE else reconcile
            try:
                step(self.ctx, batch, self.job)
            except OrchestratorError as error:
                self._put_off(batch, error)
        return self._read(batch)

    def stop_after_one_chunk(self, batch: Batch) -> None:
        """Collect a batch, and stop its reconcile when the first chunk is recorded."""
        batch = self._read(batch)
        while batch.state is BatchState.REMOTE_DONE:
            batch = collect(self.ctx, batch, self.job)
        asked = iter([False])
        self.world.stopping = lambda: next(asked, True)
        stopped = reconcile(self.ctx, batch, self.job)
        self.world.stopping = lambda: False
        assert 0 < stopped.cursor < stopped.requests
        assert stopped.state is BatchState.COLLECTED

    def _put_off(self, batch: Batch, error: OrchestratorError) -> None:
        now = self.ctx.now()
        self.world.registry.write(
            lambda db: batches.put_off(
                db, batch, due_at=now, reason=error.message, code=error.code, tries=batch.tries + 1
            )
        )

    def _read(self, batch: Batch) -> Batch:
        with self.world.registry.read() as db:
            return batches.get(db, batch.id)

    def states(self, members: Sequence[str]) -> Counter[str]:
        """Count the members of a batch by what has become of them."""
        query = sa.select(request_rows.c.state).where(request_rows.c.custom_id.in_(members))
        with self.world.registry.read() as db:
            return Counter(db.execute(query).scalars())

    def all_states(self) -> Counter[str]:
        """Count all requests by what has become of them."""
        with self.world.registry.read() as db:
            return Counter(db.execute(sa.select(request_rows.c.state)).scalars())

    def answers(self, members: Sequence[str]) -> dict[str, str]:
        """Return the recorded bodies of members, by custom_id."""
        query = (
            sa.select(request_rows.c.custom_id, responses.c.body)
            .join(responses, responses.c.request_id == request_rows.c.id)
            .where(request_rows.c.custom_id.in_(members))
        )
        with self.world.registry.read() as db:
            return dict(tuple(row) for row in db.execute(query))

    def odd(self, batch: Batch) -> list[tuple[str, int, str]]:
        """Return source, line and reason of each line of a batch in quarantine."""
        query = sa.select(quarantine.c.source, quarantine.c.line, quarantine.c.reason).where(
            quarantine.c.batch_id == batch.id
        )
        with self.world.registry.read() as db:
            return [tuple(row) for row in db.execute(query)]

    def told(self, batch: Batch, kind: str) -> list[dict[str, Any]]:
        """Return the data of a batch's events of one kind."""
        with self.world.registry.read() as db:
            found = events.page(db, batch_id=batch.id, limit=1000)
        return [json.loads(event.data) for event in found if event.kind == kind]

    def reasons_of_halves(self, batch: Batch) -> list[str]:
        """Return why the halves of a batch were planned."""
        with self.world.registry.read() as db:
            found = events.page(db, job_id=batch.job_id, newest=True, limit=4)
        told = [json.loads(event.data) for event in found if event.kind == "planned"]
        return [data["reason"] for data in told if data.get("half_of") == batch.label]


def batches_of(world: World) -> list[Batch]:
    """Return all batches of the world's job, however many."""
    with world.registry.read() as db:
        return batches.of_job(db, world.job().id, limit=1_000_000)
