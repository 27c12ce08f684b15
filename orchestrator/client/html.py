"""What a notebook shows: a bar and the books, in colours that read well on light and dark."""

from __future__ import annotations

from html import escape

from orchestrator import human
from orchestrator.api.views import JobView

_SHADES = (
    ("recorded", "#2e8b57"),
    ("reported", "#6fb98f"),
    ("in flight", "#8aa4c8"),
    ("waiting", "#9998"),
)
_BOX = (
    "font-family:inherit;max-width:44em;padding:.4em .6em;border:1px solid #8886;border-radius:4px"
)
_BAR = "display:flex;height:.8em;margin:.4em 0;border-radius:3px;overflow:hidden;background:#8882"


def job_box(view: JobView) -> str:
    """Return a job as one box: name and state, the bar, the books, what it waits for."""
    share = human.percent(view.books.recorded, view.books.records)
    return _box(
        f"<b>{escape(view.job.name)}</b> {escape(human.state(view.state))}",
        _bar(view),
        escape(human.books_line(view.books)) + f"<br>{share} recorded",
        escape(view.waits_for.words) if view.books.open else "",
    )


def facts_box(title: str, facts: dict[str, str]) -> str:
    """Return a small table of facts under a title."""
    rows = "".join(
        f'<tr><td style="text-align:left;opacity:.7">{escape(name)}</td>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    return _box(f"<b>{escape(title)}</b>", f"<table>{rows}</table>")


def _box(*parts: str) -> str:
    inner = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div style="{_BOX}">{inner}</div>'


def _bar(view: JobView) -> str:
    counts = (
        view.books.recorded,
        view.open.reported,
        view.open.in_flight,
        view.open.waiting,
    )
    cells = "".join(
        f'<div title="{count:,} {what}" style="flex:{count} 0 0;background:{colour}"></div>'
        for count, (what, colour) in zip(counts, _SHADES, strict=True)
        if count
    )
    summary = ", ".join(
        f"{count:,} {what}" for count, (what, _) in zip(counts, _SHADES, strict=True)
    )
    return f'<div role="img" aria-label="{summary}" style="{_BAR}">{cells}</div>'
