"""A job that was submitted: look at it, follow it, steer it, take its outcomes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import api, documents, human
from orchestrator.api import invariants
from orchestrator.api.delivering import Delivering, deliver, known_sink
from orchestrator.api.sink_views import SinkView, held_lines, list_sinks
from orchestrator.api.views import at_rest
from orchestrator.client import html
from orchestrator.client.answer_types import AnswerType
from orchestrator.client.arrivals import Arrivals
from orchestrator.client.following import (
    Duration,
    Open,
    follow_until,
    interrupts,
    money_of,
    span_of,
)
from orchestrator.client.looking import Look, Words
from orchestrator.client.outcomes import Outcomes, Target
from orchestrator.client.showing import display_of
from orchestrator.client.sinks import NamedSink, sinks_of
from orchestrator.client.spec import Take
from orchestrator.client.words import lines_of
from orchestrator.domain.errors import (
    IntegrityError,
    OrchestratorError,
    RecordsFailed,
    RegistryError,
    WaitTimeout,
)
from orchestrator.domain.filters import BATCH_FIELDS, RECORD_FIELDS, Filter
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.domain.units import format_duration
from orchestrator.service.signals import Signals

_AT_ONCE = 500
"""Outcomes that a function gets at a time, unless it says another size."""

if TYPE_CHECKING:
    from orchestrator.api import BatchView, Equation, Explanation, FailureGroup, JobView, Steered
    from orchestrator.domain import model


@dataclass(frozen=True)
class Verified:
    """What a recount has found. `ok`: everything adds up."""

    equations: tuple[Equation, ...]
    checks: tuple[invariants.Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every equation holds and no invariant is broken."""
        return all(each.ok for each in self.equations) and all(each.ok for each in self.checks)


