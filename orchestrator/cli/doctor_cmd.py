"""`orchestrator doctor`: what the work needs, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.command import command
from orchestrator.cli.human import pad, plain
from orchestrator.cli.output import Console
from orchestrator.cli.session import Session

if TYPE_CHECKING:
    from orchestrator.service.doctor import Check

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(
    examples=("orchestrator doctor", "orchestrator doctor kimi", "orchestrator doctor --offline")
)
@click.argument("provider", required=False)
@click.option("--offline", is_flag=True, help="ask nothing of the provider")
@click.pass_obj
def doctor(session: Session, provider: str | None, offline: bool) -> int:
    """Check registry, disk, key, clock and provider: one line each, with what to do.

    Exits 0 when nothing failed; a failure's own code else (69 unreachable, 77 key, 78 settings).
    """
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.service.doctor import examine, exit_status  # noqa: PLC0415

    console = session.console
    found: list[Check] = []
    with App(session.configuration) as app:
        for check in examine(app, provider, offline=offline):
            found.append(check)
            if not console.machine:
                _say(console, check)
                console.flush()
    failed = sum(check.verdict == "fail" for check in found)
    warned = sum(check.verdict == "warn" for check in found)
    data = {"checks": found, "failed": failed, "warned": warned}
    end = f"{failed} failed, {warned} to look at" if failed or warned else "all is well"
    console.document("doctor", data, lambda shown: shown.note(end))
    return exit_status(found)


def _say(console: Console, check: Check) -> None:
    verdict = console.style(pad(check.verdict, 4), _COLOURS[check.verdict])
    console.say(f"{verdict}  {pad(check.name, 8)}  {plain(check.text)}")
    if check.next:
        console.say(f"{'':<14}  next  {plain(check.next)}")
