"""`orchestrator watch`: follow jobs to their end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.options import DURATION
from orchestrator.cli.session import Session
from orchestrator.cli.watching import Display, display_of
from orchestrator.cli.watching_stages import Stages, workflow_of
from orchestrator.domain.errors import NotFound, RegistryError, WaitTimeout
from orchestrator.domain.model import DeliveryState, JobState

if TYPE_CHECKING:
    from orchestrator.api.views import JobView
    from orchestrator.app import App
    from orchestrator.domain.model import Job
    from orchestrator.registry.session import Registry
    from orchestrator.service.signals import Signals

Progress = Literal["auto", "bar", "line", "json", "off"]

NEEDS_PERSON, BOOKS_WRONG = 3, 6
_ENDED = (JobState.FINISHED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Allowed:
    """How many records may be without success: a percentage of each job's, or a number."""

    percent: Decimal = Decimal(0)
    records: int = 0

    def holds(self, unsuccessful: int, records: int) -> bool:
        """Whether so many of so many are within it."""
        return unsuccessful <= self.records or unsuccessful * 100 <= self.percent * records


class _AllowedType(click.ParamType[Allowed]):
    name = "share"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Allowed:
        """Return `0.1%` or `5` as the records that may be without success."""
        if isinstance(value, Allowed):
            return value
        text = str(value).strip()
        try:
            number = Decimal(text.removesuffix("%").strip())
        except InvalidOperation:
            number = Decimal(-1)
        share = text.endswith("%")
        if not number.is_finite() or number < 0 or (share and number > 100):
            self.fail(f"{text!r} is not a share; write one like 0.1% or a number", param, ctx)
        if not share and number != number.to_integral_value():
            self.fail(f"{text!r} is no whole number of records; a share ends in %", param, ctx)
        return Allowed(percent=number) if share else Allowed(records=int(number))


@command(
    examples=(
        "orchestrator watch reviews",
        "orchestrator watch @last --timeout 6h --allow-failed 0.1%",
        "orchestrator watch --progress line",
    )
)
@click.argument("names", metavar="[JOB|WORKFLOW...]", nargs=-1)
@click.option(
    "--timeout", type=DURATION, metavar="T", help="stop waiting after 90s, 6h, 3d: exit 4"
)
@click.option(
    "--for",
    "_until",
    type=click.Choice(("finished",)),
    default="finished",
    show_default=True,
    help="what to wait for",
)
@click.option(
    "--allow-failed",
    "allowed",
    type=_AllowedType(),
    default=Allowed(),
    metavar="0.1%|N",
    help="still exit 0 with so many records without success",
)
@click.option(
    "--progress",
    type=click.Choice(("auto", "bar", "line", "json", "off")),
    default="auto",
    help="auto: a bar on a terminal, a line for each change in a pipe",
)
@click.pass_obj
def watch(
    session: Session,
    names: tuple[str, ...],
    timeout: timedelta | None,
    _until: str,
    allowed: Allowed,
    progress: Progress,
) -> int:
    """Follow jobs to their end; does the work itself while no daemon is alive.

    Without a name it follows every job that is open. Exits 0 when all records succeeded, 3 when
    some did not or something needs you, 4 at the time-out. Ctrl-C only stops watching (130).
    """
    return follow_jobs(session, names, timeout=timeout, allowed=allowed, progress=progress)


def follow_jobs(
    session: Session,
    names: Sequence[str],
    *,
    timeout: timedelta | None = None,
    allowed: Allowed | None = None,
    progress: Progress = "auto",
) -> int:
    """Follow the jobs of these names, or all open ones, to their end; return the exit status."""
    from orchestrator.api.sink_views import held_lines  # noqa: PLC0415 - help needs none of it
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.cli.logs import log_of  # noqa: PLC0415
    from orchestrator.service.following import follow  # noqa: PLC0415
    from orchestrator.service.signals import Signals  # noqa: PLC0415

    log = log_of(session, quiet=not session.output.verbose)
    with Signals() as signals, App(session.configuration, tell=log.told) as app:
        watched, stages = _chosen(app, names)
        if not watched and not stages.unfed():
            nothing: dict[str, object] = {"jobs": [], "exit_code": 0}
            session.console.result("watch", "no job is open: nothing to watch", nothing)
            return 0
        display = display_of(session, progress)
        looking = Looking(session, app, watched, display, stages=stages)
        try:
            ended = follow(app, signals, log, look=looking.look, timeout=timeout)
        finally:
            display.leave()
        if signals.stopping():
            return _detached(session, watched, signals)
        if not ended:
            raise _not_finished(watched, timeout)
        status = exit_status(looking.views, allowed or Allowed())
        if stages.unfed():
            status = max(status, NEEDS_PERSON)
        display.finish(looking.views, status)
        for line in held_lines(sink for view in looking.views for sink in view.sinks):
            session.console.note(human.plain(line))
        return status


