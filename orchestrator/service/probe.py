"""The live probe: what a provider really does where the safety of a creation rests on it.

It uploads two files of one request, deletes the first and asks for a batch over it, makes one
batch over the second, deletes that file under it, and watches. It touches only what it has made
itself, known by the ids that it was given and by a random token in file names and metadata.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from orchestrator.domain import cost, rules
from orchestrator.domain.errors import (
    ConfigError,
    GoneError,
    ProviderError,
    RejectedError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Profile
from orchestrator.domain.remote import RemoteBatch, RemoteFile
from orchestrator.domain.rendering import batch_line
from orchestrator.provider.port import Provider
from orchestrator.service import probe_findings as judge
from orchestrator.service.probe_findings import Finding

T = TypeVar("T")

TAG = "orchestrator_probe"
"""The metadata key of the probe's batches; a batch of a job has none of this name."""

_PROMPT = "Answer with the word: yes"
_ANSWER_TOKENS = 16
_CANT_LIST = "ORC3205"
_LISTED = 10_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_TOLD_EVERY = 15.0
_END_SECONDS = 30.0
"""How long a cancelled batch is waited for, so that its result files can be deleted too."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a probe sends, and what that costs at most; None where no price is known."""

    model: str
    body: bytes
    price: Money | None


def offer(profile: Profile, model: str | None) -> Offer:
    """Return the probe's one request. Raises ConfigError when no model of batches is known."""
    usable = [name for name, facts in profile.models.items() if facts.batch]
    chosen = model or next(iter(usable), None)
    reason = rules.model_reason(chosen, profile) if chosen else "no model is known"
    if rules.CHAT not in profile.endpoints:
        reason = f"{profile.name} has no batches for {rules.CHAT}, the only ones that are probed"
    if chosen is None or reason:
        raise ConfigError(
            f"there is nothing to probe {profile.name} with: {reason}",
            code="ORC2015",
            safe="nothing was sent",
            next=f"orchestrator doctor {profile.name} --probe --model MODEL",
        )
    messages = [{"role": "user", "content": _PROMPT}]
    body = msgspec.json.encode(
        {"model": chosen, "messages": messages, "max_tokens": _ANSWER_TOKENS}
    )
    facts = profile.models.get(chosen)
    tokens = -(-cost.message_quarters(messages) // 4)
    price = cost.estimate(tokens, _ANSWER_TOKENS, facts.latest_price if facts else None)
    return Offer(chosen, body, price)


class _Stopped(Exception):
    """The user wants it to end."""


@dataclass(slots=True)
class Made:
    """What the probe has made at the provider and not removed again."""

    files: list[str] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)
    unsure: bool = False
    """A call was not answered: something of ours may be there under an id we were not told."""


