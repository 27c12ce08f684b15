"""The registry held against a provider: what stands there under our name, and what has drifted.

Reads only, here and there. Batches and files are listed once, and held a few hundred at a time;
what the list does not show is asked for by its id before it is called gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from orchestrator.domain.auditing import Finding
from orchestrator.domain.errors import GoneError, UnavailableError
from orchestrator.domain.model import Batch, BatchState, Stray
from orchestrator.domain.pacing import Pace, seconds
from orchestrator.domain.remote import RemoteBatch, RemoteFile
from orchestrator.engine.ours import Seen, ours_at, token_of
from orchestrator.provider.port import Provider
from orchestrator.registry import accounts, batches, jobs, strays
from orchestrator.registry import invariants as rows
from orchestrator.registry.session import Registry

S = BatchState
_AT_ONCE = 200
_SHOWN = 100
_ORPHAN_AGE = 2 * 86_400.0
"""Seconds after which an input file that nobody needs should have been removed by an audit."""

_INPUT_NEEDED = frozenset({S.UPLOADED, S.CREATING, S.CREATE_UNKNOWN})
_RESULTS_NEEDED = frozenset({S.REMOTE_DONE})
_RECORDED = frozenset({S.RECONCILED, S.SUPERSEDED, S.CLOSED})
_ENDED = frozenset({S.REMOTE_DONE, S.COLLECTED, S.RECONCILED, S.CLOSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which registry and provider differ.

    `kind`: orphan, extra, forgotten, gone, status, counts, file_gone or left_over.
    """

    kind: str
    subject: str
    words: str
    next: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Comparison:
    """What a provider holds, and in what it differs from the rows; the first hundred of each."""

    provider: str
    listed: int = 0
    ours: int = 0
    strangers: int = 0
    files: int = 0
    lagging: int = 0
    different: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, difference: Difference) -> None:
        """Count a difference; keep it if it is one of the first."""
        self.different += 1
        if len(self.differences) < _SHOWN:
            self.differences.append(difference)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "provider": self.provider,
            "batches": self.listed,
            "ours": self.ours,
            "strangers": self.strangers,
            "files": self.files,
            "lagging": self.lagging,
            "different": self.different,
            "differences": [each.to_dict() for each in self.differences],
            "notes": self.notes,
        }


def known_providers(registry: Registry) -> list[str]:
    """Return the providers that were ever used, or that a job is to be sent to."""
    with registry.read() as db:
        used = {account.provider for account in accounts.everyone(db)}
        return sorted(used | jobs.providers_at_work(db))


def compare(
    registry: Registry,
    provider: Provider,
    instance: str | None,
    *,
    now: datetime,
    pace: Pace | None = None,
) -> Comparison:
    """Hold everything of ours at a provider against the rows; nothing is changed anywhere.

    Raises ProviderError when the provider does not answer, or has no list of its batches.
    """
    found = Comparison(provider.name)
    if not provider.profile.quirks.list_batches:
        found.notes.append("this provider lists no batches: only those that rows follow are seen")
    late = now - seconds(2 * (pace or Pace()).poll_max)
    compared = _Compared(registry, provider, found, late)
    for seen in ours_at(registry, provider, instance, _counted(provider, found)):
        found.ours += 1
        compared.hold(seen)
    found.strangers = found.listed - found.ours
    compared.unseen()
    _files(registry, provider, instance, found, now)
    return found


def _counted(provider: Provider, found: Comparison) -> Iterator[RemoteBatch]:
    if provider.profile.quirks.list_batches:
        for remote in provider.list_batches():
            found.listed += 1
            yield remote


