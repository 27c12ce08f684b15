"""Boundaries: the moments between which a process may die, an answer be lost, a disk be full.

A boundary stands before and after each commit, call and file step, and says its name. Tests hang
themselves in there; in production it is a call of an empty function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Hook = Callable[[str, object], None]
"""`(name, about)`: the boundary, and what it is about: the work committed, the operation called,
the path written. What the hook raises happens there."""


def _pass_by(_name: str, _about: object) -> None:
    """Do nothing: nobody watches."""


_hook: Hook = _pass_by


def hit(name: str, about: object = None) -> None:
    """Pass the boundary `name`."""
    _hook(name, about)


@contextmanager
def watched(hook: Hook) -> Iterator[None]:
    """Have `hook` called at every boundary that this process passes inside the block."""
    global _hook  # noqa: PLW0603 - one process, one watcher: a boundary is no object's own
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before
