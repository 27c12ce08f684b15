"""`orchestrator submit`: register a job; the daemon does the rest."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.intake_options import (
    FLAGS,
    STANDARD_INPUT,
    Declared,
    declared_job,
    intake_options,
)
from orchestrator.cli.options import dry_run_option
from orchestrator.cli.session import Session
from orchestrator.cli.terminal import is_tty
from orchestrator.domain.errors import UsageError
from orchestrator.domain.job_names import check_name

if TYPE_CHECKING:
    from orchestrator.api import Contract, Submitted
    from orchestrator.app import App
    from orchestrator.engine.intake import Scan

_EMPTY = 5
_PROGRESS_FROM = 20_000
"""Records from which on registering takes long enough to show how far it is."""


@command(
    examples=(
        'orchestrator submit reviews.csv --key id --prompt "Positive? One word: {text}"',
        "orchestrator submit reviews --watch",
        "orchestrator submit --plan plan.json",
        "orchestrator submit - --template tag.j2 --name tags < records.jsonl",
    )
)
@click.argument("source", metavar="SPEC|FILE|-", required=False)
@click.option("--plan", "plan_file", metavar="FILE", help="submit what plan -o kept, or refuse")
@intake_options
@click.option("--watch", is_flag=True, help="follow the job to its end")
@click.option("--fail-if-empty", is_flag=True, help="exit 5 if --changed-only finds nothing")
@dry_run_option()
@click.pass_obj
def submit(
    session: Session,
    /,
    source: str | None,
    plan_file: str | None,
    watch: bool,
    fail_if_empty: bool,
    dry_run: bool,
    **options: Any,  # noqa: ANN401 - the shared options, read by name
) -> int:
    """Register a job. Returns once it is committed; a daemon, tick or watch does the work.

    SOURCE is a job spec of the configuration, a file, pattern or URL, sql:CONNECTION, job:NAME, or
    - for standard input. The same name and content again is the same job; a submission that was
    cut off goes on where it stopped. In a pipe stdout is the job's name.
    """
    from orchestrator import api  # noqa: PLC0415 - help needs none of it
    from orchestrator.api.delivering import unlike_sinks  # noqa: PLC0415
    from orchestrator.app import App  # noqa: PLC0415

    if (source is None) == (plan_file is None):
        raise UsageError(
            "submit takes a job spec, a file, - or --plan FILE: one of them",
            next="orchestrator submit FILE --key COLUMN --prompt TEXT",
        )
    contract = api.read_contract(session.world.cwd / plan_file) if plan_file is not None else None
    with (
        App(session.configuration) as app,
        _chosen(session, app, source or STANDARD_INPUT, options, contract) as declared,
    ):
        for note in declared.notes:
            session.console.note(note)
        if dry_run:
            scan = _rehearse(session, app, declared, contract)
            return _EMPTY if fail_if_empty and scan.nothing_changed else 0
        submitted = api.submit(
            app.context(),
            declared.spec,
            actor=app.actor,
            contract=contract,
            on_progress=_progress(session),
        )
        if submitted.nothing_changed:
            _tell_unchanged(session, submitted)
            return _EMPTY if fail_if_empty else 0
        unlike: list[str] = []
        if submitted.already:
            unlike = unlike_sinks(app.registry, submitted.job, declared.spec.sinks)
        _tell(session, app, submitted, unlike, alone=not watch)
    return _follow(session, submitted.job.name) if watch else 0


@contextmanager
def _chosen(
    session: Session, app: App, source: str, options: dict[str, Any], contract: Contract | None
) -> Iterator[Declared]:
    """Yield the job that was planned, else the one that source and flags declare."""
    if contract is not None:
        yield _as_planned(contract, options)
        return
    with declared_job(session, source, options, app.opening()) as declared:
        yield declared


def _rehearse(session: Session, app: App, declared: Declared, contract: Contract | None) -> Scan:
    """Check everything that submit checks in the source, and say what it would register."""
    from orchestrator import api  # noqa: PLC0415 - help needs none of it

    spec = declared.spec
    with tempfile.TemporaryDirectory(prefix="orchestrator-plan-") as folder:
        made = api.plan(
            spec,
            app.providers.profile(spec.provider),
            workdir=Path(folder),
            contract=contract,
            opening=app.opening(),
        )
    following = f"orchestrator watch {spec.name}"
    data = {
        "job": spec.name,
        "status": "would_submit",
        "state": "none",
        "provider": spec.provider,
        "records": made.scan.requests,
        "skipped": made.scan.skipped,
        "passed_over": made.scan.passed_over,
        "unchanged": made.scan.unchanged,
        "changed_since": made.scan.changed_since or None,
        "digest": spec.digest(made.scan.source_digest),
        "next": following,
    }
    records = human.plural(made.scan.requests, "record")
    text = f"would submit {spec.name}: {records}, to {spec.provider}; nothing was registered"
    if made.scan.nothing_changed:
        text = f"would submit nothing: {_unchanged(made.scan.unchanged)}"
    session.console.result("submit", text, data)
    return made.scan


def _as_planned(contract: Contract, options: dict[str, Any]) -> Declared:
    """Return the contract's job; only its name may be another."""
    given = [name for name, value in options.items() if name != "name" and value]
    if given:
        flag = FLAGS.get(given[0], f"--{given[0].replace('_', '-')}")
        raise UsageError(
            f"{flag} would change what was planned",
            why="a plan file holds every setting of its job; only --name may be given beside it",
            next=f"orchestrator plan ... {flag} ... -o FILE",
        )
    name = options["name"] or contract.spec.name
    return Declared(check_name(msgspec.structs.replace(contract.spec, name=name)))


