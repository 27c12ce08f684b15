"""Faults of the catalogue that a whole job meets: each outlived, with nothing paid twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import sqlalchemy as sa
from crash.memory import put_back, remember
from support.books import assert_the_books_agree
from support.databases import Databases
from support.world import START, SandboxProviders, World

from orchestrator.api import control
from orchestrator.domain.errors import UnansweredError
from orchestrator.domain.model import BatchState, Gate
from orchestrator.domain.pacing import Pace
from orchestrator.domain.remote import Counts, RemoteBatch, RemoteStatus
from orchestrator.domain.spec import Policy
from orchestrator.engine.steps.follow import observe
from orchestrator.failpoints import watched
from orchestrator.provider.client import HttpProvider
from orchestrator.registry import accounts
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import responses
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.temper import Batches, Bounds, Lines, Temper
from orchestrator.sandbox.transport import SandboxTransport

BRISK = Batches(validating=(1, 1), running=(60, 60), finalizing=(1, 1), cancelling=(1, 1))
SLOW = Batches(validating=(1, 1), running=(7_200, 7_200), finalizing=(1, 1))
SELDOM = Pace(poll_min=1_800, poll_max=1_800, back_off_min=600, gate_probe=3_600)


@pytest.fixture
def world(databases: Databases, tmp_path: Path) -> Iterator[World]:
    """A world on SQLite: nothing here is the database's."""
    registry = Registry(databases.fresh("sqlite"), sync=False)
    yield World(registry, tmp_path, temper=Temper(batches=BRISK))
    registry.close()


def limited(world: World, limits: Bounds, **known: int) -> None:
    """Give the account limits, of which the profile knows these."""
    world.sandbox.temper = Temper(batches=BRISK, limits=limits)
    profile = world.providers.profile("sandbox")
    told = msgspec.structs.replace(profile.limits, **known)
    world.profiles["sandbox"] = msgspec.structs.replace(profile, limits=told)


# Building and uploading


@pytest.mark.fault("B10")
def test_what_was_registered_is_sent_whatever_its_source_says_by_then(world: World) -> None:
    sent: list[str] = []

    def look(name: str, about: object) -> None:
        if (name, about) == ("call.send", "upload"):
            (path,) = world.context.spool.batch_files()[len(sent) + 1]
            sent.append(path.read_text())

    world.sandbox.temper = Temper(batches=BRISK, lines=Lines(overloaded=1.0))
    job = world.submit(3, policy=Policy(attempts=9, rounds=9, linger_seconds=1))
    Path(world.context.spec_of(job).source).write_text('{"id":"r-00000","text":"changed"}\n' * 3)
    with watched(look):
        while len(world.batches()) < 2:
            assert world.advance()
        world.sandbox.temper = Temper(batches=BRISK)
        assert world.run().books.succeeded == 3
    assert len(sent) >= 2
    assert all("about record 2" in text and "changed" not in text for text in sent)
    assert len(set(sent)) == 1, "the same records make the same bytes"


@pytest.mark.fault("U05")
def test_a_file_that_is_too_large_is_sent_in_halves(world: World) -> None:
    limited(world, Bounds(max_file_bytes=2_500))
    world.submit(40)
    assert world.run().books.succeeded == 40
    sizes = [batch.requests for batch in world.batches() if batch.remote_id]
    assert sum(sizes) == 40
    assert max(sizes) < 20
    assert_the_books_agree(world)


@pytest.mark.fault("U06")
def test_a_full_quota_of_files_waits_for_room_and_burns_nothing(world: World) -> None:
    limited(world, Bounds(max_batch_files=5, max_files=5), files=5)
    theirs = world.folder / "theirs.jsonl"
    theirs.write_bytes(b'{"custom_id":"x"}\n')
    provider = world.providers.get("sandbox")
    strangers = [provider.upload(theirs, f"theirs-{n}.jsonl") for n in range(5)]
    world.submit(10)
    for _ in range(12):
        assert world.advance()
    (batch,) = world.batches()
    assert (batch.state, batch.code) == (BatchState.BUILT, "ORC3106")
    provider.delete_file(strangers[0].id)
    assert world.run().books.succeeded == 10
    kept = [file.name for file in world.sandbox.books().files if not file.deleted]
    assert sorted(kept) == [f"theirs-{n}.jsonl" for n in range(1, 5)]


