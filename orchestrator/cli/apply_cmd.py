"""`orchestrator apply`: submit a workflow's first jobs, declare those that wait for them."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.options import dry_run_option
from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError
from orchestrator.domain.job_names import check_name

if TYPE_CHECKING:
    from orchestrator.api import Applied, AppliedJob
    from orchestrator.app import App

_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@command(
    examples=(
        "orchestrator apply reviews.toml",
        "orchestrator apply reviews.toml --dry-run",
        "orchestrator apply reviews.toml --name-suffix 2026-12-01",
    )
)
@click.argument("file", metavar="FILE")
@click.option("--name-suffix", metavar="TEXT", help="another run of the same file: NAME-TEXT")
@click.option("--watch", is_flag=True, help="follow its jobs to their end, stage by stage")
@dry_run_option()
@click.pass_obj
def apply(
    session: Session, /, file: str, name_suffix: str | None, watch: bool, dry_run: bool
) -> int:
    """Submit the first jobs of a workflow file, and declare its stages: they start by themselves.

    Each stage begins when the job before it has ended, or as answers come (stream = true). The
    same file again is the same workflow; one that was cut off is completed.
    """
    from orchestrator import api  # noqa: PLC0415 - help needs none of it
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.settings.workflows import read_workflow  # noqa: PLC0415

    path = session.world.cwd / file
    workflow = read_workflow(session.configuration, path, suffix=_checked(name_suffix))
    for job in workflow.jobs:
        check_name(job.spec)
    with App(session.configuration) as app:
        applied = api.apply(app.context(), workflow, actor=app.actor, dry_run=dry_run)
        _tell(session, app, applied, dry_run=dry_run, alone=not watch)
    if not watch or dry_run:
        return 0
    from orchestrator.cli.watch_cmd import follow_jobs  # noqa: PLC0415 - only --watch needs it

    return follow_jobs(session, (applied.workflow,))


def _checked(suffix: str | None) -> str:
    if suffix is not None and not _SUFFIX.fullmatch(suffix):
        raise UsageError(
            f"--name-suffix {suffix[:80]!r} can't end a name",
            why="it holds letters, digits, dots and dashes, and begins with a letter or a digit",
            next="--name-suffix 2026-12-01",
        )
    return suffix or ""


def _tell(session: Session, app: App, applied: Applied, *, dry_run: bool, alone: bool) -> None:
    from orchestrator.cli.submit_cmd import somebody_works  # noqa: PLC0415 - needs the service

    following = f"orchestrator graph {applied.workflow}"
    data = {
        "workflow": applied.workflow,
        "dry_run": dry_run,
        "jobs": [asdict(job) for job in applied.jobs],
        "left": applied.left,
        "next": following,
    }
    lines = [_line(job) for job in applied.jobs]
    head = f"workflow {applied.workflow}" + (": nothing was registered" if dry_run else "")
    text = "\n".join([head, *lines, f"next: {following}"])
    session.console.result("apply", text, data, piped=applied.workflow)
    for name in applied.left:
        session.console.note(
            f"{name} is a stage of it that the file does not name any more; "
            f"to end it: orchestrator cancel {name}"
        )
    if alone and not dry_run and not somebody_works(app):
        session.console.note(
            "nobody is at work on this registry: start orchestrator daemon, "
            "or let watch do the work while it runs"
        )


def _line(job: AppliedJob) -> str:
    status = job.status.replace("_", " ")
    if job.upstream is None:
        return f"  {job.name}  {status}: {human.plural(job.records or 0, 'record')}"
    when = "as answers come" if job.stream else "at the end"
    return f"  {job.name}  {status}: takes {job.upstream}, {when}"
