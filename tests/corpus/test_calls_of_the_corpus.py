"""Answers of calls: each fixture of `calls.toml` is sorted as it stands beside it, over HTTP."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.corpus import Fixture, fixtures, joined

from orchestrator.domain.errors import (
    AuthError,
    GoneError,
    ProviderError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.domain.remote import Counts
from orchestrator.provider.client import HttpProvider, Patience
from orchestrator.provider.profiles import load_profile

CALLS = fixtures("calls")
EFFECTS = {"create", "upload", "cancel"}
CLASSES = {
    "unanswered": UnansweredError,
    "unavailable": UnavailableError,
    "rejected": RejectedError,
    "throttled": ThrottledError,
    "quota": QuotaError,
    "auth": AuthError,
    "gone": GoneError,
}
FAILURES: dict[str, Exception] = {
    "refused": httpx.ConnectError("connection refused"),
    "connect": httpx.ConnectTimeout("slow"),
    "pool": httpx.PoolTimeout("full"),
    "read": httpx.ReadTimeout("slow"),
    "write": httpx.WriteTimeout("slow"),
    "reset": httpx.ReadError("connection reset by peer"),
    "hung up": httpx.RemoteProtocolError("server disconnected without sending a response"),
}
PATIENCE = 2


class TestKey:
    def reveal(self) -> str:
        return "sk-test"


class Body(httpx.SyncByteStream):
    """A body without a length, that may break off."""

    def __init__(self, content: bytes, *, breaks: bool) -> None:
        self._content = content
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        yield self._content
        if self._breaks:
            raise httpx.RemoteProtocolError("peer closed connection within the body")


class Server(httpx.BaseTransport):
    """Gives the fixture's answer to every call, and counts them."""

    def __init__(self, fixture: Fixture) -> None:
        self._fixture = fixture
        self.sent = 0

    def handle_request(self, _request: httpx.Request) -> httpx.Response:
        self.sent += 1
        fixture = self._fixture
        fails = fixture.get("fails", "")
        if fails in FAILURES:
            raise FAILURES[fails]
        body = joined(fixture.get("parts", fixture.get("body", "")))
        headers = fixture.get("headers", {})
        status = fixture.get("status", 200)
        if fails:
            stream = Body(body, breaks=fails == "cut")
            return httpx.Response(status, headers=headers, stream=stream)
        if not {"content-encoding", "content-length"} & headers.keys():
            headers = {**headers, "content-length": str(len(body))}
        return httpx.Response(status, headers=headers, stream=Body(body, breaks=False))


def connect(server: Server) -> HttpProvider:
    return HttpProvider(
        name="kimi",
        profile=load_profile("kimi"),
        key=TestKey(),
        now=lambda: datetime.datetime(2026, 10, 21, tzinfo=datetime.UTC),
        monotonic=lambda: 0.0,
        sleep=lambda _seconds: None,
        rng=random.Random(1),
        transport=server,
        patience=Patience(attempts=PATIENCE, longest_retry_after=7200.0),
    )


def make(call: str, provider: HttpProvider, folder: Path) -> Any:
    """Make the call of a fixture and return what the port returns."""
    path = folder / "file.jsonl"
    match call:
        case "create":
            return provider.create(
                "f1",
                endpoint="/v1/chat/completions",
                window="24h",
                metadata={},
                idempotency_key="t1",
            )
        case "upload":
            path.write_bytes(b"{}\n")
            return provider.upload(path, "orc-t1.jsonl")
        case "download":
            return provider.download("f1", path, max_bytes=1 << 30)
        case "list_batches":
            return [batch.id for batch in provider.list_batches()]
        case "list_files":
            return [file.id for file in provider.list_files()]
        case "delete":
            return provider.delete_file("f1")
        case "models" | "balance":
            return getattr(provider, call)()
    return getattr(provider, call)("b1")


def assert_read(fixture: Fixture, value: Any) -> None:
    if "ids" in fixture.raw:
        assert value == fixture["ids"]
    for name, wanted in fixture.get("is", {}).items():
        found = value if name == "value" else getattr(value, name)
        if isinstance(found, Counts):
            found = [found.total, found.completed, found.failed]
        if isinstance(found, tuple):
            found = list(found)
        assert ("none" if found is None else found) == wanted, name


def assert_sorted(fixture: Fixture, error: ProviderError) -> None:
    assert type(error) is CLASSES.get(fixture["verdict"]), error
    if "code" in fixture.raw:
        assert error.code == fixture["code"]
    if "retry_after" in fixture.raw:
        told = error.retry_after
        assert ("none" if told is None else told) == fixture["retry_after"]
    for text in (error.message, error.why, error.safe, error.next, error.request_id):
        assert text.isprintable()
        assert len(text) < 600


@pytest.mark.fault(
    "U01", "U02", "U04", "U06", "C01", "C02", "C05", "C06", "C07", "C08", "C09",
    "P01", "P02", "P03", "P05", "D01", "D02", "D03", "D04",
)  # fmt: skip
@pytest.mark.parametrize("fixture", CALLS, ids=lambda fixture: fixture.name)
def test_an_answer_is_sorted_once_and_as_its_fixture_says(fixture: Fixture, tmp_path: Path) -> None:
    server = Server(fixture)
    provider = connect(server)
    verdict = fixture["verdict"]
    try:
        value = make(fixture["call"], provider, tmp_path)
    except ProviderError as error:
        assert_sorted(fixture, error)
    else:
        assert verdict in {"read", "none", "gone already"}, value
        assert {"none": None, "gone already": False}.get(verdict, value) == value
        assert_read(fixture, value)
    finally:
        provider.close()
    if fixture["call"] in EFFECTS:
        assert server.sent == 1, "a call that changes something is sent once"
    assert server.sent == fixture.get("sent", server.sent)
    if verdict != "read":
        assert not list(tmp_path.glob(".*.part")), "a refused download leaves nothing behind"
