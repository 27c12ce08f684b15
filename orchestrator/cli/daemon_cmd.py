"""`orchestrator daemon`: the same tick for ever."""

from __future__ import annotations

import faulthandler
import io
import signal
from typing import TYPE_CHECKING

import click

from orchestrator.cli.command import command
from orchestrator.cli.session import Session

if TYPE_CHECKING:
    from orchestrator.settings import Configuration


@command(examples=("orchestrator daemon", "orchestrator --env prod daemon -v"))
@click.pass_obj
def daemon(session: Session) -> None:
    """Work for ever: send, follow, collect and retry whatever is due.

    TERM and INT drain and exit, a second one exits at once; both are safe, remote batches go on.
    HUP reads the configuration again, USR1 logs the status, USR2 every thread's stack. Any number
    of daemons share a PostgreSQL registry; an SQLite one has room for one (exit 8).
    """
    from orchestrator.cli.logs import log_of  # noqa: PLC0415 - help needs none of it
    from orchestrator.service.daemon import run_daemon  # noqa: PLC0415
    from orchestrator.service.signals import Signals  # noqa: PLC0415

    _show_stacks_on_usr2(session)
    with Signals(daemon=True) as signals:
        run_daemon(
            session.configuration,
            reload=lambda: _fresh(session),
            log=log_of(session),
            signals=signals,
            verbose=session.output.verbose > 0,
        )


def _fresh(session: Session) -> Configuration:
    session.__dict__.pop("configuration", None)
    return session.configuration


def _show_stacks_on_usr2(session: Session) -> None:
    """Let C code write the stacks, so that they come even from a process that hangs."""
    try:
        descriptor = session.world.stderr.fileno()
    except (OSError, ValueError, io.UnsupportedOperation):
        return
    faulthandler.register(signal.SIGUSR2, file=descriptor, all_threads=True)
