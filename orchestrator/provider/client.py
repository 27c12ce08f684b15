"""The Batch API over HTTP: the port's methods, said in the wire's words."""

from __future__ import annotations

import dataclasses
import datetime
import email.utils
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import httpx

from orchestrator.domain.errors import (
    GoneError,
    ProviderError,
    RejectedError,
    SpoolError,
    UnavailableError,
)
from orchestrator.domain.profile import Profile
from orchestrator.domain.remote import Downloaded, RemoteBatch, RemoteFile
from orchestrator.provider import wire
from orchestrator.provider.download import UnfitBody, save
from orchestrator.provider.exchange import Call, Exchange, OnCall, Reply, Secret, Timeouts
from orchestrator.provider.lists import Listed, Params, walk
from orchestrator.provider.retrying import Patience, repeat

__all__ = ["HttpProvider", "OnCall", "Patience", "Secret", "Timeouts"]

T = TypeVar("T")


class HttpProvider:
    """One account at one OpenAI-shaped Batch API.

    Reads and deletions are repeated as `patience` says; a call that creates is sent exactly once.
    Memory is bounded: files are streamed, lists come page by page. May be used from several
    threads at once. `now` tells UTC, `monotonic` seconds; `on_call` hears of every single call.
    A transfer is broken off when `may_go_on` says no; `before_call` waits where calls per minute
    are limited.
    """

    def __init__(
        self,
        *,
        name: str,
        profile: Profile,
        key: Secret | None,
        now: Callable[[], datetime.datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        rng: random.Random,
        base_url: str = "",
        key_source: str = "",
        transport: httpx.BaseTransport | None = None,
        timeouts: Timeouts | None = None,
        patience: Patience | None = None,
        on_call: OnCall | None = None,
        may_go_on: Callable[[], bool] = lambda: True,
        before_call: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._profile = profile
        self._now = now
        self._sleep = sleep
        self._rng = rng
        self._patience = patience or Patience()
        address = (base_url or profile.base_url).rstrip("/")
        secret = key.reveal().strip() if key else ""
        self._fingerprint = hashlib.sha256(f"{address}\n{secret}".encode()).hexdigest()[:16]
        self._exchange = Exchange(
            base_url=address,
            key=key,
            key_required=profile.key_required,
            key_source=key_source,
            transport=transport,
            timeouts=timeouts or Timeouts(),
            monotonic=monotonic,
            on_call=on_call,
            may_go_on=may_go_on,
            before_call=before_call,
        )

    def __repr__(self) -> str:
        return f"HttpProvider({self._name!r}, account {self._fingerprint})"

    @property
    def name(self) -> str:
        """The name of the provider in the configuration."""
        return self._name

    @property
    def profile(self) -> Profile:
        """The provider's facts."""
        return self._profile

    @property
    def fingerprint(self) -> str:
        """16 hex digits of the SHA-256 of base URL and key: which account remote ids belong to."""
        return self._fingerprint

    def close(self) -> None:
        """Close connections."""
        self._exchange.close()

    # Files

    def upload(self, path: Path, name: str) -> RemoteFile:
        """Upload the batch input file at `path` under `name`; streamed, sent once.

        The remote name ends in `.jsonl` (platform.kimi.ai/docs/api/batch-create asks for it); the
        server may put a counter into it. Raises SpoolError when the file can't be opened, and
        UnansweredError when the file may have arrived.
        """
        remote_name = name if name.endswith(".jsonl") else f"{name}.jsonl"
        try:
            file = path.open("rb")
        except OSError as exc:
            raise SpoolError(
                f"the batch input file can't be read: {exc.strerror or type(exc).__name__}",
                where=str(path),
                safe="nothing was sent; the file is built again from the registry",
            ) from exc
        with file:
            call = Call(
                "upload",
                "POST",
                "/files",
                effect=True,
                transfer=True,
                upload=(self._profile.quirks.upload_purpose, remote_name, file),
            )
            return self._once(call, wire.read_file)

    def list_files(self) -> Iterator[RemoteFile]:
        """Yield every file of the account, lazily. Raises UnavailableError (ORC3205) if it can't.

        Asked without parameters: Kimi then gives the whole list (platform.kimi.ai/docs/api/
        files-list); where `has_more` is true, `after` continues it.
        """
        if not self._profile.quirks.list_files:
            raise self._no_list("files")
        return self._listed(Call("list_files", "GET", "/files"), wire.read_file_page, limit=0)

    def file(self, file_id: str) -> RemoteFile:
        """Return one remote file. Raises GoneError."""
        return self._read(Call("file", "GET", f"/files/{_part(file_id)}"), wire.read_file)

    def delete_file(self, file_id: str) -> bool:
        """Delete a remote file; False if it was already gone. Repeated like a read.

        True only on the provider's own word: revoking a create rests on it.
        """
        call = Call("delete_file", "DELETE", f"/files/{_part(file_id)}")

        def gone(reply: Reply) -> bool:
            return reply.status == 204 or wire.read_deletion(reply.body)

        try:
            if self._repeated(call, gone):
                return True
        except GoneError:
            return False
        raise UnavailableError(
            f"{self._exchange.label(call)}: the provider says that it did not delete the file",
            code="ORC3204",
            safe="nothing was changed; it is asked again later",
        )

    def download(self, file_id: str, to: Path, *, max_bytes: int) -> Downloaded:
        """Stream a file's content to `to`, complete and durable or not at all.

        Raises GoneError, SpoolError, and UnavailableError for a body that is truncated (ORC3206),
        longer than `max_bytes` (ORC3210) or no result file (ORC3211). An empty file is legal.
        """
        call = Call(
            "download",
            "GET",
            f"/files/{_part(file_id)}/content",
            transfer=True,
            # Content-Length then counts the bytes that we hash.
            headers={"Accept-Encoding": "identity"},
        )
        return repeat(
            lambda attempt: self._fetch(call, to, max_bytes, attempt),
            patience=self._patience,
            sleep=self._sleep,
            rng=self._rng,
        )

    def _fetch(self, call: Call, to: Path, max_bytes: int, attempt: int) -> Downloaded:
        with self._exchange.stream(call, attempt) as response:
            expected = _length(response.headers)

            try:
                _refuse_at_sight(response.headers, expected, max_bytes)
                return save(
                    self._exchange.chunks(call, response),
                    to,
                    max_bytes=max_bytes,
                    expected=expected,
                    rng=self._rng,
                )
            except UnfitBody as exc:
                raise UnavailableError(
                    f"{self._exchange.label(call)}: the file was not taken over",
                    code=exc.code,
                    why=str(exc),
                    safe="the provider keeps its copy; nothing of it was read",
                    next=f"orchestrator help {exc.code}",
                    status=response.status_code,
                ) from None

    # Batches

    def create(
        self,
        input_file_id: str,
        *,
        endpoint: str,
        window: str,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> RemoteBatch:
        """Create a batch over an uploaded file; sent exactly once.

        `idempotency_key` travels only where the profile says that it is honoured. Raises
        UnansweredError when the batch may exist, GoneError when the provider does not know the
        input file, RejectedError for its other noes.
        """
        headers = {}
        if self._profile.quirks.idempotent_create and idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        call = Call(
            "create",
            "POST",
            "/batches",
            effect=True,
            headers=headers,
            json={
                "input_file_id": input_file_id,
                "endpoint": endpoint,
                "completion_window": window,
                "metadata": dict(metadata),
            },
        )
        return self._once(call, self._as_batch)

    def list_batches(self) -> Iterator[RemoteBatch]:
        """Yield batches as the provider orders them, page by page, lazily.

        Ends when a page brings no unseen id: some servers ignore `after`.
        """
        quirks = self._profile.quirks
        if not quirks.list_batches:
            raise self._no_list("batches")
        return self._listed(
            Call("list_batches", "GET", "/batches"),
            lambda raw: wire.read_batch_page(raw, quirks.status_words),
            limit=quirks.list_batches_limit,
        )

    def batch(self, batch_id: str) -> RemoteBatch:
        """Return one remote batch. Raises GoneError."""
        return self._read(Call("batch", "GET", f"/batches/{_part(batch_id)}"), self._as_batch)

    def cancel(self, batch_id: str) -> RemoteBatch | None:
        """Ask for cancellation, once; None when the batch can no longer be cancelled.

        Kimi answers 400 then (platform.kimi.ai/docs/api/batch-cancel). The batch may still end
        completed.
        """
        call = Call("cancel", "POST", f"/batches/{_part(batch_id)}/cancel", effect=True)
        try:
            return self._once(call, self._as_batch)
        except RejectedError as exc:
            if exc.status == 400:
                return None
            raise

    # The account

    def models(self) -> list[str]:
        """Return the ids of the models this key may use."""
        return self._read(Call("models", "GET", "/models"), wire.read_models)

    def balance(self) -> str | None:
        """Return the account's available amount as text; None where the provider has no such call.

        In the currency of the platform (USD at Kimi's .ai, CNY at its .cn).
        """
        path = self._profile.quirks.balance_path
        return self._read(Call("balance", "GET", path), wire.read_balance) if path else None

    def clock_skew(self) -> float | None:
        """Return by how many seconds our clock is ahead of the provider's; None if it says no time.

        Read from the `Date` header of the models call, so no finer than a second or two.
        """
        date = self._repeated(
            Call("models", "GET", "/models"), lambda reply: reply.headers.get("date")
        )
        try:
            there = email.utils.parsedate_to_datetime(date or "")
            return (self._now() - there).total_seconds()
        except (ValueError, TypeError, IndexError):
            return None

    # How calls are made

    def _as_batch(self, raw: bytes) -> RemoteBatch:
        return wire.read_batch(raw, self._profile.quirks.status_words)

    def _once(self, call: Call, read: Callable[[bytes], T]) -> T:
        return self._understood(call, self._exchange.send(call), lambda reply: read(reply.body))

    def _read(self, call: Call, read: Callable[[bytes], T]) -> T:
        return self._repeated(call, lambda reply: read(reply.body))

    def _repeated(self, call: Call, read: Callable[[Reply], T]) -> T:
        return repeat(
            lambda attempt: self._understood(call, self._exchange.send(call, attempt), read),
            patience=self._patience,
            sleep=self._sleep,
            rng=self._rng,
        )

    def _understood(self, call: Call, reply: Reply, read: Callable[[Reply], T]) -> T:
        try:
            return read(reply)
        except wire.OddAnswer as exc:
            self._exchange.raise_odd(call, str(exc), reply)

    def _listed(
        self, call: Call, read: Callable[[bytes], wire.Page[Listed]], *, limit: int
    ) -> Iterator[Listed]:
        what = call.path.strip("/")

        def fetch(params: Params) -> wire.Page[Listed]:
            try:
                return self._read(dataclasses.replace(call, params=params), read)
            except ProviderError as exc:
                # A page for a list of batches is a wrong address; files are what servers leave out.
                wrong_address = exc.code == "ORC3212" and what == "batches"
                if exc.status in {404, 405, 501} and not wrong_address:
                    raise self._no_list(what, exc) from exc
                raise

        return walk(fetch, what=what, limit=limit)

    def _no_list(self, what: str, exc: ProviderError | None = None) -> UnavailableError:
        return UnavailableError(
            f"{self._name} can't list {what}",
            code="ORC3205",
            why=exc.why if exc else "its profile says so",
            safe="nothing was changed",
            next="orchestrator help ORC3205",
            status=exc.status if exc else None,
            request_id=exc.request_id if exc else "",
        )


def _part(remote_id: str) -> str:
    """Return an id as one path segment; an id that is none would ask for something else."""
    if not remote_id or set(remote_id) == {"."}:
        raise GoneError(
            "a remote id is empty", safe="nothing was sent", why="no provider hands out such an id"
        )
    return quote(remote_id, safe="")


def _refuse_at_sight(headers: Mapping[str, str], expected: int | None, max_bytes: int) -> None:
    if expected is not None and expected > max_bytes:
        raise UnfitBody("ORC3210", f"it is {expected:,} bytes, the cap is {max_bytes:,}")
    if "text/html" in headers.get("content-type", "").lower():
        raise UnfitBody("ORC3211", "it is an HTML page")


def _length(headers: Mapping[str, str]) -> int | None:
    if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        # It then counts other bytes than ours; the HTTP library sees to those.
        return None
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
