"""`pause`, `resume`, `cancel`, `retry`: steer what is under way."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.options import confirm_option, dry_run_option, where_option, yes_option
from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError
from orchestrator.domain.filters import RECORD_FIELDS, Filter

if TYPE_CHECKING:
    from orchestrator.api import Steered
    from orchestrator.app import App
    from orchestrator.domain.model import Batch, Job

_PROVIDER = "provider:"
_ALL = "all"


@command(examples=("orchestrator pause reviews", "orchestrator pause provider:kimi"))
@click.argument("target", metavar="JOB|provider:NAME|all")
@dry_run_option()
@click.pass_obj
def pause(session: Session, /, target: str, dry_run: bool) -> None:
    """Send nothing new; what is in flight is still collected."""
    from orchestrator import api  # noqa: PLC0415 - help needs none of it

    with _app(session) as app:
        names, providers = _targets(app, target)
        done = api.pause(app.context(), names=names, providers=providers, dry_run=dry_run)
    text = _told("paused", done, dry_run) + f"; undo: orchestrator resume {target}"
    if not done.jobs and not done.providers:
        text = f"nothing to do: {target} sends nothing already"
    session.console.result("pause", text, _data(done, dry_run))


@command(
    examples=(
        "orchestrator resume reviews",
        'orchestrator resume reviews --budget "60 USD"',
        "orchestrator resume provider:kimi",
    )
)
@click.argument("target", metavar="JOB|provider:NAME|all")
@click.option("--budget", metavar="MONEY", help="the job's budget from now on")
@dry_run_option()
@click.pass_obj
def resume(session: Session, /, target: str, budget: str | None, dry_run: bool) -> None:
    """Go on: end a pause, open a closed gate, release parked batches, accept a failed canary.

    A parked batch goes on in the way its cause allows; explain says which before.
    """
    from orchestrator import api  # noqa: PLC0415 - help needs none of it
    from orchestrator.engine.admission import read_budget  # noqa: PLC0415

    with _app(session) as app:
        names, providers = _targets(app, target)
        limit = read_budget(budget)
        if limit is not None and len(names) != 1:
            raise UsageError("--budget is one job's", next="orchestrator resume JOB --budget ...")
        done = api.resume(
            app.context(), names=names, providers=providers, budget=limit, dry_run=dry_run
        )
    text = _told("resumed", done, dry_run)
    if not (done.jobs or done.providers or done.batches or done.stages or done.sinks):
        text = f"nothing to do: {target} is neither paused nor parked nor held"
    session.console.result("resume", text, _data(done, dry_run))


@command(examples=("orchestrator cancel reviews", "orchestrator cancel reviews/b03"))
@click.argument("target", metavar="JOB|BATCH")
@confirm_option()
@yes_option()
@dry_run_option()
@click.pass_obj
def cancel(session: Session, /, target: str, confirm: str | None, yes: bool, dry_run: bool) -> None:
    """Ask no further; answers that are finished already are still collected.

    A whole job asks for its name (--confirm NAME), a batch for a yes (--yes).
    """
    from orchestrator import api  # noqa: PLC0415 - help needs none of it

    with _app(session) as app:
        registry = app.reading()
        if _names_a_batch(target):
            job, batch = api.find_batch(registry, target)
            if not dry_run:
                _confirm_batch(session, job, batch, yes=yes)
            done = api.cancel_batch(app.context(), job.name, batch.number, dry_run=dry_run)
        elif api.waits_as_stage(registry, target):
            if not dry_run:
                facts = ["it has not begun: nothing was sent", "what waits for it will be held"]
                session.console.confirm_name(
                    f"cancel stage {target}?", target, given=confirm, facts=facts
                )
            done = api.cancel_stage(app.context(), target, dry_run=dry_run)
        else:
            job = api.find_job(registry, target)
            if not dry_run:
                _confirm_job(session, job, confirm)
            done = api.cancel_job(app.context(), job.name, dry_run=dry_run)
    text = _told("cancelled", done, dry_run)
    if done.records:
        text += f"; {human.plural(done.records, 'record')} that waited will not be asked"
    text += f"; see: orchestrator explain {target}"
    if not done.jobs and not done.batches:
        text = f"nothing to do: {target} has ended or is being cancelled already"
    session.console.result("cancel", text, _data(done, dry_run))


@command(
    examples=(
        "orchestrator retry reviews",
        "orchestrator retry reviews --where cause:overloaded --dry-run",
    )
)
@click.argument("job", metavar="JOB")
@where_option(RECORD_FIELDS)
@click.option("--provider", metavar="P", help="ask this provider instead, from now on")
@dry_run_option()
@click.pass_obj
def retry(
    session: Session, /, job: str, where: Filter, provider: str | None, dry_run: bool
) -> None:
    """Ask failed and expired records again, all of a job or those that match.

    Says count and estimated cost first. Nothing to retry is fine.
    """
    from orchestrator import api  # noqa: PLC0415 - help needs none of it

    with _app(session) as app:
        name = api.find_job(app.reading(), job).name
        ctx = app.context()
        rehearsed = api.retry(ctx, name, where, provider=provider, dry_run=True)
        if rehearsed.records and not dry_run:
            session.console.note(
                f"{human.plural(rehearsed.records, 'record')} of job {name} will be asked again"
                f"; about {_cost(app, name, rehearsed.records)}"
            )
        done = rehearsed if dry_run else api.retry(ctx, name, where, provider=provider)
    verb = "would requeue" if dry_run else "requeued"
    text = f"{verb} {human.plural(done.records, 'record')} of job {name}"
    text += f"; see: orchestrator watch {name}" if done.records else ": nothing to retry"
    session.console.result("retry", text, _data(done, dry_run))


def _app(session: Session) -> App:
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it

    return App(session.configuration)


def _targets(app: App, target: str) -> tuple[list[str], list[str]]:
    """Return the jobs and providers that `target` names."""
    from orchestrator import api  # noqa: PLC0415 - help needs none of it

    registry = app.reading()
    if target == _ALL:
        return api.steerable(registry)
    if target.startswith(_PROVIDER):
        return [], [app.configuration.provider(target.removeprefix(_PROVIDER)).name]
    if api.waits_as_stage(registry, target):
        return [target], []
    return [api.find_job(registry, target).name], []


def _names_a_batch(target: str) -> bool:
    return "/" in target or target.startswith("batch")


def _confirm_job(session: Session, job: Job, given: str | None) -> None:
    books = job.books
    facts = [
        f"{books.recorded:,} outcomes stay, {books.waiting:,} waiting records are not asked",
        f"{books.in_flight:,} are in flight: what the provider has finished is collected and paid",
    ]
    question = f"cancel job {job.name}?"
    session.console.confirm_name(question, job.name, given=given, facts=facts)


def _confirm_batch(session: Session, job: Job, batch: Batch, *, yes: bool) -> None:
    facts = [
        f"{batch.requests:,} requests; what the provider has finished is collected and paid",
        "its other records end as cancelled",
    ]
    session.console.confirm(f"cancel batch {job.name}/{batch.label}?", yes=yes, facts=facts)


def _cost(app: App, name: str, records: int) -> str:
    """Return what `records` cost at the price of the job's answers so far."""
    from orchestrator import api  # noqa: PLC0415 - help needs none of it

    estimate = api.cost_of(app.reading(), app.providers, name, records)
    return human.money(estimate.amount, estimate.currency) if estimate else "an unknown cost"


def _told(verb: str, done: Steered, dry_run: bool) -> str:
    parts = []
    if done.jobs:
        parts.append(f"{'jobs' if len(done.jobs) > 1 else 'job'} {', '.join(done.jobs)}")
    if done.providers:
        parts.append(f"provider {', '.join(done.providers)}")
    if done.stages:
        parts.append(f"{'stages' if len(done.stages) > 1 else 'stage'} {', '.join(done.stages)}")
    if done.batches:
        batches = human.samples(done.batches)
        parts.append(f"{human.plural(len(done.batches), 'batch', 'batches')} {', '.join(batches)}")
    if done.sinks:
        sinks = human.plain(", ".join(done.sinks))
        parts.append(f"{'sink' if len(done.sinks) == 1 else 'sinks'} {sinks}")
    return f"{'would have ' if dry_run else ''}{verb} {', '.join(parts)}"


def _data(done: Steered, dry_run: bool) -> dict[str, object]:
    return {**asdict(done), "dry_run": dry_run}
