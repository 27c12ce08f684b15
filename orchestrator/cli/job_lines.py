"""A job as people read it: the same few lines for `jobs show`, `watch` and `explain`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from orchestrator import human
from orchestrator.domain.money import Money

if TYPE_CHECKING:
    from orchestrator.api.sink_views import SinkView
    from orchestrator.api.views import JobView
    from orchestrator.cli.output import Console
    from orchestrator.domain.progress import Finish

_BAR = 50
_GAP = "   "


def job_lines(view: JobView, console: Console) -> Iterator[str]:
    """Yield headline, bar, books, the parts of open, pace and money, and what it waits for."""
    yield headline(view, console)
    yield f" {bar(view, console)}"
    yield f" {human.books_line(view.books)}"
    unsent = unsent_line(view)
    if unsent:
        yield f" {unsent}"
    parts = open_line(view, unicode=console.unicode)
    if parts:
        yield f" {parts}"
    money = money_line(view)
    if money:
        yield f" {money}"
    if view.canary is not None:
        words = _CANARY[view.job.canary]
        yield f" canary of {human.plural(view.canary.records, 'record')}: {words}"
    if view.batches:
        counts = ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in view.batches.items())
        yield f" batches: {counts}"
    for sink in view.sinks:
        yield f" {sink_line(sink)}"
    if view.odd:
        yield f" {human.plural(view.odd, 'odd line')} kept in quarantine"
    yield f" waits for {waits_line(view, console)}"


def sink_line(sink: SinkView) -> str:
    """Return how far a sink is: `sink out.csv: 300 rows, done`."""
    line = f"sink {human.plain(sink.sink)}: {human.plural(sink.rows, 'row')}, {sink.state}"
    return f"{line}: {human.plain(sink.reason)}" if sink.reason else line


_CANARY = {
    None: "out; the rest waits for its verdict",
    "passed": "passed",
    "failed": "failed",
    "accepted": "failed, and accepted",
}


def state_of(view: JobView, console: Console) -> str:
    """Return the state with its glyph: `‖ held by kimi`."""
    return console.state(view.state, held_words(view))


def held_words(view: JobView) -> str:
    """Return who holds the job, empty where nobody does."""
    held_by = view.waits_for.held_by
    return f"held by {human.plain(held_by)}" if held_by else ""


def headline(view: JobView, console: Console) -> str:
    """Return name, state, start, age, and the finish as far as it is known."""
    job, now, zone = view.job, view.as_of, console.zone()
    age = human.duration((job.finished_at or now) - job.created_at)
    parts = [
        f"{console.style(human.plain(job.name), 'bold')}  {state_of(view, console)}",
        f"started {human.clock(job.created_at, now, zone)}",
        age,
    ]
    if view.finish is not None:
        parts.append(f"finish {finish_words(view.finish, view, console)}")
        if view.finish.first_window_ends is not None:
            ends = human.clock(view.finish.first_window_ends, now, zone)
            parts.append(f"first window ends {ends}")
    elif job.finished_at is not None:
        parts.append(f"ended {human.clock(job.finished_at, now, zone)}")
    return _GAP.join(parts)


def finish_words(expected: Finish, view: JobView, console: Console) -> str:
    """Return `Tue 05:10 to 13:30`, or why nobody knows."""
    if expected.earliest is None or expected.latest is None:
        return f"unknown: {expected.how}"
    return human.span(expected.earliest, expected.latest, view.as_of, console.zone())


def bar(view: JobView, console: Console, width: int = _BAR) -> str:
    """Return the bar in its four shades and the share that is recorded."""
    shades = human.bar(
        recorded=view.books.recorded,
        reported=view.open.reported,
        in_flight=view.open.in_flight,
        waiting=view.open.waiting,
        width=max(10, min(width, console.width - 22)),
        unicode=console.unicode,
    )
    return f"{shades}  {human.percent(view.books.recorded, view.books.records)} recorded"


def unsent_line(view: JobView) -> str:
    """Return how many records were answered without being sent; empty for none."""
    parts = []
    if view.job.shared:
        parts.append(f"{view.job.shared:,} by an equal request")
    if view.job.cached:
        parts.append(f"{view.job.cached:,} from earlier jobs")
    return f"answered without being sent: {', '.join(parts)}" if parts else ""


def open_line(view: JobView, *, unicode: bool = True) -> str:
    """Return the parts of what is open, with the age of what the provider says; empty for none."""
    parts = view.open
    if not parts.total:
        return ""
    age = ""
    if view.looked_at is not None and parts.reported:
        age = f" ({human.relative(view.looked_at, view.as_of)})"
    again = f" ({parts.again:,} of them to be asked again)" if parts.again else ""
    return "open: " + (" · " if unicode else ", ").join(
        (
            f"{parts.reported:,} reported by the provider{age}",
            f"{parts.in_flight:,} in flight",
            f"{parts.waiting:,} waiting{again}",
        )
    )


def money_line(view: JobView) -> str:
    """Return pace and money, each part only where it is known."""
    parts = []
    if view.pace is not None and view.books.open:
        parts.append(f"pace {human.short(round(view.pace))}/h")
    parts += _costs(view)
    return _GAP.join(parts)


def _costs(view: JobView) -> list[str]:
    costs, budget = view.costs, view.budget
    limit = f", budget {shown(budget)}" if budget is not None else ""
    if costs.so_far is None:
        unknown = "cost unknown" if view.books.recorded else ""
        return [(unknown + limit).removeprefix(", ")] if unknown or limit else []
    text = shown(costs.so_far)
    if view.books.open and costs.estimated is not None:
        text += f" of about {shown(costs.estimated)}"
    text += limit
    if costs.wasted is not None and costs.wasted.amount > 0:
        text += f", wasted {shown(costs.wasted)}"
    if costs.unpriced:
        text += f", {human.plural(costs.unpriced, 'answer')} without a price"
    if costs.saved is not None and costs.saved.amount > 0:
        text += f", saved {'so far ' if view.books.open else ''}{shown(costs.saved)}"
    return [text]


def shown(money: Money) -> str:
    """Return `$5.91`."""
    return human.money(money.amount, money.currency)


def waits_line(view: JobView, console: Console) -> str:
    """Return what it waits for, since when, when something happens next, and the command."""
    waits, now, zone = view.waits_for, view.as_of, console.zone()
    parts = [human.plain(waits.words)]
    if waits.since is not None and waits.who != "nobody":
        parts.append(f"since {human.clock(waits.since, now, zone)}")
    if waits.until is not None and waits.until > now:
        parts.append(f"next look {human.relative(waits.until, now)}")
    line = ", ".join(parts)
    return f"{line}; next: {waits.next}" if waits.next else line
