"""`orchestrator status`: what needs you, then the jobs, in one screen."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.job_lines import finish_words, held_words
from orchestrator.cli.looking import prices_of, reading
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column, Row
from orchestrator.domain.errors import NotFound

if TYPE_CHECKING:
    from orchestrator.api.needs import NeedsYou
    from orchestrator.api.stage_views import StageView
    from orchestrator.api.views import Fleet, JobView
    from orchestrator.cli.output import Console

SOMETHING_NEEDS_YOU = 3

_EMPTY = "ORC4007"
"""A registry that nothing was ever submitted to."""

_COLUMNS = (
    Column("job", "id"),
    Column("state"),
    Column("recorded"),
    Column("finish"),
    Column("waits_for"),
)


@command(examples=("orchestrator status", "orchestrator status --json | jq .data.needs_you"))
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="so many jobs"
)
@click.pass_obj
def status(session: Session, limit: int) -> int | None:
    """Show what needs you, then the jobs that are under way; exit 3 if something needs you."""
    try:
        return _status(session, limit)
    except NotFound as nothing:
        if nothing.code != _EMPTY:
            raise
        _nothing_yet(session, nothing)
        return None


def _status(session: Session, limit: int) -> int | None:
    from orchestrator.api.overview import overview  # noqa: PLC0415 - help needs no database
    from orchestrator.domain.progress import no_prices  # noqa: PLC0415

    with reading(session) as registry:
        began = time.monotonic()
        # Money costs the profiles' import, and only programs are shown it here.
        prices = prices_of(session) if session.console.machine else no_prices
        now = session.console.now()
        seen = overview(registry, now=now, environment=session.env, limit=limit, prices=prices)
        took = time.monotonic() - began
    needs, found = seen.needs_you, seen.fleet

    def speak(console: Console) -> None:
        if not console.tty:
            _piped(console, needs, found)
            for stage in _unbegun(seen.stages):
                console.say("\t".join(("stage", stage.stage.name, stage.words)))
            return
        console.say(_header(session, seen.registry, took, found))
        for line in needs_lines(needs, console):
            console.say(line)
        _jobs(console, found)
        for line in _stage_lines(seen.stages):
            console.say(line)

    session.console.document("status", seen.to_dict(), speak)
    return SOMETHING_NEEDS_YOU if needs else None


def _nothing_yet(session: Session, nothing: NotFound) -> None:
    """Say that nothing was ever submitted: no error for somebody who only looks."""
    data: dict[str, object] = {
        "environment": session.env,
        "registry": nothing.where,
        "daemons": 0,
        "workers": 0,
        "needs_you": [],
        "jobs": [],
        "more_jobs": 0,
        "stages": [],
        "batches_in_flight": 0,
    }
    session.console.document("status", data, lambda _: None)
    session.console.note(f"no job yet; {nothing.next}")


def _header(session: Session, where: str, took: float, found: Fleet) -> str:
    console = session.console
    alive = human.plural(found.daemons, "daemon") + " alive" if found.daemons else "no daemon alive"
    parts = [
        f"env {session.env}" if session.env else "",
        f"registry {human.plain(where)} ({took * 1000:.0f} ms)",
        alive,
        human.zone_name(found.as_of, console.zone()),
    ]
    return "   ".join(part for part in parts if part)


def needs_lines(needs: Sequence[NeedsYou], console: Console) -> Iterator[str]:
    """Yield the list of what needs a person; nothing at all for an empty one."""
    if not needs:
        return
    yield console.style("! NEEDS YOU", "red")
    for need in needs:
        yield f"  {human.plain(need.headline)}  [{need.code}]"
        if need.since is not None:
            yield f"       {'since':<5}  {human.clock(need.since, console.now(), console.zone())}"
        yield f"       {'safe':<5}  {need.safe}"
        yield f"       {'next':<5}  {need.next}"


def _jobs(console: Console, found: Fleet) -> None:
    rows = (_row(view, console) for view in found.jobs)
    console.table("status", rows, _COLUMNS, empty="no job is under way")
    if found.more_jobs:
        console.say(f"and {human.plural(found.more_jobs, 'job')} more: orchestrator jobs")


def _unbegun(found: Sequence[StageView]) -> list[StageView]:
    """Return the stages that have no job yet: the others stand among the jobs."""
    return [view for view in found if not view.begun]


def _stage_lines(found: Sequence[StageView]) -> Iterator[str]:
    """Yield a line for each stage of a workflow that has not begun."""
    for view in _unbegun(found):
        yield f"stage {human.plain(view.stage.name)}: {human.plain(view.words)}"


def _row(view: JobView, console: Console) -> Row:
    books = view.books
    return {
        "job": view.job.name,
        "state": human.state(view.state, unicode=console.unicode, words=held_words(view)),
        "recorded": (
            f"{books.recorded:,}/{books.records:,} {human.percent(books.recorded, books.records)}"
        ),
        "finish": _finish(view, console),
        "waits_for": view.waits_for.words if view.waits_for.who != "nobody" else None,
    }


def _finish(view: JobView, console: Console) -> str | None:
    if view.finish is None or view.finish.earliest is None:
        return None
    return finish_words(view.finish, view, console)


def _piped(console: Console, needs: Sequence[NeedsYou], found: Fleet) -> None:
    """Say one tab-separated line a matter, its kind first."""
    for need in needs:
        fields = ("needs_you", need.subject, need.code, need.headline, need.next)
        console.say("\t".join(human.plain(field) for field in fields))
    for view in found.jobs:
        counts = (str(view.books.recorded), str(view.books.records))
        console.say("\t".join(("job", human.plain(view.job.name), view.state, *counts)))
