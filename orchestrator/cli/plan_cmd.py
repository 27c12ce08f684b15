"""`orchestrator plan`: what a job would be, before anything is sent."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.intake_options import FLAGS, STANDARD_INPUT, declared_job, intake_options
from orchestrator.cli.output import Console
from orchestrator.cli.plan_money import budget_lines, cost_words, tokens_line
from orchestrator.cli.session import Session
from orchestrator.domain.errors import SinkError, UsageError
from orchestrator.domain.money import Money
from orchestrator.domain.units import format_duration

if TYPE_CHECKING:
    from orchestrator.api import Plan
    from orchestrator.domain.intake import Request

_LABEL = 11
_FIRST = 23
_FILES_NAMED = 3
_SHOWN_BODY = 4_000


@command(
    examples=(
        'orchestrator plan reviews.csv --key id --prompt "Positive? One word: {text}"',
        "orchestrator plan reviews --show 2",
        "orchestrator plan reviews -o plan.json",
    )
)
@click.argument("source", metavar="SPEC|FILE|-")
@intake_options
@click.option(
    "--show", type=click.IntRange(min=0), default=0, metavar="N", help="render N requests"
)
@click.option(
    "-o", "--output", metavar="FILE", help="keep the plan as a contract for submit --plan"
)
@click.pass_obj
def plan(session: Session, /, source: str, show: int, output: str | None, **options: Any) -> None:  # noqa: ANN401 - the shared options, read by name
    """Show what a job would be: rows, requests, batches, tokens, cost. Sends and stores nothing.

    SOURCE is a job spec of the configuration, a file, pattern or URL, sql:CONNECTION, job:NAME, or
    - for standard input.
    """
    from orchestrator import api  # noqa: PLC0415 - help needs none of it
    from orchestrator.api.plan_document import plan_document  # noqa: PLC0415
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.provider.profiles import load_profile  # noqa: PLC0415

    if output and source == STANDARD_INPUT:
        raise UsageError(
            "a plan of standard input can't be kept: its records are gone afterwards",
            next="write them to a file, then: orchestrator plan FILE -o plan.json",
        )
    with (
        App(session.configuration) as app,
        declared_job(session, source, options, app.opening()) as declared,
    ):
        for note in declared.notes:
            session.console.note(note)
        spec = declared.spec
        settings = session.configuration.provider(spec.provider)
        profile = load_profile(settings.profile, prices=settings.prices)
        with tempfile.TemporaryDirectory(prefix="orchestrator-plan-") as folder:
            made = api.plan(
                spec,
                profile,
                workdir=Path(folder),
                show=show,
                files=declared.files,
                opening=app.opening(),
                at_hand=app.at_hand,
                day=session.console.now().date(),
                history=app.history,
            )
        if output:
            _keep(session.world.cwd / output, made)
        shown_as = _shown_path(session, source)
        typed = _typed(session, source, options, output)
        data = plan_document(made, submit=typed, contract=output)
        session.console.document(
            "plan", data, lambda console: _say(console, made, shown_as, typed, output)
        )


def _keep(path: Path, made: Plan) -> None:
    text = msgspec.json.format(msgspec.json.encode(made.contract), indent=2) + b"\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(text)
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise SinkError(
            f"{path} can't be written",
            code="ORC6002",
            why=(exc.strerror or type(exc).__name__).lower(),
            next="name a file in a folder that you may write to",
        ) from None


def _shown_path(session: Session, source: str) -> str:
    from orchestrator.settings.sources import location_of  # noqa: PLC0415 - help needs none of it

    if source not in session.configuration.settings.jobs:
        return "standard input" if source == STANDARD_INPUT else source
    location = location_of(session.configuration.job(source).source)
    several = location.count("\n")
    return f"{several + 1} files" if several else location.removeprefix(f"{session.world.cwd}/")


def _typed(session: Session, source: str, options: dict[str, Any], output: str | None) -> str:
    """Return the submit command that does what was planned."""
    if output:
        return f"orchestrator submit --plan {shlex.quote(output)}"
    words = ["orchestrator"]
    words += ["--config", str(session.config_file)] if session.config_file else []
    words += ["--env", session.env] if session.env else []
    words += ["submit", source]
    for name, value in options.items():
        flag = FLAGS.get(name) or f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, timedelta):
            words += [flag, format_duration(value)]
        elif isinstance(value, tuple):
            words += [word for one in value for word in (flag, str(one))]
        elif value not in (None, False):
            words += [flag, str(value)]
    return shlex.join(words)


def _say(console: Console, made: Plan, shown_as: str, typed: str, output: str | None) -> None:
    width = min(console.width, 100) if console.tty else 100
    title = f'plan for job "{made.spec.name}"'
    console.say(f"{title:<61} nothing has been sent")
    for label, first, second in _lines(made, shown_as, console.now()):
        head = f"{label:<{_LABEL}}{first}"
        if second:
            head = f"{label:<{_LABEL}}{first + '  ':<{_FIRST}}{second}"
        console.say(human.fit(head, width, unicode=console.unicode) if console.tty else head)
    console.say(f"{'submit':<{_LABEL}}{typed}")
    if output:
        console.note(f"kept as {output}: submit --plan refuses if source or template have changed")
    for request in made.samples:
        _show(console, made, request)


def _lines(made: Plan, shown_as: str, now: datetime) -> list[tuple[str, str, str]]:
    scan = made.scan
    identical = f"{scan.identical:,} have a prompt identical to another" if scan.identical else ""
    return [
        ("source", shown_as, _source(made)),
        *_chosen(made),
        ("requests", f"{scan.requests:,}", identical),
        *_unsent(made, now),
        ("batches", *_batches(made)),
        ("tokens", tokens_line(made.estimate), ""),
        ("finish", _finish(made), ""),
        ("cost", *cost_words(made.estimate, _models(made))),
        *budget_lines(made),
    ]


def _source(made: Plan) -> str:
    scan = made.scan
    rows = human.plural(scan.rows, "row")
    if made.key is None:
        return f"{rows}, known by their line numbers, {scan.blank_rows:,} blank"
    unique = "unique"
    if scan.repeated:
        does = "left out" if made.spec.on_duplicate == "skip" else "numbered"
        unique = f"repeated {scan.repeated:,} times, these are {does}"
    return f'{rows}, key "{made.key}" {unique}, {scan.blank_rows:,} blank'


def _chosen(made: Plan) -> list[tuple[str, str, str]]:
    """Say what of the source is not sent, and whether it is another one than last time."""
    scan = made.scan
    told = []
    if scan.passed_over:
        told.append(f"{human.plural(scan.passed_over, 'record')} passed over by the condition")
    if scan.unchanged:
        told.append(f"{human.plural(scan.unchanged, 'record')} held by earlier jobs as they are")
    if scan.changed_since:
        told.append(f"the source has changed since job {scan.changed_since}")
    return [("", ", ".join(told), "")] if told else []


def _unsent(made: Plan, now: datetime) -> Iterator[tuple[str, str, str]]:
    """Yield what need not be sent: what asks the same as another, what was answered before."""
    scan, reuse = made.scan, made.reuse
    if scan.spare:
        how = "" if made.spec.dedup else ", with --dedup"
        yield "dedup", f"{scan.spare:,} fewer", f"each asked once{_worth(made, scan.spare)}{how}"
    if reuse.oldest is not None and reuse.newest is not None:
        ages = dict.fromkeys(human.relative(at, now) for at in (reuse.oldest, reuse.newest))
        told = f"answered by earlier jobs {' to '.join(ages)}{_worth(made, reuse.requests)}"
        yield "cache", f"{reuse.requests:,} fewer", told
    elif made.spec.cache:
        yield "cache", "none fewer", "no earlier job has an answer to one of them"


def _worth(made: Plan, requests: int) -> str:
    """Return what so many requests of the job cost, empty where no price or bound is known."""
    if made.cost is None or not made.scan.requests:
        return ""
    share = made.cost.amount * requests / made.scan.requests
    return f", about {human.money(share, made.cost.currency)} less"


def _batches(made: Plan) -> tuple[str, str]:
    scan, limits = made.scan, made.profile.limits
    sizes = [f"{file.requests:,}" for file in scan.files[:_FILES_NAMED]]
    if scan.files_total > len(sizes):
        sizes.append("...")
    bounds = [f"{human.size(limits.max_file_bytes)} a file"]
    bounds += [f"{limits.files:,} files"] if limits.files else []
    files = f"{human.plural(scan.files_total, 'file')}, {human.size(scan.bytes)}"
    return files, f"{' + '.join(sizes)} lines   limits: {', '.join(bounds)}"


def _finish(made: Plan) -> str:
    ends = f"the window ends {made.spec.window} after creation"
    return f"unknown: no history with this model yet; {ends}"


def _price(amount: object, *, bounded: bool) -> str:
    """Say what one request costs, to the last digit: cents would all be nothing."""
    if not isinstance(amount, Money):
        return "cost unknown"
    exact = f"{amount.amount.normalize():f} {amount.currency}"
    return f"at most {exact}" if bounded else f"{exact} without the answer"


def _models(made: Plan) -> str:
    return ", ".join(human.samples([stats.model for stats in made.scan.models]))


def _money(amount: Money) -> str:
    return human.money(amount.amount, amount.currency)


def _show(console: Console, made: Plan, request: Request) -> None:
    from orchestrator.api.plan_document import sample  # noqa: PLC0415 - help needs none of it

    told = sample(made, request)
    tokens, octets = told["tokens_in"], human.size(request.size)
    console.say()
    place = made.scan.shape.place(request.position)
    head = f"{place}  {request.custom_id}  about {tokens} tokens, {octets}"
    console.say(f"{head}, {_price(told['cost'], bounded=request.est_out is not None)}")
    text = msgspec.json.format(msgspec.json.encode(told["body"]), indent=2).decode()
    if len(text) > _SHOWN_BODY:
        text = f"{text[:_SHOWN_BODY]}\n... {len(text) - _SHOWN_BODY:,} characters more (--json)"
    for line in text.splitlines():
        console.say(f"  {human.plain(line)}")
