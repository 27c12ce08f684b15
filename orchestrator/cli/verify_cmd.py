"""`orchestrator verify`: the invariants over all rows, the books of a job, the provider's side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import prices_of, reading
from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.api.comparing import Comparison
    from orchestrator.api.invariants import Check
    from orchestrator.api.verifying import Equation
    from orchestrator.cli.output import Console
    from orchestrator.registry.session import Registry
    from orchestrator.spool import Spool

BOOKS_FAILED = 6
_CHECKS_FAILED = "ORC5213"
_DIFFERENT = "ORC5214"
EVERY = "*"

_LEAST_KEY = 6
"""Characters of a key: a shorter one is found in any text."""


@command(
    examples=(
        "orchestrator verify",
        "orchestrator verify labels",
        "orchestrator verify labels --export labels.jsonl",
        "orchestrator verify --provider kimi",
    )
)
@click.argument("job", required=False)
@click.option("--export", "exported", metavar="FILE", help="check this exported file of JOB too")
@click.option(
    "--provider",
    "--remote",
    "provider",
    is_flag=False,
    flag_value=EVERY,
    metavar="[NAME]",
    help="hold what providers have under our name against the rows; all of them without a NAME",
)
@click.pass_obj
def verify(
    session: Session, job: str | None, exported: str | None, provider: str | None
) -> int | None:
    """Check the invariants over every row, or over those of one job; exit 6 if one is broken.

    With a JOB its books are recounted too, equation by equation. --provider lists batches and files
    of an account once and tells what no row knows, and what has drifted. Nothing is changed, here
    or there.
    """
    if provider is not None:
        _refuse(job or exported, "--provider looks at accounts, not at a job", "verify --provider")
        return _provider(session, provider)
    if job is None:
        _refuse(exported, "--export needs a JOB", "verify JOB --export FILE")
        return _registry(session)
    return _job(session, job, exported)


def _refuse(given: object, message: str, shape: str) -> None:
    if given:
        raise UsageError(message, next=f"orchestrator {shape}")


def _job(session: Session, job: str, exported: str | None) -> int | None:
    from orchestrator.api import invariants, lookup, verifying  # noqa: PLC0415 - no database in help

    path = session.world.cwd / Path(exported).expanduser() if exported else None
    with reading(session) as registry:
        found = lookup.find_job(registry, job)
        equations = verifying.verify(registry, found, export=path, prices=prices_of(session))
        checks = invariants.check(
            registry, found, now=session.console.now(), spool=_spool(session, registry)
        )
    wrong = [equation for equation in equations if not equation.ok]
    broken = [check for check in checks if not check.ok]
    data = {
        "job": found.name,
        "export": exported,
        "ok": not wrong and not broken,
        "equations": [
            {"what": e.what, "left": e.left, "right": e.right, "ok": e.ok} for e in equations
        ],
        "checks": [check.to_dict() for check in checks],
    }

    def speak(console: Console) -> None:
        for line in _equations(equations, console):
            console.say(line)
        for line in _checks(checks, console):
            console.say(line)

    session.console.document("verify", data, speak)
    return _verdict(session, len(wrong), len(broken), f" of {found.name}")


def _registry(session: Session) -> int | None:
    from orchestrator.api import invariants  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:
        checks = invariants.check(
            registry,
            now=session.console.now(),
            spool=_spool(session, registry),
            secrets=_secrets(session),
        )
    broken = [check for check in checks if not check.ok]
    data = {
        "job": None,
        "export": None,
        "ok": not broken,
        "equations": [],
        "checks": [check.to_dict() for check in checks],
    }

    def speak(console: Console) -> None:
        for line in _checks(checks, console):
            console.say(line)

    session.console.document("verify", data, speak)
    return _verdict(session, 0, len(broken), "")


def _provider(session: Session, name: str) -> int | None:
    from orchestrator.api import comparing  # noqa: PLC0415 - help needs none of it
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.registry import identity  # noqa: PLC0415

    with App(session.configuration) as app:
        registry = app.reading()
        with registry.read() as db:
            instance = identity.identity(db)
        names = [app.configuration.provider(name).name] if name != EVERY else None
        found = [
            comparing.compare(
                registry, app.providers.get(each), instance, now=app.clock.now(), pace=app.pace
            )
            for each in names or comparing.known_providers(registry)
        ]
    different = sum(each.different for each in found)
    data = {
        "job": None,
        "export": None,
        "ok": not different,
        "equations": [],
        "providers": [each.to_dict() for each in found],
    }

    def speak(console: Console) -> None:
        for each in found:
            for line in _compared(each, console):
                console.say(line)
        if not found:
            console.note("this registry knows no provider")

    session.console.document("verify", data, speak)
    if not different:
        return None
    words = human.plural(different, "difference")
    session.console.note(f"{words} between registry and provider: orchestrator help {_DIFFERENT}")
    return BOOKS_FAILED


def _verdict(session: Session, wrong: int, broken: int, of: str) -> int | None:
    if wrong:
        words = human.plural(wrong, "equation")
        session.console.note(f"{words}{of} do not hold: orchestrator help ORC5001")
    if broken:
        words = human.plural(broken, "check")
        session.console.note(f"{words}{of} failed: orchestrator help {_CHECKS_FAILED}")
    return BOOKS_FAILED if wrong or broken else None


def _equations(equations: Sequence[Equation], console: Console) -> Iterator[str]:
    width = max(len(equation.what) for equation in equations)
    for equation in equations:
        sign = "=" if equation.ok else "!="
        counts = f"{equation.left:,} {sign} {equation.right:,}"
        yield f"{equation.what:<{width}}  {counts}  {_word(console, ok=equation.ok)}"


def _checks(checks: Sequence[Check], console: Console) -> Iterator[str]:
    for check in checks:
        found = f" {check.broken:,}" if check.broken else ""
        word = _word(console, ok=check.ok) if check.looked else "not checked"
        line = f"{check.invariant:<3}  {check.what}  {word}{found}"
        yield f"{line}  ({check.note})" if check.note else line
        for example in check.examples:
            yield f"       {human.plain(example)}"
        if check.broken > len(check.examples):
            yield f"       and {check.broken - len(check.examples):,} more"


def _word(console: Console, *, ok: bool) -> str:
    return console.style("ok", "green") if ok else console.style("WRONG", "red")


def _compared(found: Comparison, console: Console) -> Iterator[str]:
    listed = human.plural(found.listed, "batch", "batches")
    files = human.plural(found.files, "file")
    yield (
        f"{found.provider}: {listed} listed, {found.ours:,} ours, {found.strangers:,} of others"
        f" (left alone), {files}  {_word(console, ok=not found.different)}"
    )
    if found.lagging:
        yield f"  {found.lagging:,} moved on since the last look, which is usual"
    for note in found.notes:
        yield f"  {human.plain(note)}"
    for each in found.differences:
        kind = each.kind.replace("_", " ")
        yield f"  {kind:<9}  {human.plain(each.subject)}: {human.plain(each.words)}"
        if each.next:
            yield f"             next  {human.plain(each.next)}"
    if found.different > len(found.differences):
        yield f"  and {found.different - len(found.differences):,} more"


def _spool(session: Session, registry: Registry) -> Spool | None:
    """Return this machine's files of the registry; None if it has none."""
    from orchestrator.registry import identity  # noqa: PLC0415 - help needs no database
    from orchestrator.spool import Spool  # noqa: PLC0415

    with registry.read() as db:
        name = identity.identity(db)
    folder = session.configuration.spool_directory / name if name else None
    return Spool(folder, owner="verify") if folder is not None and folder.is_dir() else None


def _secrets(session: Session) -> list[str]:
    """Return the keys that are known here: those of providers that can be used."""
    from orchestrator.domain.errors import OrchestratorError  # noqa: PLC0415
    from orchestrator.provider.profiles import load_profile  # noqa: PLC0415

    found: dict[str, None] = {}
    for name in session.configuration.provider_names:
        try:
            profile = load_profile(session.configuration.provider(name).profile)
            key = session.configuration.api_key(name, profile)
        except OrchestratorError:
            continue  # one without a key has none that could stand anywhere
        if key is not None and len(key.reveal()) >= _LEAST_KEY:
            found[key.reveal()] = None
    return list(found)