class _Compared:
    """One comparison under way: which live rows were seen so far."""

    def __init__(
        self, registry: Registry, provider: Provider, found: Comparison, late: datetime
    ) -> None:
        self._registry = registry
        self._provider = provider
        self._found = found
        self._late = late
        self._names: dict[int, str] = {}
        with registry.read() as db:
            live = batches.live(db, provider.name)
        self._unseen = {batch.remote_id: batch for batch in live}

    def hold(self, seen: Seen) -> None:
        """Hold one remote batch against its row."""
        self._unseen.pop(seen.remote.id, None)
        match seen.finding:
            case Finding.STRAY | Finding.EXTRA if seen.stray is not None:
                self._stray(seen.remote, seen.stray)
            case Finding.STRAY:
                words = f"{seen.remote.word}, says it is {_says(seen.remote)}: no row knows it"
                self._add("orphan", seen.remote.id, words, f"orchestrator recover {self._name}")
            case Finding.EXTRA if seen.row is not None:
                words = f"{seen.remote.word}, a second one of {self._label(seen.row)}"
                self._add("extra", seen.remote.id, words, f"orchestrator recover {self._name}")
            case Finding.FORGOTTEN if seen.row is not None:
                words = f"{seen.remote.word}, made of {self._label(seen.row)}, whose row does not"
                words += f" know it: it is {seen.row.state}"
                self._add("forgotten", seen.remote.id, words, f"orchestrator recover {self._name}")
            case Finding.KNOWN if seen.row is not None:
                self._drift(seen.remote, seen.row)

    @property
    def _name(self) -> str:
        return self._provider.name

    def _stray(self, remote: RemoteBatch, stray: Stray) -> None:
        if stray.verdict in strays.OPEN:
            words = f"{remote.word}, {stray.verdict}: {stray.reason}"
            self._add("orphan", remote.id, words, f"orchestrator adopt {remote.id}")

    def _drift(self, remote: RemoteBatch, row: Batch) -> None:
        total = remote.counts.total if remote.counts else 0
        ran = remote.status.value != "failed"
        if ran and total and total != row.requests and row.state not in _RECORDED:
            words = f"the provider counts {total:,} requests, the row {row.requests:,}"
            self._add("counts", self._label(row), words, f"orchestrator explain {self._label(row)}")
        if row.state is S.LIVE:
            self._lag(remote, row)
        elif row.state in _ENDED and remote.status.value != row.remote_status:
            words = f'the provider says "{remote.word}", the row ended with "{row.remote_word}"'
            self._add("status", self._label(row), words, f"orchestrator explain {self._label(row)}")
        elif row.state in _ENDED and remote.counts is not None:
            self._counts(remote, row)

    def _counts(self, remote: RemoteBatch, row: Batch) -> None:
        """Add an ended batch that counts more than when it was looked at last."""
        counts = remote.counts
        if counts is None or counts.completed <= (row.remote_completed or 0):
            return
        words = f"{counts.completed:,} completed, the row knows of {row.remote_completed or 0:,}"
        self._add("counts", self._label(row), words, f"orchestrator explain {self._label(row)}")

    def _lag(self, remote: RemoteBatch, row: Batch) -> None:
        """Add a live batch whose status is another one, unless the next look is yet to come."""
        if remote.word == row.remote_word:
            return
        if (row.looked_at or row.state_at) >= self._late:
            self._found.lagging += 1
            return
        words = f'the provider says "{remote.word}", the row "{row.remote_word}" for long'
        self._add("status", self._label(row), words, "orchestrator tick")

    def unseen(self) -> None:
        """Ask for the live batches that no list has shown."""
        for remote_id, row in self._unseen.items():
            label = self._label(row)
            if row.fingerprint and row.fingerprint != self._provider.fingerprint:
                self._found.notes.append(f"{label} was sent under another key: it can't be seen")
                continue
            try:
                self._drift(self._provider.batch(remote_id or ""), row)
            except GoneError:
                words = f"the row is live, but the provider does not know {remote_id}"
                self._add("gone", label, words, f"orchestrator explain {label}")

    def _label(self, row: Batch) -> str:
        if row.job_id not in self._names:
            with self._registry.read() as db:
                self._names = jobs.names(db, [row.job_id])
        return f"{self._names[row.job_id]}/{row.label}"

    def _add(self, kind: str, subject: str, words: str, then: str) -> None:
        self._found.add(Difference(kind=kind, subject=subject, words=words, next=then))


def _says(remote: RemoteBatch) -> str:
    """Return what a remote batch says it is, in the words of who sent it."""
    label = remote.metadata.get("orc_batch", "").partition(",")[0]
    return f"{remote.metadata.get('orc_job') or '?'}/{label or '?'}"


def _files(
    registry: Registry,
    provider: Provider,
    instance: str | None,
    found: Comparison,
    now: datetime,
) -> None:
    """Look for the files that rows name, and for files of ours that no row needs."""
    missing = _needed(registry, provider)
    if provider.profile.quirks.list_files:
        try:
            for chunk in _chunks(provider.list_files()):
                found.files += len(chunk)
                for file in chunk:
                    missing.pop(file.id, None)
                _left_over(registry, instance, chunk, found, now)
        except UnavailableError as error:
            found.notes.append(f"its files could not be listed: {error.message}")
    for file_id, label in missing.items():
        try:
            provider.file(file_id)
        except GoneError:
            words = f"its file {file_id} is gone at the provider"
            found.add(
                Difference(
                    kind="file_gone",
                    subject=label,
                    words=words,
                    next=f"orchestrator explain {label}",
                )
            )


def _chunks(files: Iterator[RemoteFile]) -> Iterator[list[RemoteFile]]:
    while chunk := list(islice(files, _AT_ONCE)):
        yield chunk


def _needed(registry: Registry, provider: Provider) -> dict[str, str]:
    """Return the remote files that the next steps of batches read, with the batches' names."""
    found: dict[str, str] = {}
    with registry.read() as db:
        for row in rows.in_states(db, provider.name, _INPUT_NEEDED | _RESULTS_NEEDED):
            if row.fingerprint and row.fingerprint != provider.fingerprint:
                continue
            ids: list[str | None] = []
            if row.state in _RESULTS_NEEDED:
                ids = [row.output_file_id, row.error_file_id]
            elif row.revoked_at is None:
                ids = [row.input_file_id]
            name = jobs.names(db, [row.job_id])[row.job_id]
            found |= {file_id: f"{name}/{row.label}" for file_id in ids if file_id}
    return found


def _left_over(
    registry: Registry,
    instance: str | None,
    files: Sequence[RemoteFile],
    found: Comparison,
    now: datetime,
) -> None:
    """Find old input files of ours that no batch has: audits remove them after a day."""
    before = (now - timedelta(seconds=_ORPHAN_AGE)).timestamp()
    tokens: dict[str, str] = {}
    for file in files:
        token = token_of(file, instance)
        if token is not None and file.created_at is not None and file.created_at < before:
            tokens[file.id] = token
    if not tokens:
        return
    with registry.read() as db:
        known = {b.token for b in batches.known(db, "", remote_ids=[], tokens=[*tokens.values()])}
    for file_id, token in tokens.items():
        if token not in known:
            words = "an input file of ours that no batch has: an upload that arrived too late"
            found.add(Difference(kind="left_over", subject=file_id, words=words))
