"""The life of a forked child: submit, tick to the end, as the daemon does; die where it is told."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from fleet.nursery import Order

from orchestrator import api
from orchestrator.app import App
from orchestrator.domain.model import BatchState, JobState
from orchestrator.domain.spec import JobSpec, Policy
from orchestrator.engine.context import Context, Told
from orchestrator.engine.tick import tick
from orchestrator.failpoints import watched
from orchestrator.registry import batches, jobs
from orchestrator.service.work import at_work
from orchestrator.settings import load

NAME = "labels"
DONE = 0
_RESTS = frozenset({BatchState.CLOSED, BatchState.PARKED})


def live(order: Order) -> int:
    """Do what `order` says, and return the exit status."""
    folder = Path(order.folder)
    trace = os.open(folder / order.traces, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def tell(told: Told) -> None:
        os.write(trace, f"told {told.kind}\n".encode())

    configuration = load(environ={}, cwd=folder)
    with App(configuration, tell=tell) as app, watched(_hook(order, trace)):
        app.pace = order.pace
        api.submit(app.context(), _spec(folder), actor="test")
        while not _is_over(app):
            with at_work(app, order.kind) as ctx:
                _work(app, replace(ctx, transfers=order.transfers))
    return DONE


def _work(app: App, ctx: Context) -> None:
    """Tick until all is done, or the lease is lost."""
    while ctx.holds_lease():
        report = tick(ctx)
        if _is_over(app):
            return
        _wait_until(report.next_at, ctx.now())


def _wait_until(when: datetime | None, now: datetime) -> None:
    wait = 0.05 if when is None else (when - now).total_seconds()
    threading.Event().wait(min(0.2, max(0.03, wait)))


def _is_over(app: App) -> bool:
    with app.registry.read() as db:
        job = jobs.find(db, NAME)
        states = {batch.state for batch in batches.page(db, limit=1000)}
    ended = job is not None and job.state in {JobState.FINISHED, JobState.CANCELLED}
    return ended and states <= _RESTS


def _spec(folder: Path) -> JobSpec:
    return JobSpec(
        name=NAME,
        source=str(folder / "source.jsonl"),
        key="id",
        prompt="Say one word about {text}",
        provider="sandbox",
        model="kimi-k2.6",
        policy=Policy(attempts=9, linger_seconds=0),
    )


def _hook(order: Order, trace: int) -> Callable[[str, object], None]:
    """Return what happens at each boundary of the thread that works; the lease's has none."""
    working = threading.get_ident()
    passed: Counter[str] = Counter()

    def hook(name: str, about: object) -> None:
        if order.transfers == 1 and threading.get_ident() != working:
            return
        label = label_of(name, about)
        passed[label] += 1
        os.write(trace, f"{label}\n".encode())
        if label == order.die_at and passed[label] == order.nth:
            os.kill(os.getpid(), signal.SIGKILL)
        if label == order.stop_at and passed[label] == 1:
            os.kill(os.getpid(), signal.SIGSTOP)

    return hook


def label_of(name: str, about: object) -> str:
    """Return a boundary's name and what it is about: an event, a function, a call, a file."""
    if isinstance(about, Path):
        return f"{name} {about.name.lstrip('.').partition('-')[0]}"
    code = getattr(about, "__code__", None)
    if code is not None and "event" in code.co_freevars:
        cell = about.__closure__[code.co_freevars.index("event")]  # type: ignore[attr-defined]
        return f"{name} {type(cell.cell_contents).__name__}"
    inner = getattr(about, "func", about)
    return f"{name} {getattr(inner, '__qualname__', None) or inner}"
