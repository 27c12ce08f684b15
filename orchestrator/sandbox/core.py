"""The provider in a box: Kimi's files and batches without a socket, a clock or a disk of its own.

Whatever moves is a function of the seed, the clock that is handed in, and the events so far. Calls
that change something go through one gate, `_commit`, which lets the event happen (or refuses) and
then hands it to the journal.
"""

from __future__ import annotations

import contextlib
import heapq
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from orchestrator.sandbox.account import Account, Batch, File
from orchestrator.sandbox.blobs import Blobs, BlobWriter, MemoryBlobs
from orchestrator.sandbox.books import BookedFile, Books
from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.events import (
    Asked,
    CancelAsked,
    Created,
    Deleted,
    Event,
    Tempered,
    Uploaded,
)
from orchestrator.sandbox.faults import OPS, Fault, Injection, Misfortunes, Op, Struck
from orchestrator.sandbox.refusals import Refusal, invalid, unknown
from orchestrator.sandbox.rules import check_upload, read_create
from orchestrator.sandbox.runs import Runs
from orchestrator.sandbox.temper import GOOD, Temper
from orchestrator.sandbox.views import Json, batch_object, file_object


@dataclass(frozen=True, slots=True)
class Content:
    """Where a file's bytes lie in the blob store. `size` is in bytes."""

    key: str
    size: int