class Job:
    """One submission. Everything it tells is read from the registry when it is asked for.

    `answer`: what answers are read as. `takers`: functions that get outcomes while it is followed.
    """

    def __init__(
        self,
        look: Look,
        open_app: Open,
        job: model.Job,
        answer: AnswerType | None = None,
        takers: Sequence[Take] = (),
    ) -> None:
        self._look = look
        self._open = open_app
        self._job = job
        self._answer = answer
        self._takers = [(take, Arrivals(look, job, answer)) for take in takers]

    @property
    def name(self) -> str:
        """The name, by which every face knows it."""
        return self._job.name

    @property
    def id(self) -> int:
        """The number in the registry."""
        return self._job.id

    @property
    def state(self) -> str:
        """The state as shown: `running`, `finished`, `held`."""
        return self.progress().state

    @property
    def finished(self) -> bool:
        """Whether every record has its outcome."""
        return self._look.again(self._job).state in JOB_FINAL

    def progress(self) -> JobView:
        """Return the books, what is open, what it waits for, when it may end, what it costs."""
        look = self._look
        return api.job_view(look.registry, self._job, now=look.now(), prices=look.prices)

    def to_dict(self) -> dict[str, Any]:
        """Return what `orchestrator jobs show --json` gives as data."""
        found = documents.jsonable(self.progress().to_dict())
        return found if isinstance(found, dict) else {}

    def outcomes(
        self,
        where: str = "",
        *,
        state: Words = None,
        cause: Words = None,
        key: Words = None,
        answer: Any = None,  # noqa: ANN401 - any type there is
    ) -> Outcomes:
        """Return the outcomes, all or those that match: lazy, in source order.

        `where` is the filter language of every face; `state`, `cause` and `key` are terms of it.
        `answer` is the type that answers are read as, where the job was submitted elsewhere.
        """
        chosen = self._answer if answer is None else AnswerType(answer)
        return Outcomes(self._look, self._job, self._filter(where, state, cause, key), chosen)

    def batches(
        self, where: str = "", *, state: Words = None, limit: int = 1_000
    ) -> list[BatchView]:
        """Return the batches, the oldest first."""
        return api.list_batches(
            self._look.registry,
            self._look.filter(BATCH_FIELDS, where, state=state),
            now=self._look.now(),
            job=self.name,
            sort="oldest",
            limit=limit,
        )

    def errors(self, *, limit: int = 50) -> list[FailureGroup]:
        """Return the failures grouped by cause, the most frequent first."""
        return api.failure_groups(self._look.registry, self.name, limit=limit)

    def explain(self, key: str | None = None) -> Explanation:
        """Say what happened, what comes next, and your choices; of one record, if given a key."""
        look = self._look
        subject, owner = (self.name, None) if key is None else (key, self.name)
        return api.explain(look.registry, subject, now=look.now(), job=owner, prices=look.prices)

    def watch(self, *, timeout: Duration = None, signals: Signals | None = None) -> None:
        """Follow the job to its end, or until it needs you; shown in place where that is possible.

        Does the work itself while no daemon is alive. Interrupting leaves the job alone: by Ctrl-C,
        or by `signals.stop()` of ones that are given. Raises WaitTimeout.
        """
        display = display_of()

        def look(_working: bool) -> bool:
            view = self.progress()
            display.show(view)
            return at_rest(view)

        try:
            ended = self._follow(look, timeout, signals)
        finally:
            display.end()
        if ended:
            for line in held_lines(self.sinks()):
                sys.stderr.write(f"{human.plain(line)}\n")

    def wait(
        self,
        *,
        timeout: Duration = None,
        raise_on_failed: bool = False,
        signals: Signals | None = None,
    ) -> Job:
        """Do as `watch` does and show nothing; return the job.

        Raises WaitTimeout, IntegrityError when the books do not add up, and with
        `raise_on_failed` RecordsFailed when a record has no answer in the end.
        """
        if self._follow(lambda _working: at_rest(self._seen()), timeout, signals):
            self._check(raise_on_failed=raise_on_failed)
        return self

    def deliver(self, take: Take, *, timeout: Duration = None, size: int = _AT_ONCE) -> int:
        """Hand outcomes to `take` as they are recorded, each once, until the job is at rest.

        At most `size` at a time, in the order in which they came; return how many there were. An
        error of `take` ends it and leaves the job alone. Raises WaitTimeout.
        """
        arrivals = Arrivals(self._look, self._job, self._answer)

        def look(_working: bool) -> bool:
            view = self._seen()
            arrivals.hand_over(take, size)
            return at_rest(view)

        self._follow(look, timeout)
        return arrivals.count

    def sinks(self) -> list[SinkView]:
        """Return where outcomes go by themselves, how far each is, and why it does not go on."""
        look = self._look
        return [view for _, view in list_sinks(look.registry, look.again(self._job), limit=1_000)]

    def add_sink(self, sink: NamedSink, *, again: bool = False) -> Delivering:
        """Pass outcomes on to a further sink, or to one that there is, from where it stopped.

        `again` begins with the first outcome. Whoever works on the registry does it.
        """
        app, registry = self._look.app, self._look.registry
        known = known_sink(registry, self._job, sink) if isinstance(sink, str) else None
        chosen = known or sinks_of(app.configuration, [sink])[0]
        return deliver(app.context(), self.name, chosen, again=again)

    def pause(self) -> Steered:
        """Send nothing new; what is in flight is still collected."""
        return api.pause(self._look.app.context(), names=[self.name], providers=[])

    def resume(self, *, budget: str | None = None) -> Steered:
        """Go on: end a pause or a hold, release parked batches, accept a failed canary.

        `budget`, `"60 USD"`, is put in the place of the job's own.
        """
        raised = None if budget is None else money_of(budget)
        ctx = self._look.app.context()
        return api.resume(ctx, names=[self.name], providers=[], budget=raised)

    def cancel(self, batch: str | None = None) -> Steered:
        """Ask no further, of the whole job or of one batch (`b03`); what is finished is kept."""
        ctx = self._look.app.context()
        if batch is None:
            return api.cancel_job(ctx, self.name)
        _, found = api.find_batch(self._look.registry, f"{self.name}/{batch}")
        return api.cancel_batch(ctx, self.name, found.number)

    def retry(
        self,
        where: str = "",
        *,
        state: Words = None,
        cause: Words = None,
        key: Words = None,
        provider: str | None = None,
    ) -> Steered:
        """Ask failed and expired records again, all or those that match."""
        chosen = self._filter(where, state, cause, key)
        return api.retry(self._look.app.context(), self.name, chosen, provider=provider)

    def export(
        self,
        target: Target,
        *,
        format: str | None = None,  # noqa: A002 - the word of the command line
        where: str = "",
        raw: bool = False,
    ) -> Target:
        """Write the outcomes to a file, a folder or cloud storage, whole or not at all."""
        return self.outcomes(where).to_file(target, format=format, raw=raw)

    def verify(self, *, export: str | Path | None = None) -> Verified:
        """Recount the job from its rows, and an exported file of it too; tell what adds up."""
        look = self._look
        path = None if export is None else look.cwd / Path(export).expanduser()
        job = look.again(self._job)
        equations = api.verify(look.registry, job, export=path, prices=look.prices)
        checks = invariants.check(look.registry, job, now=look.now())
        return Verified(tuple(equations), tuple(checks))

    def _filter(self, where: str, state: Words, cause: Words, key: Words) -> Filter:
        return self._look.filter(RECORD_FIELDS, where, state=state, cause=cause, key=key)

    def _seen(self) -> JobView:
        look = self._look
        return api.job_view(look.registry, self._job, now=look.now())

    def _follow(
        self, look: Callable[[bool], bool], timeout: Duration, signals: Signals | None = None
    ) -> bool:
        """Look until the end is reached; False where somebody has asked to stop before it."""
        span = span_of(timeout)
        with interrupts() if signals is None else signals as taken:
            ended = follow_until(self._open, _patient(self._handing_over(look)), span, taken)
            stopped = taken.stopping()
        if not ended and not stopped:
            raise WaitTimeout(
                f"{self.name} not finished after {format_duration(span or timedelta())}",
                safe="nothing was cancelled; batches at the provider go on",
                next=f"orchestrator watch {self.name}",
            )
        return ended

    def _handing_over(self, look: Callable[[bool], bool]) -> Callable[[bool], bool]:
        """Let the job's own functions get what has come before each look ends."""

        def looked(working: bool) -> bool:
            done = look(working)
            for take, arrivals in self._takers:
                arrivals.hand_over(take, _AT_ONCE)
            return done

        return looked if self._takers else look

    def _check(self, *, raise_on_failed: bool) -> None:
        view = self._seen()
        books = view.books
        if not books.balanced:
            raise IntegrityError(
                f"the books of job {self.name} do not add up",
                where=lines_of(view)[2].strip(),
                next=f"orchestrator verify {self.name}",
            )
        lost = books.records - books.succeeded
        if raise_on_failed and (lost or view.job.state not in JOB_FINAL):
            raise RecordsFailed(
                f"{lost:,} of {books.records:,} records of job {self.name} have no answer",
                why=f"{view.state}: {view.waits_for.words}" if books.open else "",
                safe="every answer that came is recorded",
                next=f"orchestrator errors {self.name}",
            )

    def __repr__(self) -> str:
        """Return one line: name, state, how much is recorded."""
        try:
            view = self._seen()
        except OrchestratorError as error:
            return f"<Job {self.name!r} {error.code}>"
        return f"<Job {self.name!r} {view.state} {view.books.recorded:,}/{view.books.records:,}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the bar and the books."""
        return html.job_box(self._seen())


def _patient(look: Callable[[bool], bool]) -> Callable[[bool], bool]:
    """Let a registry that does not answer now be looked at again."""

    def patient(working: bool) -> bool:
        try:
            return look(working)
        except RegistryError:
            return False

    return patient
