"""A job in words: name and state, the bar, the books."""

from __future__ import annotations

from orchestrator import human
from orchestrator.api.views import JobView

_BAR = 40


def lines_of(view: JobView, *, unicode: bool = True) -> list[str]:
    """Return the job in three lines: name and state, the bar, the books."""
    name, state = human.plain(view.job.name), human.state(view.state, unicode=unicode)
    share = human.percent(view.books.recorded, view.books.records)
    waits = f"   {human.plain(view.waits_for.words)}" if view.books.open else ""
    return [
        f"{name}  {state}{waits}",
        f" {bar_of(view, unicode=unicode)}  {share} recorded",
        f" {human.books_line(view.books)}",
    ]


def bar_of(view: JobView, *, unicode: bool = True) -> str:
    """Return the bar in its four shades."""
    return human.bar(
        recorded=view.books.recorded,
        reported=view.open.reported,
        in_flight=view.open.in_flight,
        waiting=view.open.waiting,
        width=_BAR,
        unicode=unicode,
    )