def _progress(session: Session) -> Callable[[int, int], None]:
    """Return what shows how many records are registered: on a terminal, for long ones only."""
    stream = session.world.stderr
    if not is_tty(stream) or session.output.quiet:
        return lambda _done, _all: None

    def show(done: int, whole: int) -> None:
        if whole >= _PROGRESS_FROM:
            share = human.percent(done, whole)
            stream.write(f"\rregistered {done:,} of {whole:,} records  {share}\x1b[K")
            if done >= whole:
                stream.write("\r\x1b[K")
            stream.flush()

    return show


def _tell(
    session: Session, app: App, submitted: Submitted, unlike: Sequence[str], *, alone: bool
) -> None:
    job = submitted.job
    status = "submitted"
    if submitted.already:
        status = "already_submitted"
    elif submitted.resumed:
        status = "resumed"
    following = f"orchestrator watch {job.name}"
    data = {
        "job": job.name,
        "status": status,
        "state": job.state,
        "provider": job.provider,
        "records": job.books.records,
        "skipped": submitted.skipped,
        "passed_over": submitted.passed_over,
        "unchanged": submitted.unchanged,
        "changed_since": submitted.changed_since or None,
        "digest": job.digest,
        "next": following,
    }
    text = _SAYS["other_sinks" if unlike else status].format(
        name=job.name, records=human.plural(job.books.records, "record"), to=job.provider
    )
    if submitted.skipped:
        text += f", {submitted.skipped:,} with a repeated key left out"
    if submitted.passed_over:
        text += f", {submitted.passed_over:,} passed over by the condition"
    if submitted.unchanged:
        text += f", {submitted.unchanged:,} held by earlier jobs as they are"
    if submitted.changed_since:
        session.console.note(f"the source has changed since job {submitted.changed_since}")
    session.console.result("submit", f"{text}\nnext: {following}", data, piped=job.name)
    if unlike:
        session.console.note(
            f"the job does not have {human.plain(', '.join(unlike))} as given, and nothing was "
            f"changed; to add or change a sink: orchestrator deliver {job.name} --sink ..."
        )
    if alone and not somebody_works(app):
        session.console.note(
            "nobody is at work on this registry: start orchestrator daemon, "
            "or let watch do the work while it runs"
        )


def _tell_unchanged(session: Session, submitted: Submitted) -> None:
    """Say that there was nothing to submit: earlier jobs hold every record."""
    job = submitted.job
    data = {
        "job": job.name,
        "status": "nothing_changed",
        "state": job.state,
        "provider": job.provider,
        "records": 0,
        "skipped": 0,
        "passed_over": submitted.passed_over,
        "unchanged": submitted.unchanged,
        "changed_since": submitted.changed_since or None,
        "digest": job.digest,
        "next": f"orchestrator watch {job.name}",
    }
    text = f"nothing to do: {_unchanged(submitted.unchanged)}, the latest is {job.name}"
    session.console.result("submit", text, data, piped=job.name)


def _unchanged(count: int) -> str:
    return f"earlier jobs hold all {human.plural(count, 'record')} as they are"


_SAYS = {
    "submitted": "submitted {name}: {records}, to {to}; nothing has been sent yet",
    "already_submitted": "already submitted: {name} has the same {records} and settings",
    "other_sinks": "already submitted: {name} has the same {records}, and other sinks",
    "resumed": "submitted {name}: {records}, to {to}; went on where it had stopped",
}


def somebody_works(app: App) -> bool:
    """Whether a daemon or a watch is at work on this registry."""
    from orchestrator.service.following import alive  # noqa: PLC0415 - as above

    return alive(app)


def _follow(session: Session, name: str) -> int:
    from orchestrator.cli.watch_cmd import follow_jobs  # noqa: PLC0415 - only --watch needs it

    return follow_jobs(session, (name,))
