"""`orchestrator demo`: what this program does, in half a minute and for nothing."""

from __future__ import annotations

import csv
import shlex
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.command import command
from orchestrator.cli.output import Console
from orchestrator.cli.session import Session
from orchestrator.domain.model import JobState
from orchestrator.human import books_line

if TYPE_CHECKING:
    from orchestrator.api.views import JobView
    from orchestrator.app import App
    from orchestrator.service.demo import Place
    from orchestrator.service.signals import Signals

_ROWS_SHOWN = 5


@command(examples=("orchestrator demo", "orchestrator demo --dir /tmp/demo --temper good"))
@click.option(
    "--dir",
    "folder",
    default="orchestrator-demo",
    show_default=True,
    metavar="DIR",
    help="everything is kept there",
)
@click.option("--temper", metavar="good|bad|FILE", help="which faults; else demo-temper.toml")
@click.pass_obj
def demo(session: Session, folder: str, temper: str | None) -> int:
    """Run 300 real records through the sandbox with faults on; costs nothing, asks for no key.

    Kill it at any moment (kill -9 too) and run it again: it goes on, and every record still ends
    with exactly one outcome. Everything is in the folder, a project for every other command.
    """
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.service import demo as demos  # noqa: PLC0415
    from orchestrator.service.signals import Signals  # noqa: PLC0415
    from orchestrator.settings import load  # noqa: PLC0415

    place = demos.lay_out(session.world.cwd / folder)
    configuration = load(
        environ=demos.environment(session.world.environ),
        cwd=place.folder,
        config=place.configuration,
    )
    with Signals() as signals, App(configuration) as app:
        app.pace = demos.PACE
        done = _job_view(session, app)
        already = done is not None and _ended(done) and place.results.exists()
        if not already:
            done = _run(session, app, signals, place, _temper_of(session, place, temper))
        if done is None:
            session.console.note(f"stopped; go on with: {_again(folder)}")
            return signals.exit_status
        _tell(session, place, folder, done, already=already)
        return 0 if _ended(done) else 3


def _temper_of(session: Session, place: Place, temper: str | None) -> str:
    from orchestrator.sandbox.temper import PRESETS, read_temper  # noqa: PLC0415 - as above
    from orchestrator.service.demo import TEMPER  # noqa: PLC0415

    chosen = temper or str(place.folder / TEMPER)
    if chosen not in PRESETS:
        chosen = str(session.world.cwd / chosen)
    read_temper(chosen)  # a wrong one is told here rather than by the sandbox's process
    return chosen


def _run(session: Session, app: App, signals: Signals, place: Place, temper: str) -> JobView | None:
    """Submit, follow and export; None when a signal stopped it."""
    from orchestrator import api  # noqa: PLC0415 - help needs none of it
    from orchestrator.cli.logs import log_of  # noqa: PLC0415
    from orchestrator.cli.watch_cmd import Looking  # noqa: PLC0415
    from orchestrator.cli.watching import display_of  # noqa: PLC0415
    from orchestrator.service import demo as demos  # noqa: PLC0415
    from orchestrator.service.following import follow  # noqa: PLC0415
    from orchestrator.service.one_shot import one_shot  # noqa: PLC0415
    from orchestrator.settings import job_spec  # noqa: PLC0415

    console = session.console
    with demos.sandbox_at(place, temper, pause=signals.wait) as url:
        console.note(f"sandbox at {url}, {demos.SPEED}x, faults on: {Path(temper).name}")
        spec = job_spec(app.configuration, demos.JOB)
        submitted = api.submit(app.context(), spec, actor=app.actor)
        went_on = submitted.already or submitted.resumed
        console.note(f"{'going on with' if went_on else 'submitted'} {spec.name}")
        display = display_of(session, "auto")
        looking = Looking(session, app, [submitted.job], display, works_alone=True)
        try:
            follow(app, signals, log_of(session, quiet=True), look=looking.look)
        finally:
            display.leave()
        if signals.stopping():
            return None
        one_shot(app, signals)  # the clean-up behind the last answer
    _export(session, app, place)
    return _job_view(session, app)


def _export(session: Session, app: App, place: Place) -> None:
    from orchestrator import api  # noqa: PLC0415 - help needs none of it
    from orchestrator.cli.looking import prices_of  # noqa: PLC0415
    from orchestrator.service.demo import JOB  # noqa: PLC0415
    from orchestrator.sinks.files import OutputFile  # noqa: PLC0415

    registry = app.registry
    job = api.find_job(registry, JOB)
    prices = prices_of(session)
    api.export(registry, job, OutputFile(place.results), kind="csv", prices=prices)


def _job_view(session: Session, app: App) -> JobView | None:
    from orchestrator.api.views import job_view  # noqa: PLC0415 - help needs none of it
    from orchestrator.cli.looking import prices_of  # noqa: PLC0415
    from orchestrator.registry import jobs  # noqa: PLC0415
    from orchestrator.service.demo import JOB  # noqa: PLC0415

    registry = app.writing()
    with registry.read() as db:
        job = jobs.find(db, JOB)
    if job is None:
        return None
    return job_view(registry, job, now=app.clock.now(), prices=prices_of(session))


def _ended(view: JobView) -> bool:
    return view.job.state in (JobState.FINISHED, JobState.CANCELLED)


def _tell(session: Session, place: Place, folder: str, view: JobView, *, already: bool) -> None:
    data = {
        "folder": str(place.folder),
        "job": view.job.name,
        "already": already,
        "records": view.books.records,
        "succeeded": view.books.succeeded,
        "failed": view.books.failed,
        "batches": view.job.batches,
        "results": str(place.results),
    }

    def human(console: Console) -> None:
        if already:
            console.note("the demo was finished already: nothing was done")
        console.say(books_line(view.books))
        for line in _some_rows(place.results):
            console.say(f"  {line}")
        console.say(f"results  {Path(folder) / place.results.name}")
        console.note(_next(folder, view))

    session.console.document("demo", data, human)


def _some_rows(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            (r["word"], r["outcome"], r["text"]) for r in islice(csv.DictReader(file), _ROWS_SHOWN)
        ]
    return [f"{word:<16} {outcome:<10} {text}" for word, outcome, text in rows]


def _next(folder: str, view: JobView) -> str:
    enter = f"cd {shlex.quote(folder)}"
    return "\n".join(
        (
            f"next     {enter} && orchestrator status",
            f"         {enter} && orchestrator errors {view.job.name}",
            "         your own records: orchestrator plan FILE --key COLUMN --prompt TEXT",
        )
    )


def _again(folder: str) -> str:
    return shlex.join(["orchestrator", "demo", "--dir", folder])
