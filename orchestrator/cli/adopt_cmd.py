"""`orchestrator adopt`: stray batches in a list, one of them taken in, or let go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import reading
from orchestrator.cli.options import dry_run_option, yes_option
from orchestrator.cli.session import Session
from orchestrator.cli.tables import Column
from orchestrator.domain.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.api.strays import StrayView
    from orchestrator.app import App

_COLUMNS = (
    Column("remote_id", "id"),
    Column("provider"),
    Column("job"),
    Column("batch"),
    Column("status"),
    Column("verdict"),
    Column("since", "clock"),
    Column("row", header="FOLLOWED BY"),
    Column("reason"),
    Column("created_at", "clock", shown=False),
)


@command(
    examples=(
        "orchestrator adopt --list",
        "orchestrator adopt batch_67b1c2 --dry-run",
        "orchestrator adopt batch_67b1c2 --forget",
    )
)
@click.argument("remote_id", metavar="REMOTE_ID", required=False)
@click.option("--list", "listing", is_flag=True, help="list stray batches (so does no REMOTE_ID)")
@click.option("--forget", is_flag=True, help="let it go: its records are asked, and paid, again")
@yes_option()
@dry_run_option()
@click.pass_obj
def adopt(
    session: Session,
    remote_id: str | None,
    listing: bool,
    forget: bool,
    yes: bool,
    dry_run: bool,
) -> None:
    """List stray batches, take one in, or let it go.

    A stray is a batch under this registry's name at the provider that no row has sent: the registry
    has lost its latest commits, is an old backup, or has a copy at work elsewhere. Audits take
    strays in by themselves where they can; this is for those that wait for a person.
    """
    if remote_id is None:
        if forget:
            raise UsageError("--forget needs a REMOTE_ID", next="orchestrator adopt --list")
        _list(session)
        return
    if listing:
        raise UsageError("--list takes no REMOTE_ID", next="orchestrator adopt --list")
    (_forget if forget else _adopt)(session, remote_id, yes=yes, dry_run=dry_run)


def _list(session: Session) -> None:
    from orchestrator.api.strays import list_strays  # noqa: PLC0415 - help needs no database

    with reading(session) as registry:
        rows = [view.to_dict() for view in list_strays(registry)]
    session.console.table("adopt.list", rows, _COLUMNS, empty="no stray batch was ever met")


def _adopt(session: Session, remote_id: str, *, yes: bool, dry_run: bool) -> None:
    from orchestrator.api import recovering  # noqa: PLC0415 - help needs none of it
    from orchestrator.api.strays import find_stray  # noqa: PLC0415
    from orchestrator.domain.model import StrayVerdict  # noqa: PLC0415

    with _app(session) as app:
        found = find_stray(app.reading(), remote_id)
        if found.stray.verdict is StrayVerdict.ADOPTED:
            text = f"nothing to do: {found.row} follows {remote_id}"
            _tell(session, text, found, dry_run=dry_run)
            return
        provider = app.providers.get(found.stray.provider)
        remote = recovering.ask_for(provider, remote_id)
        words = recovering.outlook(app.registry, remote)
        if dry_run:
            _tell(session, f"{remote_id}: {words}; nothing was changed", found, dry_run=True)
            return
        facts = [f"it is {remote.word}, of job {found.stray.job_name or '?'}", words]
        session.console.confirm(f"adopt {remote_id}?", yes=yes, facts=facts)
        done = recovering.adopt(app.context(), remote_id)
    follows = f"; see: orchestrator batches show {done.row}" if done.row else ""
    text = f"{remote_id} is {done.stray.verdict}: {done.stray.reason}{follows}"
    _tell(session, text, done, dry_run=False)


def _forget(session: Session, remote_id: str, *, yes: bool, dry_run: bool) -> None:
    from orchestrator.api import strays  # noqa: PLC0415 - help needs none of it

    with _app(session) as app:
        found = strays.find_stray(app.reading(), remote_id)
        job = found.stray.job_name
        if not strays.is_forgettable(found.stray):
            why = f"{found.row} follows it" if found.row else "it was let go before"
            _tell(session, f"nothing to forget: {why}", found, dry_run=dry_run)
            return
        if dry_run:
            text = f"would let {remote_id} go; records of {job} that it holds would be asked again"
            _tell(session, text, found, dry_run=True)
            return
        facts = [
            f"it is {found.stray.word}: what it has done is billed, and its answers are not used",
            f"records of {job} that it holds are asked, and paid, once more",
            "the batch itself is left alone at the provider",
        ]
        session.console.confirm(f"forget {remote_id}?", yes=yes, facts=facts)
        done = strays.forget(app.context(), remote_id)
    text = f"let {remote_id} go; undo: orchestrator adopt {remote_id}"
    _tell(session, text, done, dry_run=False)


def _tell(session: Session, text: str, view: StrayView, *, dry_run: bool) -> None:
    data = {**view.to_dict(), "dry_run": dry_run, "told": text}
    session.console.result("adopt", human.plain(text), data)


def _app(session: Session) -> App:
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it

    return App(session.configuration)
