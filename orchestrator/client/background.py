"""The work in a thread of this process: what a daemon does, for as long as a block runs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from orchestrator.client.following import Open, quiet_log
from orchestrator.domain.errors import AlreadyRunning, RegistryError
from orchestrator.service.daemon import working
from orchestrator.service.signals import Signals

_LOOK_SECONDS = 1.0
_AGAIN_SECONDS = 5.0


class Background:
    """A daemon in a thread, at work when it is returned, until it is stopped.

    A lost lease or registry is taken up again; while another worker has the SQLite registry it
    stands by. `failed` is the error that it last met, None while all goes well.
    """

    def __init__(self, open_app: Open) -> None:
        self._open = open_app
        self._signals = Signals()
        self._begun = threading.Event()
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="orchestrator", daemon=True)
        self._thread.start()
        self._begun.wait()

    @property
    def alive(self) -> bool:
        """Whether it has not been stopped."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End short calls, give claims back and return; batches at the provider go on."""
        if self._thread.is_alive():
            self._signals.stop()
        self._thread.join()

    def _run(self) -> None:
        with self._signals as signals:
            try:
                while not signals.stopping():
                    self._stretch(signals)
            except Exception as error:
                self.failed = error
            finally:
                self._begun.set()

    def _stretch(self, signals: Signals) -> None:
        """Work under one lease, or wait a while where that can't be."""
        try:
            with (
                self._open() as app,
                working(app, "daemon", quiet_log(app), on_tick=signals.ring) as ticker,
            ):
                self.failed = None
                self._begun.set()
                while not signals.stopping() and not ticker.lost:
                    signals.wait(_LOOK_SECONDS)
                    self.failed = ticker.failed
        except (RegistryError, AlreadyRunning) as error:
            self.failed = error
            self._begun.set()
            signals.wait(_AGAIN_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        """Return one line."""
        return f"<Background {'at work' if self.alive else 'stopped'}>"
