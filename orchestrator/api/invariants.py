"""The invariants of the registry, checked over all of its rows, or those of one job. Read-only.

Each query sees one moment, so that a registry at work is checked as well as one at rest. I14, that
any pass may run twice, can't be seen in rows: the project's tests prove it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.api.verifying import verify
from orchestrator.domain.histories import Breach, Entry, Rule, breaches_of_batch, breaches_of_job
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.pacing import Pace, furthest
from orchestrator.engine.context import read_spec
from orchestrator.registry import batches, events, jobs, strays
from orchestrator.registry import invariants as rows
from orchestrator.registry.session import Registry
from orchestrator.spool import Spool

_JOBS_AT_ONCE = 100
_DONE = frozenset({BatchState.COLLECTED, BatchState.RECONCILED})
_NOT_BUILT = frozenset({BatchState.PLANNED, BatchState.CLOSED})
_data = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold: how many rows break it, the first few, and what is to be said.

    `invariant`: I1 to I14, as `docs/operations.md` lists them. `looked`: there was something to
    look at here.
    """

    invariant: str
    what: str
    broken: int = 0
    examples: tuple[str, ...] = ()
    note: str = ""
    looked: bool = True

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return not self.broken

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "invariant": self.invariant,
            "what": self.what,
            "broken": self.broken,
            "examples": list(self.examples),
            "note": self.note,
            "checked": self.looked,
            "ok": self.ok,
        }


@dataclass(slots=True)
class _Tally:
    """Counts what breaks one rule, and keeps the first few."""

    broken: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        self.broken += 1
        if len(self.examples) < rows.SHOWN:
            self.examples.append(example)

    def check(self, invariant: str, what: str, note: str = "") -> Check:
        """Return what was counted as a check."""
        return Check(
            invariant=invariant,
            what=what,
            broken=self.broken,
            examples=tuple(self.examples),
            note=note,
        )


def check(
    registry: Registry,
    job: Job | None = None,
    *,
    now: datetime,
    pace: Pace | None = None,
    spool: Spool | None = None,
    secrets: Sequence[str] = (),
) -> list[Check]:
    """Check every invariant over the registry, or over one job; nothing is changed.

    `spool`: this machine's files of this registry. `secrets`: the keys that no row may hold; they
    are looked for in the whole registry only.
    """
    found = [] if job is not None else [_books(registry)]
    found += _laws(registry, job, now, pace or Pace())
    found += _bounds(registry, job)
    found += _histories(registry, job)
    found.append(_files(registry, job, spool))
    if job is None:
        found.append(_secrets(registry, secrets))
    proved = "can't be seen in rows: the project's tests prove it"
    twice = "any pass may run twice, or two at once, and ends the same"
    found.append(Check(invariant="I14", what=twice, note=proved, looked=False))
    return sorted(found, key=lambda each: int(each.invariant[1:]))


def _every(registry: Registry, job: Job | None) -> Iterator[Job]:
    if job is not None:
        yield job
        return
    after = 0
    while True:
        with registry.read() as db:
            page = jobs.page(db, after=after, limit=_JOBS_AT_ONCE)
        yield from page
        if len(page) < _JOBS_AT_ONCE:
            return
        after = page[-1].id


def _books(registry: Registry) -> Check:
    tally, count, equations = _Tally(), 0, 0
    for job in _every(registry, None):
        found = verify(registry, job)
        count, equations = count + 1, len(found)
        for equation in found:
            if not equation.ok:
                sides = f"{equation.left:,} is not {equation.right:,}"
                tally.add(f"{job.name}: {equation.what}: {sides}")
    owners = "1 job" if count == 1 else f"{count:,} jobs"
    return tally.check("I1", "the books of every job", f"{owners}, {equations} equations each")


def _laws(registry: Registry, job: Job | None, now: datetime, pace: Pace) -> Iterator[Check]:
    with registry.read() as db:
        held = rows.released(db, now)
    for law in (*rows.LAWS, *rows.timely(furthest(pace, now)), held):
        yield _checked(registry, law, job.id if job else None)


def _checked(registry: Registry, law: rows.Law, job_id: int | None) -> Check:
    with registry.read() as db:
        count, found = rows.broken(db, law, job_id)
    return Check(
        invariant=law.invariant,
        what=law.words,
        broken=count,
        examples=tuple(str(subject) for subject in found[: rows.SHOWN]),
    )


def _bounds(registry: Registry, job: Job | None) -> Iterator[Check]:
    """Check each job's requests against its own policy."""
    tallies: dict[str, _Tally] = {}
    for each in _every(registry, job):
        policy = read_spec(each.spec).policy
        with registry.read() as db:
            most = policy.rounds + rows.allowance(db, each.id)
        for law in rows.bounded(max(1, policy.attempts), most):
            tally = tallies.setdefault(law.words, _Tally())
            checked = _checked(registry, law, each.id)
            tally.broken += checked.broken
            tally.examples += checked.examples[: rows.SHOWN - len(tally.examples)]
    return (tally.check("I12", words) for words, tally in tallies.items())