class Sandbox:
    """One account at a simulated provider. Safe for threads: each call holds the one lock.

    `clock` returns Unix seconds; `key`, if set, is the only API key taken, otherwise every key
    that begins with `sk-` is. A `delay` in seconds lets a call's effect happen later, unless it
    may then no longer happen; the call's own answer is void. Every call may raise Refusal.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        seed: int | str = 0,
        temper: Temper = GOOD,
        blobs: Blobs | None = None,
        key: str | None = None,
        record: Callable[[Event], None] | None = None,
    ) -> None:
        self.blobs: Blobs = MemoryBlobs() if blobs is None else blobs
        self.draws = Draws(seed)
        self.record = record
        self.anonymous = False
        """Whether calls without any key are served too: for one's own loopback, unlike Kimi."""
        self._clock = clock
        self._key = key
        self._account = Account(self.draws, temper)
        self._runs = Runs(self._account, self.blobs, self.draws)
        self._misfortunes = Misfortunes(self.draws)
        self._to_come: list[tuple[float, int, Event]] = []
        self._serial = 0
        self._queued = 0
        self._answers = 0
        self._now = 0.0
        self._lock = threading.RLock()

    @property
    def temper(self) -> Temper:
        """The temper in force. Setting it leaves the batches that exist under theirs."""
        return self._account.temper

    @temper.setter
    def temper(self, temper: Temper) -> None:
        with self._lock:
            self._commit(Tempered(at=self._settle(), temper=msgspec.to_builtins(temper)))

    def authorise(self, header: str | None) -> None:
        """Check an `Authorization` header. Raises Refusal (401)."""
        if header is None and self.anonymous and self._key is None:
            return
        scheme, _, key = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "invalid_authentication_error", "Invalid Authentication")
        if key != self._key if self._key else not key.startswith("sk-"):
            raise Refusal(401, "incorrect_api_key_error", "Incorrect API key provided")

    def request_id(self) -> str:
        """Return the id of the next answer."""
        with self._lock:
            self._answers += 1
            return self.draws.name("req_", 28, "answer", str(self._answers))

    def strike(self, op: Op) -> Struck | None:
        """Return the fault that the next call of `op` suffers, None if it goes well."""
        with self._lock:
            return self._misfortunes.strike(op, self.temper.calls)

    def inject(
        self,
        op: Op,
        fault: Fault | str,
        *,
        times: int = 1,
        skip: int = 0,
        seconds: float | None = None,
    ) -> None:
        """Order `fault` for the next `times` calls of `op`, after `skip` that go well.

        `seconds` is the delay of a late effect, or the `Retry-After` of a throttled call.
        """
        if op not in OPS or times < 1:
            raise ValueError(
                f"can't inject into {op} {times} times; the calls are {', '.join(OPS)}"
            )
        with self._lock:
            self._misfortunes.ordered.append(Injection(op, Fault(fault), times, skip, seconds))

    def injections(self) -> tuple[Injection, ...]:
        """Return the ordered faults that have not struck yet."""
        return tuple(self._misfortunes.ordered)

    def upload(self, name: str, purpose: str, blob: BlobWriter, *, delay: float = 0) -> Json:
        """Keep the bytes in `blob` as a new file; return the file object."""
        with self._lock:
            now = self._settle()
            self._check_room(name, blob.size, purpose, now)
            file_id = self._next_id("file_")
            blob.commit(file_id)
            self._commit(
                Uploaded(at=now + delay, id=file_id, name=name, size=blob.size, purpose=purpose)
            )
            file = self._account.files.get(file_id)
            return {} if file is None else file_object(file)

    def list_files(self, page_size: int | None = None, page_token: str | None = None) -> Json:
        """Return all files, newest first, or a page of `page_size` after the id `page_token`."""
        if self.temper.quirks.no_file_list:
            raise unknown("path", "/v1/files")
        if page_size is not None and not 1 <= page_size <= 1000:
            raise invalid(f"page_size must be between 1 and 1000, got {page_size}")
        with self._lock:
            now = self._settle()
            lag = self.temper.quirks.file_list_lag
            files = [file for file in self._all_files(now) if file.created + lag <= now]
        files = files[_after(page_token, [file.id for file in files]) :]
        page = files if page_size is None else files[:page_size]
        return {
            "object": "list",
            "data": [file_object(file) for file in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": len(page) < len(files),
        }

    def file(self, file_id: str) -> Json:
        """Return one file object."""
        with self._lock:
            return file_object(self._file(file_id, self._settle()))

    def content(self, file_id: str) -> Content:
        """Return where the file's bytes lie; output and error files are written at first sight."""
        with self._lock:
            file = self._file(file_id, self._settle())
        if file.purpose in {"image", "video"}:
            raise Refusal(
                400, "failed_precondition_error", f"file {file_id} has no readable content"
            )
        return Content(file.id, file.size)

    def delete(self, file_id: str, *, delay: float = 0) -> Json:
        """Delete a file. A batch that was made from it keeps its own copy."""
        with self._lock:
            now = self._settle()
            self._file(file_id, now)
            self._commit(Deleted(at=now + delay, id=file_id))
            return {"id": file_id, "object": "file", "deleted": True}

    def create(self, body: bytes, *, delay: float = 0) -> Json:
        """Create a batch from the JSON `body`; return the batch object."""
        with self._lock:
            now = self._settle()
            request = read_create(body, self.temper.limits)
            self._check_live(now)
            batch_id = self._next_id("batch_")
            self._commit(
                Created(
                    at=now + delay,
                    id=batch_id,
                    input_file_id=request.input_file_id,
                    endpoint=request.endpoint,
                    window=request.completion_window,
                    metadata=request.metadata,
                )
            )
            return self._shown(self._account.batch(batch_id)) if not delay else {}

    def list_batches(self, after: str | None = None, limit: int = 20) -> Json:
        """Return a page of batches, newest first, after the batch `after`."""
        quirks = self.temper.quirks
        if limit < 1:
            raise invalid(f"limit must be at least 1, got {limit}")
        limit = min(limit, quirks.max_limit or limit)
        with self._lock:
            now = self._settle()
            batches = [
                batch
                for batch in reversed(self._account.batches.values())
                if batch.created + quirks.list_lag <= now
            ]
            start = 0 if quirks.endless_list else _after(after, [batch.id for batch in batches])
            page = batches[start : start + limit]
            return {
                "object": "list",
                "data": [self._shown(batch, listed=True) for batch in page],
                "has_more": bool(quirks.endless_list or start + limit < len(batches)),
            }

    def retrieve(self, batch_id: str) -> Json:
        """Return one batch object."""
        with self._lock:
            self._settle()
            batch = self._account.batch(batch_id)
            self._ask(batch)
            return self._shown(batch)

    def cancel(self, batch_id: str, *, delay: float = 0) -> Json:
        """Ask for a batch's cancellation; refused in a final state, harmless while cancelling."""
        with self._lock:
            now = self._settle()
            batch = self._account.batch(batch_id)
            self._ask(batch)
            status = self._runs.standing(batch, self._time_of(batch)).stage
            if status.final:
                raise invalid(f"batch {batch_id} is {status.status} and can't be cancelled")
            if batch.cancelled is None:
                self._commit(CancelAsked(at=now + delay, id=batch_id))
            return self._shown(batch)

    def models(self) -> Json:
        """Return the models of the account."""
        limits = self.temper.limits
        facts = {"object": "model", "owned_by": "moonshot", "context_length": 262_144}
        names = (*limits.models, *limits.other_models)
        return {"object": "list", "data": [{"id": name, **facts} for name in names]}

    def balance(self) -> Json:
        """Return the account's balance."""
        amount = self.temper.limits.balance
        data = {"available_balance": amount, "voucher_balance": 0, "cash_balance": amount}
        return {"code": 0, "data": data, "scode": "0x0", "status": True}

    def books(self) -> Books:
        """Return what the provider knows and would bill now. Reads every executed line."""
        executed: Counter[str] = Counter()
        billed: Counter[str] = Counter()
        with self._lock:
            self._settle()
            batches = tuple(
                self._runs.booked(batch, self._time_of(batch), executed, billed)
                for batch in self._account.batches.values()
            )
            files = tuple(
                BookedFile(file.id, file.name, file.size, file.purpose, file.deleted is not None)
                for file in self._account.files.values()
            )
        return Books(files, batches, executed, billed)

    def replay(self, events: Iterable[Event]) -> None:
        """Take in what an earlier process recorded; events still to come will come."""
        with self._lock:
            for event in events:
                self._serial += isinstance(event, Uploaded | Created)
                self._queue(event)
            self._settle()

    def _settle(self) -> float:
        now = self._clock()
        while self._to_come and self._to_come[0][0] <= now:
            # What was refused in the meantime, such as a late create over a deleted file, is gone.
            with contextlib.suppress(Refusal):
                self._happen(heapq.heappop(self._to_come)[2])
        self._now = now
        return now

    def _commit(self, event: Event) -> None:
        if event.at > self._now:
            self._queue(event)
        else:
            self._happen(event)
        self._serial += isinstance(event, Uploaded | Created)
        if self.record is not None:
            self.record(event)

    def _queue(self, event: Event) -> None:
        self._queued += 1
        heapq.heappush(self._to_come, (event.at, self._queued, event))

    def _happen(self, event: Event) -> None:
        self._account.apply(event)
        kept = self.temper.quirks.create_over_deleted
        if isinstance(event, Deleted) and not kept and not self._account.is_used(event.id):
            self.blobs.delete(event.id)

    def _next_id(self, prefix: str) -> str:
        chars = self.temper.quirks.id_length
        return self.draws.name(prefix, chars, "id", str(self._serial + 1))

    def _check_room(self, name: str, size: int, purpose: str, now: float) -> None:
        limits = self.temper.limits
        check_upload(name, size, purpose, limits)
        results = self._results(now) if limits.outputs_count else []
        self._account.check_quotas(size, purpose, results)

    def _check_live(self, now: float) -> None:
        most = self.temper.limits.live_batches
        if most is None:
            return
        stages = (self._runs.standing(batch, now) for batch in self._account.batches.values())
        if sum(not standing.stage.final for standing in stages) >= most:
            raise Refusal(
                429, "rate_limit_reached_error", f"at most {most} batches may be live at once"
            )

    def _results(self, now: float) -> list[File]:
        return [
            file
            for batch in self._account.batches.values()
            for file in self._runs.result_files(batch, self._time_of(batch, now))
        ]

    def _all_files(self, now: float) -> list[File]:
        files = self._account.living_files()[::-1] + self._results(now)[::-1]
        return sorted(files, key=lambda file: -file.created)

    def _file(self, file_id: str, now: float) -> File:
        batch = self._account.results.get(file_id)
        if batch is None:
            return self._account.file(file_id)
        for file in self._runs.result_files(batch, self._time_of(batch, now)):
            if file.id == file_id:
                return file
        raise unknown("file", file_id)

    def _ask(self, batch: Batch) -> None:
        if batch.temper.quirks.advance_when_asked:
            self._commit(Asked(at=self._now, id=batch.id))

    def _time_of(self, batch: Batch, now: float | None = None) -> float:
        if batch.temper.quirks.advance_when_asked:
            return batch.created if batch.asked is None else batch.asked
        return self._now if now is None else now

    def _shown(self, batch: Batch, *, listed: bool = False) -> Json:
        standing = self._runs.standing(batch, self._time_of(batch))
        return batch_object(batch, standing, self.temper.quirks, listed=listed)


def _after(item_id: str | None, ids: list[str]) -> int:
    if not item_id:
        return 0
    try:
        return ids.index(item_id) + 1
    except ValueError:
        raise invalid(f"no item {item_id} to list after") from None
