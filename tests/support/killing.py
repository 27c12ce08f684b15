"""A real process, killed with SIGKILL as soon as the registry shows that it has got somewhere."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

PHASES = (
    "submitted",
    "job_registered",
    "planned",
    "built",
    "upload_began",
    "uploaded",
    "create_began",
    "created",
    "observed",
    "remote_ended",
    "collected",
    "reconciled",
    "cleaned_up",
)


class Killer:
    """Runs commands of the orchestrator in `folder`, killing each once in every phase."""

    def __init__(self, folder: Path, url: str, phases: Sequence[str] = PHASES) -> None:
        self.folder = folder
        self.died_in: list[str] = []
        self._phases = phases
        self._engine = sa.create_engine(url)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start the orchestrator with `command`."""
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", *command],
            cwd=self.folder,
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def run(self, *command: str) -> int:
        """Give the same command again and again until it lives to its end; return its status."""
        while True:
            process = self.start(*command)
            killed = self.kill_in_a_new_phase(process)
            _, errors = process.communicate()
            if not killed:
                sys.stderr.write(errors.decode())
                return process.returncode

    def kill_in_a_new_phase(self, process: subprocess.Popen[bytes]) -> bool:
        """Kill as soon as the registry tells of a phase nobody died in yet; False if it ended."""
        while not ended(process, 0.01):
            new = self.phases() - set(self.died_in)
            if new:
                process.send_signal(signal.SIGKILL)
                self.died_in.append(min(new, key=self._phases.index))
                return True
        return False

    def phases(self) -> set[str]:
        """Return the kinds of event that the registry holds."""
        try:
            with self._engine.connect() as db:
                kinds = db.exec_driver_sql("SELECT DISTINCT kind FROM events").scalars()
                return {kind for kind in kinds if kind in self._phases}
        except sa.exc.DBAPIError:
            return set()  # no registry yet

    def close(self) -> None:
        """Let go of the registry."""
        self._engine.dispose()


def ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process ends by itself within some seconds. It is not reaped."""
    handle = os.pidfd_open(process.pid)
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)
