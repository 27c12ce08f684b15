"""`orchestrator health`: a probe for containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.command import command
from orchestrator.cli.session import Session
from orchestrator.domain.errors import NotFound, RegistryError

if TYPE_CHECKING:
    from orchestrator.app import App
    from orchestrator.registry.session import Registry


@command(examples=("orchestrator health", "orchestrator health --ready"))
@click.option("--ready", is_flag=True, help="is the registry fit for work, not only the daemon up")
@click.pass_obj
def health(session: Session, ready: bool) -> None:
    """Exit 0 when a daemon of this host is alive, 69 when not.

    With --ready: when the registry answers and has this release's schema.
    """
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.service.doctor import check_alive  # noqa: PLC0415

    with App(session.configuration) as app:
        registry = _registry(app)
        if not ready:
            check_alive(app)
        probe = "ready" if ready else "alive"
        data = {"probe": probe, "registry": registry.describe()}
        session.console.result("health", probe, data)


def _registry(app: App) -> Registry:
    """Return the registry; an empty one is not ready, which a probe says with 69."""
    try:
        return app.reading()
    except NotFound as empty:
        raise RegistryError(
            empty.message, code=empty.code, where=empty.where, next=empty.next
        ) from empty
