"""The way to the provider and the provider itself: late, lost, repeated, refused, lagging."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator

import httpx

from orchestrator.sandbox.books import Books
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.faults import Fault, Op, Struck
from orchestrator.sandbox.results import Fate
from orchestrator.sandbox.temper import Batches, Lines, Quirks, Temper
from orchestrator.sandbox.transport import SandboxTransport
from orchestrator.sandbox.views import Json
from simulation.faults import HOUR, Faults
from simulation.scheduler import Scheduler

READ_TIMEOUT = 60.0
_EFFECTS = frozenset({"upload", "create", "delete", "cancel"})
_SERVER_ERRORS = (Fault.SERVER_ERROR, Fault.SERVER_ERROR_AFTER, Fault.UNAVAILABLE)
_ODD = (Fault.EMPTY, Fault.TRUNCATED, Fault.GATEWAY_TIMEOUT, Fault.GATEWAY_TIMEOUT_AFTER)
_NO_RETRY_AFTER = Fault.OVERLOADED


class Provider(Sandbox):
    """The sandbox, struck by the faults of the seed. `allow_delete` is asked before a deletion."""

    def __init__(self, clock: Callable[[], float], seed: int, faults: Faults) -> None:
        super().__init__(clock, seed=seed, temper=temper_of(faults, seed))
        self.faults = faults
        self.key_refused = False
        self.down = False
        self.repeated: set[str] = set()
        """Tokens of the batches whose creation a proxy sent twice."""
        self.allow_delete: Callable[[str], None] = lambda _file_id: None

    def strike(self, op: Op) -> Struck | None:
        """Return the fault that the next call of `op` suffers, drawn from the seed."""
        faults, draw = self.faults, self.faults.rng
        if self.key_refused:
            return Struck(Fault.UNAUTHORIZED, 0)
        if faults.strikes("request lost"):
            return Struck(draw.choice((Fault.DROPPED, Fault.LATE)), 1e12)
        if faults.strikes("answer lost"):
            return Struck(Fault.ANSWER_LOST, 0)
        if op in _EFFECTS and faults.strikes("applied late"):
            return Struck(Fault.LATE, draw.uniform(5, 600))
        if faults.strikes("throttled"):
            fault = draw.choice((Fault.THROTTLED, _NO_RETRY_AFTER))
            return Struck(fault, draw.choice((1, 30, 900)))
        if faults.strikes("server error"):
            return Struck(draw.choice(_SERVER_ERRORS), 0)
        if faults.strikes("odd answer"):
            return Struck(draw.choice(_ODD), 0)
        return None

    def delete(self, file_id: str, *, delay: float = 0) -> Json:
        """Delete a file, if it may be deleted now."""
        self.allow_delete(file_id)
        return super().delete(file_id, delay=delay)

    def extras(self, used: set[str]) -> list[str]:
        """Return the remote batches that a repeated POST has made and nobody uses."""
        return [
            batch.id
            for batch in self._account.batches.values()
            if batch.id not in used and (batch.metadata or {}).get("orc_token") in self.repeated
        ]

    def books_without(self, extras: list[str]) -> Books:
        """Return the books as they were if these remote batches did not exist."""
        books = self.books()
        executed, billed = Counter(books.executed), Counter(books.billed)
        for extra in extras:
            batch = self._account.batches[extra]
            for custom_id, is_billed in self._runs._finished_lines(batch, self._time_of(batch)):
                executed[custom_id] -= 1
                billed[custom_id] -= is_billed
        for custom_id in self._mangled():
            billed[custom_id] -= 1
        batches = tuple(batch for batch in books.batches if batch.id not in extras)
        return Books(books.files, batches, executed, billed)

    def _mangled(self) -> Iterator[str]:
        """Yield whose answers were billed and cut, in batches that did not complete.

        Such a line can't be told from one that never ran: it is recorded as that.
        """
        for batch in self._account.batches.values():
            now, plan = self._time_of(batch), self._runs._plans.get(batch.id)
            status = self._runs.standing(batch, now).stage.status
            if plan is not None and status in {"expired", "cancelled"}:
                lines = self._runs._finished_lines(batch, now)
                fates = [fate for fate in plan.fates if fate != Fate.MISSING]
                for (custom_id, _), fate in zip(lines, fates, strict=False):
                    if fate == Fate.MANGLED:
                        yield custom_id

    def heal(self) -> None:
        """Have no fault from now on; batches that exist keep the course they were given."""
        self.key_refused = self.down = False
        quirks = self.temper.quirks
        self.temper = Temper(batches=_COURSE, quirks=quirks)


_COURSE = Batches(
    validating=(5, 600), running=(600, 4 * HOUR), finalizing=(2, 300), cancelling=(2, 600)
)


def temper_of(faults: Faults, seed: int) -> Temper:
    """Return how the provider treats lines and batches, and which habits it has."""
    draw = random.Random(f"{seed}/temper")
    spoilt = faults.share("lines spoilt")
    lag = faults.share("list lag")
    names = ("overloaded", "server_error", "content_filter", "missing", "duplicated", "garbage")
    return Temper(
        lines=Lines(
            **{name: draw.uniform(0, 2 * spoilt) for name in (*names, "mangled")},
            wrapped=2 * spoilt,
            invalid_json=2 * spoilt,
        ),
        batches=Batches(
            validating=_COURSE.validating,
            running=_COURSE.running,
            finalizing=_COURSE.finalizing,
            cancelling=_COURSE.cancelling,
            expired=faults.share("batch expired"),
            rejected=faults.share("batch rejected"),
            cancel_ignored=faults.share("cancel ignored"),
        ),
        quirks=Quirks(
            list_lag=lag,
            file_list_lag=lag,
            null_counts=draw.random() < 0.3,
            empty_ids=draw.random() < 0.3,
            empty_error_file=draw.random() < 0.3,
            error_line=draw.choice(("openai", "mixed", "in_output", "null_response")),
            unfinished_lines=draw.choice(("listed", "silent")),
            validation_errors=draw.choice(("error_file", "errors", "nowhere")),
            deleted_input=draw.choice(("runs_on", "fails")),
            missing_input_status=draw.choice((400, 404)),
        ),
    )


class Wire(SandboxTransport):
    """The way between a worker and the provider."""

    def __init__(self, provider: Provider, scheduler: Scheduler) -> None:
        super().__init__(provider)
        self._provider = provider
        self._scheduler = scheduler

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Carry one request there and its answer back."""
        faults, draw = self._provider.faults, self._provider.faults.rng
        if self._provider.down:
            self._wait(draw.uniform(0, 10))
            raise httpx.ConnectError("the provider is down", request=request)
        assert isinstance(request.stream, httpx.SyncByteStream)
        body = b"".join(request.stream)
        if faults.strikes("reordered"):
            self._wait(draw.uniform(0, READ_TIMEOUT - 5))
        if request.method == "POST" and faults.strikes("post repeated"):
            again = self._copy(request, body)
            if request.url.path.endswith("/batches"):
                self._provider.repeated.add(json.loads(body)["metadata"]["orc_token"])
            self._scheduler.after(draw.uniform(0, 300), "post repeated", lambda: self._again(again))
        try:
            return super().handle_request(self._copy(request, body))
        except httpx.ReadTimeout:
            self._wait(READ_TIMEOUT)
            raise

    def _again(self, request: httpx.Request) -> None:
        """Carry a request a second time, as a proxy may; its answer goes nowhere."""
        try:
            super().handle_request(request)
        except httpx.TransportError:
            return

    def _wait(self, seconds: float) -> None:
        process = self._scheduler.current()
        if process is not None:
            process.wait(seconds)

    @staticmethod
    def _copy(request: httpx.Request, body: bytes) -> httpx.Request:
        stream = httpx.ByteStream(body)
        return httpx.Request(request.method, request.url, headers=request.headers, stream=stream)
