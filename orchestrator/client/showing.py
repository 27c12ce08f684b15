"""How a job is shown while it is watched: in place where that is possible, else line by line."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Protocol, TextIO

from orchestrator import human
from orchestrator.api.views import JobView
from orchestrator.client import html
from orchestrator.client.words import lines_of

_UP, _TO_END = "\x1b[{}A\r", "\x1b[K"


class Display(Protocol):
    """Shows the view of a job as it changes."""

    def show(self, view: JobView) -> None:
        """Show the job as it is now."""

    def end(self) -> None:
        """Leave the last state standing."""


def display_of(stream: TextIO | None = None) -> Display:
    """Return what fits: a notebook's output cell, a terminal, or a line for each change."""
    notebook = _notebook()
    if notebook is not None:
        return notebook
    out = sys.stdout if stream is None else stream
    return InPlace(out) if out.isatty() else Lines(out)


class InPlace:
    """Draws over what it has drawn before."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
        self._drawn = 0

    def show(self, view: JobView) -> None:
        """Redraw the block."""
        lines = lines_of(view, unicode=self._unicode)
        up = _UP.format(self._drawn) if self._drawn else ""
        self._stream.write(up + "".join(f"{line}{_TO_END}\n" for line in lines))
        self._stream.flush()
        self._drawn = len(lines)

    def end(self) -> None:
        """Leave the block as it stands."""


class Lines:
    """Writes a line whenever the books have changed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._before = ""

    def show(self, view: JobView) -> None:
        """Write a line if there is something new."""
        line = f"{human.plain(view.job.name)}  {view.state}  {human.books_line(view.books)}"
        if line != self._before:
            self._before = line
            self._stream.write(line + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Leave the lines as they stand."""


class Notebook:
    """Shows one output that is replaced as the job goes on."""

    def __init__(self, display: Any, page: Any) -> None:  # noqa: ANN401 - IPython's functions
        self._display = display
        self._page = page
        self._handle: Any = None

    def show(self, view: JobView) -> None:
        """Show the job's box, or replace it."""
        page = self._page(html.job_box(view))
        if self._handle is None:
            self._handle = self._display(page, display_id=True)
        else:
            self._handle.update(page)

    def end(self) -> None:
        """Leave the box as it stands."""


def _notebook() -> Notebook | None:
    """Return a display in the notebook that this process is the kernel of, None elsewhere."""
    loaded = sys.modules.get("IPython")
    shell = loaded.get_ipython() if loaded is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    shown = importlib.import_module("IPython.display")
    return Notebook(shown.display, shown.HTML)