class Probe:
    """One probe of one account; use it in a `with`, which cleans up whatever happens.

    `token`: random, in every name we give. `seconds` bounds the whole of it, `settle` each wait
    for a list. `pause` waits so many seconds, `stopping` tells that the user wants an end.
    """

    def __init__(
        self,
        provider: Provider,
        sent: Offer,
        *,
        token: str,
        seconds: float,
        settle: float,
        monotonic: Callable[[], float],
        pause: Callable[[float], None],
        stopping: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> None:
        self._provider = provider
        self._sent = sent
        self._token = token
        self._settle = settle
        self._monotonic = monotonic
        self._pause = pause
        self._stopping = stopping
        self._tell = tell
        self._until = monotonic() + seconds
        self.made = Made()
        self._cleaned = False

    def findings(self) -> Iterator[Finding]:
        """Yield each finding as it is made; ends early when the user or the provider wants it."""
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "probe.jsonl"
                path.write_bytes(batch_line("probe-1", rules.CHAT, self._sent.body))
                yield from self._findings(path)
        except _Stopped:
            yield Finding("probe", "probe", "warn", "stopped before its end")
        except ProviderError as error:
            why = f": {error.why}" if error.why else ""
            text = f"it ends here: {error.message}{why} [{error.code}]"
            yield Finding("probe", "probe", "fail", text, next=error.next)

    def _findings(self, path: Path) -> Iterator[Finding]:
        first = self._upload(path, "deleted")
        yield from self._file_list(first)
        over_deleted, why = self._create_over_deleted(first)
        second = self._upload(path, "kept")
        self._tell("creating a batch of one request")
        began = self._monotonic()
        refusal: RejectedError | GoneError | None = None
        try:
            batch = self._create(second, "kept")
        except (RejectedError, GoneError) as error:
            refusal = error
        quirks = self._provider.profile.quirks
        yield judge.revoking(over_deleted, why, control=refusal is None, quirks=quirks)
        if refusal is not None:
            raise refusal
        if quirks.idempotent_create:
            yield self._repeated(second, batch)
        yield from self._listing(batch, began)
        yield self._deletion(batch.id, second)

    def _upload(self, path: Path, role: str) -> RemoteFile:
        """Upload the file and wait until it is there: refusing an unknown one proves nothing."""
        self._tell("uploading a file of one request")
        with self._maybe():
            file = self._provider.upload(path, f"orchestrator-probe-{self._token}-{role}.jsonl")
        self.made.files.append(file.id)
        self._await("the file", lambda: self._is_there(file))
        return file

    def _file_list(self, file: RemoteFile) -> Iterator[Finding]:
        if not self._provider.profile.quirks.list_files:
            return
        began = self._monotonic()
        try:
            seen, _ = self._await("the list to show the file", lambda: self._file_seen(file))
        except UnavailableError as error:
            yield _unlisted("files", error)
        else:
            waited = self._monotonic() - began
            yield judge.lag("file", waited if seen else None, waited, self._settle)

    def _file_seen(self, file: RemoteFile) -> RemoteFile | None:
        listed = islice(self._provider.list_files(), _LISTED)
        return next((f for f in listed if f.id == file.id), None)

    def _is_there(self, file: RemoteFile) -> RemoteFile | None:
        try:
            return self._provider.file(file.id)
        except GoneError:
            return None

    def _create_over_deleted(self, file: RemoteFile) -> tuple[judge.Created, str]:
        self._tell("deleting the file, and asking for a batch over it")
        self._provider.delete_file(file.id)
        try:
            batch = self._create(file, "deleted")
        except (RejectedError, GoneError) as error:
            return "refused", error.why or error.message
        except UnansweredError as error:
            return "unanswered", error.message
        self._provider.cancel(batch.id)
        return "accepted", ""

    def _create(self, file: RemoteFile, role: str) -> RemoteBatch:
        profile = self._provider.profile
        with self._maybe():
            batch = self._provider.create(
                file.id,
                endpoint=rules.CHAT,
                window=profile.window.default,
                metadata=self._metadata(),
                idempotency_key=f"{self._token}-{role}",
            )
        if batch.id not in self.made.batches:
            self.made.batches.append(batch.id)
        return batch

    def _metadata(self) -> dict[str, str]:
        return {TAG: self._token}

    @contextmanager
    def _maybe(self) -> Iterator[None]:
        """Remember that a call without an answer may have made something."""
        self._check()
        try:
            yield
        except UnansweredError:
            self.made.unsure = True
            raise

    def _repeated(self, file: RemoteFile, batch: RemoteBatch) -> Finding:
        self._tell("sending the same creation again, under the same key")
        again = self._create(file, "kept")
        if again.id != batch.id:
            self._provider.cancel(again.id)
        return judge.repeated_key(same=again.id == batch.id)

    def _listing(self, batch: RemoteBatch, began: float) -> Iterator[Finding]:
        asked = self._provider.batch(batch.id)
        listed = None
        quirks = self._provider.profile.quirks
        if quirks.list_batches:
            try:
                listed, _ = self._await(
                    "the list to show the batch", lambda: self._batch_seen(batch)
                )
            except UnavailableError as error:
                yield _unlisted("batches", error)
            else:
                waited = self._monotonic() - began
                yield judge.lag("batch", waited if listed else None, waited, self._settle)
        shown = {"answer": batch, "asked": asked, "list": listed}
        yield from judge.metadata(self._metadata(), shown, quirks)

    def _batch_seen(self, batch: RemoteBatch) -> RemoteBatch | None:
        listed = islice(self._provider.list_batches(), _LISTED)
        return next((b for b in listed if b.id == batch.id), None)

    def _deletion(self, batch_id: str, file: RemoteFile) -> Finding:
        self._tell("deleting the input file under the batch")
        before = self._provider.batch(batch_id)
        self._provider.delete_file(file.id)
        seen = before

        def ended() -> RemoteBatch | None:
            nonlocal seen
            seen = self._provider.batch(batch_id)
            return seen if seen.status.terminal else None

        left = self._until - self._monotonic()
        self._await("the batch to end", ended, at_most=left)
        return judge.deletion(before, seen)

    def _await(
        self, what: str, look: Callable[[], T | None], *, at_most: float | None = None
    ) -> tuple[T | None, float]:
        """Look until there is something to see; return it and the seconds it took."""
        bound = self._settle if at_most is None else at_most
        began = told = self._monotonic()
        pause = _FIRST_PAUSE
        while True:
            found = look()
            now = self._monotonic()
            if found is not None or now - began >= bound or now >= self._until:
                return found, now - began
            if now - told >= _TOLD_EVERY:
                told = now
                self._tell(f"waiting for {what} since {now - began:,.0f} s")
            self._check()
            self._pause(min(pause, max(0.0, bound - (now - began))))
            self._check()
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _check(self) -> None:
        if self._stopping():
            raise _Stopped

    # Cleaning up

    def clean_up(self) -> Finding:
        """Cancel and delete everything the probe has made; say what could not be.

        May be called again; what is gone is fine. Waits at most half a minute for cancelled
        batches, whose result files are deleted too.
        """
        self._cleaned = True
        self._tell("removing what was made")
        if self.made.unsure:
            self._find_strays()
        ended = [batch for batch_id in self.made.batches if (batch := self._ended(batch_id))]
        results = [f for b in ended for f in (b.output_file_id, b.error_file_id) if f]
        files = [*self.made.files, *results]
        left_files = [file_id for file_id in files if not self._removed(file_id)]
        gone = {batch.id for batch in ended}
        left_batches = [batch_id for batch_id in self.made.batches if batch_id not in gone]
        removed = len(files) - len(left_files)
        self.made.files, self.made.batches = left_files, left_batches
        count = len(left_files) + len(left_batches)
        if count:
            text = f"left at the provider, cancelled where possible: {self.left()}"
            return Finding("left", "cleaned", "warn", text, count)
        text = f"files deleted: {removed}, batches ended: {len(ended)}"
        if self.made.unsure:
            text += f"; a call was not answered: what it may still make carries {self._token}"
        return Finding("left", "cleaned", "warn" if self.made.unsure else "ok", text, 0)

    def left(self) -> str:
        """Return the ids of what is still at the provider."""
        return ", ".join([*self.made.batches, *self.made.files])

    def _find_strays(self) -> None:
        """Add what carries our token or our files' ids, though we were never told of it."""
        quirks = self._provider.profile.quirks
        try:
            if quirks.list_files:
                for file in islice(self._provider.list_files(), _LISTED):
                    if self._token in file.name and file.id not in self.made.files:
                        self.made.files.append(file.id)
            if quirks.list_batches:
                for batch in islice(self._provider.list_batches(), _LISTED):
                    if self._is_ours(batch) and batch.id not in self.made.batches:
                        self.made.batches.append(batch.id)
        except ProviderError as error:
            self._tell(f"what was left could not be listed: {error.message}")

    def _is_ours(self, batch: RemoteBatch) -> bool:
        by_file = batch.input_file_id is not None and batch.input_file_id in self.made.files
        return by_file or batch.metadata.get(TAG) == self._token

    def _ended(self, batch_id: str) -> RemoteBatch | None:
        """Have a batch end; None if it has not in time."""
        until = self._monotonic() + _END_SECONDS
        try:
            batch = self._provider.batch(batch_id)
            if not batch.status.terminal:
                self._provider.cancel(batch_id)
            while not batch.status.terminal and self._monotonic() < until:
                self._pause(_FIRST_PAUSE)
                batch = self._provider.batch(batch_id)
        except ProviderError as error:
            self._tell(f"batch {batch_id}: {error.message}")
            return None
        return batch if batch.status.terminal else None

    def _removed(self, file_id: str) -> bool:
        try:
            self._provider.delete_file(file_id)
        except ProviderError as error:
            self._tell(f"file {file_id}: {error.message}")
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._cleaned:
            self.clean_up()


def _unlisted(what: str, error: UnavailableError) -> Finding:
    """Return that the account can't list, or let the error end the probe if it is another one."""
    if error.code != _CANT_LIST:
        raise error
    text = f"{what} can't be listed: {error.why}"
    return Finding(f"list_{what}", "listing", "fail", text, False, f"list_{what} = false")