def _chosen(app: App, names: Sequence[str]) -> tuple[list[Job], Stages]:
    """Return the jobs that are watched, and the stages whose jobs will be."""
    from orchestrator.registry import jobs  # noqa: PLC0415 - help needs none of it

    registry = app.reading()
    if not names:
        with registry.read() as db:
            return jobs.active(db), Stages(registry)
    found: dict[int, Job] = {}
    workflows: list[str] = []
    for name in names:
        job = _job_or_none(registry, name)
        if job is None:
            workflows.append(workflow_of(registry, name))
        else:
            found[job.id] = job
    stages = Stages(registry, workflows)
    found |= {job.id: job for job in stages.jobs()}
    return list(found.values()), stages


def _job_or_none(registry: Registry, name: str) -> Job | None:
    """Return the job of this name; None for the name of a workflow or of a stage to come."""
    from orchestrator.api.lookup import find_job  # noqa: PLC0415 - help needs none of it

    try:
        return find_job(registry, name)
    except NotFound as error:
        try:
            workflow_of(registry, name)
        except NotFound:
            raise error from None
        return None


class Looking:
    """Reads the watched jobs and shows what has changed."""

    def __init__(
        self,
        session: Session,
        app: App,
        watched: list[Job],
        display: Display,
        *,
        works_alone: bool = False,
        stages: Stages | None = None,
    ) -> None:
        from orchestrator.cli.looking import prices_of  # noqa: PLC0415 - help needs none of it

        self._session = session
        self._app = app
        self._watched = watched
        self._display = display
        self._prices = prices_of(session)
        self._works_alone = works_alone
        self._stages = stages
        self._said: set[str] = set()
        self.views: list[JobView] = []

    def look(self, working: bool) -> bool:
        """Read and show; return whether every job is at its end, or waits for a person."""
        from orchestrator.api.views import at_rest, job_view  # noqa: PLC0415 - help needs none of it

        if working and not self._works_alone:
            self._note("no daemon is alive: this watch does the work while it runs")
        try:
            now = self._app.clock.now()
            registry = self._app.registry
            self._take_in_stages()
            self.views = [
                job_view(registry, job, now=now, prices=self._prices) for job in self._watched
            ]
        except RegistryError as error:
            self._note(f"{error.message}: {error.why}; looking again")
            return False
        self._display.show(self.views)
        stuck = [v.job.name for v in self.views if at_rest(v) and v.job.state not in _ENDED]
        if self._stages is not None and self._stages.moving(stuck):
            return False
        return all(at_rest(view) for view in self.views)

    def _take_in_stages(self) -> None:
        """Watch the jobs of stages that have begun meanwhile."""
        known = {job.id for job in self._watched}
        begun = self._stages.jobs() if self._stages is not None else []
        active = [job for job in begun if job.id not in known and job.state not in _ENDED]
        self._watched.extend(active)

    def _note(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._display.leave()
            self._session.console.note(text)


def exit_status(views: Sequence[JobView], allowed: Allowed) -> int:
    """Return 0 when all is as wished, 3 for records without success or a decision, 6 for books."""
    if not all(view.books.balanced for view in views):
        return BOOKS_WRONG
    for view in views:
        books = view.books
        unsuccessful = books.failed + books.expired + books.cancelled
        if view.job.state not in _ENDED or not allowed.holds(unsuccessful, books.records):
            return NEEDS_PERSON
        if any(sink.state == DeliveryState.HELD for sink in view.sinks):
            return NEEDS_PERSON
    return 0


def _detached(session: Session, watched: Sequence[Job], signals: Signals) -> int:
    several = f"{len(watched)} jobs" if len(watched) > 1 else watched[0].name
    lives = "live" if len(watched) > 1 else "lives"
    session.console.note(
        f"stopped watching; {several} {lives}, batches at the provider go on."
        " go on with: orchestrator watch, or leave it to: orchestrator daemon"
    )
    return signals.exit_status


def _not_finished(watched: Sequence[Job], timeout: timedelta | None) -> WaitTimeout:
    from orchestrator.domain.units import format_duration  # noqa: PLC0415 - for this case only

    names = " ".join(job.name for job in watched)
    return WaitTimeout(
        f"{names} not finished after {format_duration(timeout or timedelta())}",
        safe="nothing was cancelled; batches at the provider go on",
        next=f"orchestrator watch {names}",
    )
