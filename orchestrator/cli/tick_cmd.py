"""`orchestrator tick`: the one-shot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.session import Session

if TYPE_CHECKING:
    from orchestrator.engine.tick import Report


@command(examples=("orchestrator tick", "orchestrator tick --job reviews"))
@click.option("--job", metavar="JOB", help="only this job: a name, its beginning, or @last")
@click.pass_obj
def tick(session: Session, job: str | None) -> int:
    """Do everything that is due, once; safe to run at any time, also beside a daemon.

    For cron: one that overlaps with another worker does nothing and exits 0.
    """
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.cli.logs import log_of  # noqa: PLC0415
    from orchestrator.service.one_shot import one_shot  # noqa: PLC0415
    from orchestrator.service.signals import Signals  # noqa: PLC0415

    log = log_of(session, quiet=not session.output.verbose)
    with Signals() as signals, App(session.configuration, tell=log.told) as app:
        done = one_shot(app, signals, job=job)
        report = done.report
        data = {
            "busy": done.busy,
            "planned": report.planned,
            "steps": dict(sorted(report.steps.items())),
            "looked_at": report.seen,
            "put_off": report.put_off,
            "delivered": report.delivered,
            "next_at": report.next_at,
        }
        if done.busy:
            session.console.note("another worker is on this registry: nothing to do here")
        text = "nothing was done" if done.busy else _said(session, report)
        session.console.document("tick", data, lambda console: console.say(text))
        return signals.exit_status


def _said(session: Session, report: Report) -> str:
    did = [human.plural(report.planned, "batch", "batches") + " planned"] if report.planned else []
    did += [f"{name.replace('_', ' ')} {number:,}" for name, number in sorted(report.steps.items())]
    did += [human.plural(report.seen, "batch", "batches") + " looked at"] if report.seen else []
    did += [f"{report.put_off:,} put off (orchestrator status says why)"] if report.put_off else []
    did += [human.plural(report.delivered, "delivery", "deliveries")] if report.delivered else []
    what = ", ".join(did) or "nothing was due"
    if report.next_at is None:
        return f"{what}; nothing is open"
    now = session.console.now()
    when = human.relative(report.next_at, now) if report.next_at > now else "now"
    return f"{what}; next useful {when}"
