from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest

from orchestrator.service import daemon
from orchestrator.service.daemon import Ticker
from orchestrator.service.signals import Signals
from orchestrator.telemetry import Log

SOON = timedelta(milliseconds=1)


@pytest.fixture
def log(world):
    # The scheduler knows the machine's time only; a tick long overdue by it would be caught up.
    world.clock.seconds = time.time()
    return Log(None, "json", now=world.clock.now)


def test_a_ticker_is_stopped_at_any_moment_without_waiting_for_itself(world, log):
    done = []

    def cycles():
        for number in range(40):
            ticked = threading.Event()
            ticker = Ticker(world.context, SOON, log, on_tick=ticked.set)
            ticker.start()
            if number % 4:
                ticked.wait(10)
            done.append(ticker.stop(10))

    thread = threading.Thread(target=cycles, daemon=True)
    thread.start()
    thread.join(30)
    assert done == [True] * 40


def test_a_machine_that_slept_for_months_ticks_at_once(world, log):
    world.clock.seconds -= 100 * 86_400
    ticked = threading.Event()
    ticker = Ticker(world.context, SOON, log, on_tick=ticked.set)
    ticker.start()
    assert ticked.wait(5)
    assert ticker.stop(5)


def test_an_error_in_a_tick_is_kept_and_the_next_one_comes(world, log, monkeypatch):
    outcomes = iter([RuntimeError("a bug"), None])
    seen = []
    again = threading.Event()
    true_tick = daemon.tick

    def tick(ctx):
        error = next(outcomes, None)
        if error is not None:
            raise error
        return true_tick(ctx)

    def on_tick():
        seen.append(ticker.failed)
        if len(seen) == 2:
            again.set()

    monkeypatch.setattr(daemon, "tick", tick)
    ticker = Ticker(world.context, SOON, log, on_tick=on_tick)
    ticker.start()
    assert again.wait(10)
    assert ticker.stop(10)
    assert isinstance(seen[0], RuntimeError)
    assert seen[1] is None


def test_a_tick_that_outlasts_its_time_to_drain_is_told(world, log, monkeypatch):
    began, let_go = threading.Event(), threading.Event()

    def tick(_ctx):
        began.set()
        let_go.wait(10)
        return daemon.Report()

    monkeypatch.setattr(daemon, "tick", tick)
    ticker = Ticker(world.context, SOON, log)
    ticker.start()
    assert began.wait(10)
    assert ticker.stop(0.01) is False
    let_go.set()


def test_a_bell_that_rings_before_the_wait_is_heard():
    with Signals() as signals:
        signals.ring()
        signals.wait(None)
        assert not signals.stopping()


def test_the_second_signal_leaves_at_once():
    left = []
    with Signals(leave=left.append) as signals:
        signals._handle(15, None)
        assert (signals.stopping(), signals.exit_status, left) == (True, 143, [])
        signals._handle(2, None)
    assert left == [130]
