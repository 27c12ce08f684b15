"""The work in a thread of this process: what a daemon does, for as long as a block runs."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from orchestrator.client.following import Open, follow_until
from orchestrator.domain.errors import RegistryError
from orchestrator.service.signals import Signals

_AGAIN_SECONDS = 5.0


class Background:
    """Works until it is stopped; a lost lease or registry is taken up again. Begins at once."""

    def __init__(self, open_app: Open) -> None:
        self._open = open_app
        self._signals = Signals()
        self._thread = threading.Thread(target=self._run, name="orchestrator", daemon=True)
        self.failed: BaseException | None = None
        self._thread.start()

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
            while not signals.stopping():
                try:
                    follow_until(self._open, _never, None, signals)
                except RegistryError as error:
                    self.failed = error
                    signals.wait(_AGAIN_SECONDS)
                except Exception as error:
                    self.failed = error
                    return

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


def _never(_working: bool) -> bool:
    return False