class Eventual(SandboxTransport):
    """A file is not known for its first minutes, and its size is that of another notation."""

    seen_after = 90.0

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._known_at = 0.0
        self.refused = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        now = self.sandbox._clock()
        asked = request.method, request.url.path.removeprefix("/v1")
        early = now < self._known_at
        if early and (asked == ("POST", "/batches") or asked[1].startswith("/files/")):
            self.refused += 1
            error = {"message": "No such file", "type": "resource_not_found_error"}
            return httpx.Response(404, json={"error": error})
        answer = super().handle_request(request)
        if asked == ("POST", "/files"):
            self._known_at = now + self.seen_after
            told = json.loads(answer.read())
            return httpx.Response(200, json={**told, "bytes": told["bytes"] - 7})
        return answer


@pytest.mark.fault("U07", "C06")
def test_a_file_that_is_seen_late_and_with_another_size_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.world.SandboxTransport", Eventual)
    world.submit(10)
    assert world.run().books.succeeded == 10
    provider = world.providers.made["sandbox"]
    assert provider._exchange._http._transport.refused > 0  # type: ignore[attr-defined]
    assert len(world.sandbox.books().batches) == len(world.sandbox.books().files) == 1


class Processing(SandboxTransport):
    """A file is being read for a while; a batch over it is refused like a malformed request."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.method, request.url.path.removeprefix("/v1")
        if self.sandbox._clock() > START.timestamp() + 4_000:
            return super().handle_request(request)
        if asked == ("POST", "/batches"):
            error = {"message": "the file is being processed", "type": "invalid_request_error"}
            return httpx.Response(400, json={"error": error})
        answer = super().handle_request(request)
        if asked[0] == "GET" and asked[1].startswith("/files/"):
            told = json.loads(answer.read())
            return httpx.Response(200, json={**told, "status": "processing"})
        return answer


@pytest.mark.fault("U07")
def test_a_file_that_is_not_ready_yet_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("support.world.SandboxTransport", Processing)
    world.submit(10)
    assert world.run().books.succeeded == 10
    assert len(world.sandbox.books().batches) == len(world.sandbox.books().files) == 1


@pytest.mark.fault("U08")
def test_an_upload_is_broken_off_before_the_lease_is_over(world: World) -> None:
    asked = []

    def may_go_on() -> bool:
        asked.append(None)
        return len(asked) < 3

    provider = HttpProvider(
        name="sandbox",
        profile=SandboxProviders(world).profile("sandbox"),
        key=world.key,
        now=world.clock.now,
        monotonic=world.clock.monotonic,
        sleep=world.clock.sleep,
        rng=world.context.rng,
        transport=SandboxTransport(world.sandbox),
        may_go_on=may_go_on,
    )
    large = world.folder / "large.jsonl"
    large.write_bytes(b"x" * 4_000_000)
    with pytest.raises(UnansweredError):
        provider.upload(large, "large.jsonl")
    assert len(asked) == 3
    assert world.sandbox.books().files == ()


# Creating and following


@pytest.mark.fault("C05")
def test_a_real_no_to_a_create_waits_for_a_person_with_its_words(world: World) -> None:
    world.sandbox.temper = Temper(batches=BRISK, limits=Bounds(min_window_hours=48))
    world.submit(10)
    world.run(days=1)
    (batch,) = world.batches()
    assert batch.state is BatchState.PARKED
    assert "completion_window" in (batch.reason or "")
    assert (world.job().books.in_flight, world.job().books.failed) == (10, 0)
    world.sandbox.temper = Temper(batches=BRISK)
    control.resume(world.context, names=["labels"], providers=[])
    assert world.run().books.succeeded == 10
    assert_the_books_agree(world)


@pytest.mark.fault("P04")
def test_counts_that_go_back_are_kept_at_the_furthest(world: World) -> None:
    world.sandbox.temper = Temper(batches=SLOW)
    world.submit(10)
    world.tick()
    for completed, told in ((6, 6), (2, 6), (0, 6), (7, 7)):
        (batch,) = world.batches()
        counts = Counts(total=10, completed=completed, failed=0)
        shown = RemoteBatch(
            str(batch.remote_id), RemoteStatus.IN_PROGRESS, "in_progress", counts=counts
        )
        observe(world.context, batch, shown)
        assert world.batches()[0].remote_completed == told


@pytest.mark.fault("P04", "P10")
def test_a_batch_that_completes_though_it_was_cancelled_is_collected_whole(world: World) -> None:
    world.sandbox.temper = Temper(batches=msgspec.structs.replace(BRISK, cancel_ignored=1.0))
    world.submit(10)
    world.tick()
    control.cancel_job(world.context, "labels")
    job = world.run()
    (batch,) = world.batches()
    assert batch.cancel_sent_at is not None
    assert (job.state, job.books.succeeded) == ("cancelled", 10)
    assert_the_books_agree(world)


@pytest.mark.fault("T11", "C08")
def test_a_throttled_account_is_asked_by_one_batch_at_a_time(world: World) -> None:
    """However many batches wait for it: one call a time that the provider told, then all."""
    calls = []
    world.sandbox.inject("upload", Fault.THROTTLED, times=10_000, seconds=60)
    world.submit(400)
    began = world.clock.seconds
    with watched(lambda name, about: calls.append(about) if name == "call.send" else None):
        while world.clock.seconds < began + 3_600:
            assert world.advance()
    assert len(world.batches()) == 8
    assert 40 <= calls.count("upload") <= 62
    with world.registry.read() as db:
        account = accounts.find(db, "sandbox")
    assert account is not None
    assert account.gate is Gate.SLOWED
    world.sandbox._misfortunes.ordered.clear()
    assert world.run().books.succeeded == 400


# Answers


@pytest.mark.fault("R09")
def test_an_answer_is_kept_as_it_came_whatever_the_user_had_asked_for(world: World) -> None:
    bodies: dict[str, Any] = {}

    def look(name: str, _about: object) -> None:
        (batch,) = world.batches()
        if name == "registry.committed" and batch.state is BatchState.COLLECTED:
            path = world.context.spool.result_path(batch.id, "output")
            for line in path.read_text().splitlines():
                told = json.loads(line)
                bodies[told["custom_id"]] = told["response"]["body"]

    world.submit(10, prompt="Answer with the number of words of: {text}. A number, nothing else.")
    world.tick()
    with watched(look):
        assert world.run().books.succeeded == 10
    with world.registry.read() as db:
        kept = [json.loads(body) for body in db.execute(sa.select(responses.c.body)).scalars()]
    texts = [body["choices"][0]["message"]["content"] for body in kept]
    assert not any(text.isdigit() for text in texts), "no answer is what was asked for"
    assert kept == [bodies[f"r-{n:05d}"] for n in range(10)]


@pytest.mark.fault("R10", "Q05")
def test_the_answers_of_an_attempt_that_was_forgotten_are_taken_while_its_records_are_open(
    world: World,
) -> None:
    world.submit(10)
    before = remember(world.registry)
    world.tick()
    world.clock.seconds += 3_600  # it ends while the registry knows nothing of it
    put_back(world.registry, before)
    world.boot()
    assert world.run().books.succeeded == 10
    assert len(world.sandbox.books().batches) == 1
    assert world.sandbox.books().billed_twice() == {}
    assert_the_books_agree(world)
