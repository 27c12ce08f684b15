"""The log of a command that works: on stderr, as that stream asks for."""

from __future__ import annotations

from orchestrator.cli.session import Session
from orchestrator.telemetry import Log, style_of


def log_of(session: Session, *, quiet: bool = False) -> Log:
    """Return the log; a `quiet` one says nothing, for commands that show the work themselves."""
    world = session.world
    return Log(
        None if quiet else world.stderr,
        style_of(world.stderr, world.environ),
        now=world.now,
        verbose=session.output.verbose > 0,
    )
