"""What is seen while a job is watched: on a terminal, in a pipe, in a notebook."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from cli.fake_terminal import Stream
from client.conftest import a_spec

from orchestrator import Orchestrator
from orchestrator.client.showing import InPlace, Lines, Notebook, display_of


def test_a_terminal_is_drawn_over_in_place(lite: Orchestrator):
    job = lite.submit(a_spec())
    view = job.progress()
    stream = Stream(tty=True)
    display = display_of(stream)
    assert isinstance(display, InPlace)
    display.show(view)
    display.show(view)
    first, _, second = stream.getvalue().partition("\x1b[3A\r")
    assert first == second
    name, bar, books = first.replace("\x1b[K", "").splitlines()
    assert "running" in name
    assert bar == f" [{'░' * 40}]  0 % recorded"
    assert books.startswith(" 12 records = 0 succeeded")


def test_a_terminal_without_unicode_gets_ascii(lite: Orchestrator):
    view = lite.submit(a_spec()).progress()
    stream = Stream(tty=True, encoding="ascii")
    display_of(stream).show(view)
    assert stream.getvalue().isascii()


def test_a_pipe_gets_a_line_for_each_change(lite: Orchestrator):
    job = lite.submit(a_spec())
    stream = io.StringIO()
    display = display_of(stream)
    assert isinstance(display, Lines)
    display.show(job.progress())
    display.show(job.progress())
    job.pause()
    display.show(job.progress())
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["running", "paused"]


def test_a_notebook_gets_one_box_that_is_replaced(
    lite: Orchestrator, monkeypatch: pytest.MonkeyPatch
):
    shown: list[Any] = []
    handle = SimpleNamespace(update=shown.append)

    def display(page: Any, *, display_id: bool) -> Any:
        assert display_id
        shown.append(page)
        return handle

    pages = SimpleNamespace(HTML=lambda text: ("html", text), display=display)
    shell = SimpleNamespace(kernel=object())
    notebook = SimpleNamespace(get_ipython=lambda: shell, display=pages)
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", pages)
    assert isinstance(display_of(), Notebook)
    job = lite.submit(a_spec())
    job.watch(timeout="60s")
    assert len(shown) > 1
    assert {kind for kind, _ in shown} == {"html"}
    assert "12 succeeded" in shown[-1][1]


def test_a_shell_of_ipython_without_a_kernel_is_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=object))
    assert isinstance(display_of(io.StringIO()), Lines)


def test_a_story_is_told_as_prose(lite: Orchestrator):
    job = lite.submit(a_spec())
    told = str(job.explain())
    assert told.startswith("labels is running\nhappened\n  it was submitted")
    assert "your choices" in told
    assert str(job.explain("r-001")).startswith("r-001 of labels is pending\n")