_EXTRAS = "I3", "each extra remote batch that was met is listed"
_LINES = "I6", "each line of a result file is the answer of one record at most"


def _histories(registry: Registry, job: Job | None) -> Iterator[Check]:
    """Check the events of every batch and job, and what hangs on a single batch."""
    tallies = {(rule.invariant, rule.words): _Tally() for rule in Rule}
    tallies |= {_EXTRAS: _Tally(), _LINES: _Tally()}
    names: Mapping[int, str] = {}
    with registry.moment() as db:
        for batch, told in rows.batches_with_events(db, job.id if job else None):
            if batch.job_id not in names:
                names = jobs.names(db, [batch.job_id])
            name = f"{names[batch.job_id]}/{batch.label}"
            _note(tallies, name, breaches_of_batch(batch, map(_entry, told)))
            for event in told:
                if event.kind == "extra_remote_batch":
                    remote_id = str(_data(event.data).get("remote_id"))
                    if strays.find(db, remote_id) is None:
                        tallies[_EXTRAS].add(f"{name}: {remote_id}")
            for line in rows.doubled(db, batch.id) if batch.succeeded else ():
                words = f"{line.source} line {line.line:,} answers {line.records:,}"
                tallies[_LINES].add(f"{name}: {words}")
    for each in _every(registry, job):
        with registry.moment() as db:
            now = jobs.get(db, each.id)
            story = map(_entry, rows.events_of_job(db, now))
            _note(tallies, now.name, breaches_of_job(now, story))
    return (tally.check(*what) for what, tally in tallies.items())


def _entry(event: events.Entry) -> Entry:
    return Entry(event.id, event.kind, _data(event.data))


def _note(tallies: dict[tuple[str, str], _Tally], name: str, breaches: Iterator[Breach]) -> None:
    for breach in breaches:
        tallies[breach.rule.invariant, breach.rule.words].add(f"{name}: {breach.words}")


def _files(registry: Registry, job: Job | None, spool: Spool | None) -> Check:
    """Check the files of this machine that rows name; one that is missing is made again."""
    what = "each file of a batch that is on this machine is the one that its row names"
    if spool is None:
        note = "this machine has no files of the registry"
        return Check(invariant="I9", what=what, note=note, looked=False)
    with registry.read() as db:
        named = rows.naming_files(db, job.id if job else None)
    here = spool.batch_files()
    tally, missing, checked = _Tally(), 0, 0
    for batch_id in sorted({*named, *here}):
        with registry.read() as db:
            found = batches.page(db, after=batch_id - 1, limit=1)
        if not found or found[0].id != batch_id or (job and found[0].job_id != job.id):
            continue
        for path, sha256, size in _named_by(found[0], spool):
            checked += path.exists()
            if not path.exists():
                missing += batch_id in named
            elif not spool.holds(path, sha256, size) and _still(registry, found[0], path):
                tally.add(path.name)
    note = f"{checked:,} checked"
    if missing:
        note += f"; {missing:,} not on this machine: made again, or fetched again, when needed"
    return tally.check("I9", what, note)


def _named_by(batch: Batch, spool: Spool) -> Iterator[tuple[Path, str, int | None]]:
    if batch.sha256 and batch.state not in _NOT_BUILT:
        yield spool.input_path(batch.id), batch.sha256, batch.bytes
    if batch.state in _DONE and batch.output_sha256:
        yield spool.result_path(batch.id, "output"), batch.output_sha256, batch.output_bytes
    if batch.state in _DONE and batch.error_sha256:
        yield spool.result_path(batch.id, "error"), batch.error_sha256, batch.error_bytes


def _still(registry: Registry, batch: Batch, path: Path) -> bool:
    """Whether the row has not moved on while its file was read."""
    with registry.read() as db:
        return path.exists() and batches.get(db, batch.id).state is batch.state


def _secrets(registry: Registry, secrets: Sequence[str]) -> Check:
    what = "no key of a configured provider stands in events, batches, accounts or failures"
    if not secrets:
        note = "no key is known here: nothing to look for"
        return Check(invariant="I13", what=what, note=note, looked=False)
    tally = _Tally()
    with registry.moment() as db:
        for table, text in rows.texts(db):
            if any(secret in text for secret in secrets):
                tally.add(f"a text of the table {table}")
    keys = "1 key" if len(secrets) == 1 else f"{len(secrets):,} keys"
    return tally.check("I13", what, f"{keys} looked for")
