"""`orchestrator recover`: look a whole account over; give a copied registry its own name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.options import confirm_option, dry_run_option, yes_option
from orchestrator.cli.session import Session
from orchestrator.domain.errors import NotFound, UsageError

if TYPE_CHECKING:
    from orchestrator.api.recovering import Recovery, Rehearsal, Renamed, Shared
    from orchestrator.app import App
    from orchestrator.cli.output import Console

_SHOWN = 20


@command(
    examples=(
        "orchestrator recover --dry-run",
        "orchestrator recover kimi",
        "orchestrator recover --new-identity",
    )
)
@click.argument("provider", required=False)
@click.option(
    "--new-identity",
    is_flag=True,
    help="this registry is a copy that is to live on by itself: give it a name of its own",
)
@confirm_option()
@yes_option()
@dry_run_option()
@click.pass_obj
def recover(
    session: Session,
    provider: str | None,
    new_identity: bool,
    confirm: str | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Look over everything at a provider, and take in what the registry does not know.

    Workers do this by themselves at their start and hourly, as far back as it is new. This goes
    back to the beginning: after a backup was restored, or a fault that nobody understood. It says
    what it would do and asks first. On SQLite no other worker may be at work.
    """
    if new_identity:
        if provider is not None:
            raise UsageError(
                "--new-identity is of the whole registry, not of a provider",
                next="orchestrator recover --new-identity",
            )
        _rename(session, confirm, dry_run=dry_run)
        return
    if confirm is not None:
        raise UsageError("--confirm goes with --new-identity", next="orchestrator recover --yes")
    _recover(session, provider, yes=yes, dry_run=dry_run)


def _recover(session: Session, provider: str | None, *, yes: bool, dry_run: bool) -> None:
    from orchestrator.api import recovering  # noqa: PLC0415 - help needs none of it
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.cli.logs import log_of  # noqa: PLC0415
    from orchestrator.registry.identity import identity  # noqa: PLC0415
    from orchestrator.service.work import at_work  # noqa: PLC0415

    log = log_of(session, quiet=not session.output.verbose)
    done: list[Recovery] = []
    with App(session.configuration, tell=log.told) as app:
        names = _names(app, provider)
        if dry_run:
            with app.registry.read() as db:
                instance = identity(db)
            rehearsed = _rehearsed(app, names, instance)
        else:
            with at_work(app, "recover") as ctx:
                rehearsed = _rehearsed(app, names, ctx.instance)
                _ask(session, rehearsed, yes=yes)
                done = [recovering.recover(ctx, name) for name in names]
    data = {
        "dry_run": dry_run,
        "providers": [
            {
                "provider": each.provider,
                "listed": each.listed,
                "ours": each.ours,
                "foreseen": [one.to_dict() for one in each.foreseen],
                "found": [view.to_dict() for one in done if one.provider == each.provider
                          for view in one.found],
            }
            for each in rehearsed
        ],
    }  # fmt: skip

    def speak(console: Console) -> None:
        lines = _foreseen(rehearsed) if dry_run else _found(rehearsed, done)
        for line in lines:
            console.say(line)
        if dry_run:
            console.say("nothing was changed")

    session.console.document("recover", data, speak)


def _rehearsed(app: App, names: Sequence[str], instance: str | None) -> list[Rehearsal]:
    from orchestrator.api.recovering import rehearse  # noqa: PLC0415 - help needs none of it

    return [rehearse(app.registry, app.providers.get(name), instance) for name in names]


def _ask(session: Session, rehearsed: Sequence[Rehearsal], *, yes: bool) -> None:
    """Say what would be done, and ask; where all is well there is nothing to ask."""
    count = sum(each.count for each in rehearsed)
    if not count:
        return
    if not session.console.machine:
        for line in _foreseen(rehearsed):
            session.console.note(line)
    question = f"recover {human.plural(count, 'batch', 'batches')}?"
    session.console.confirm(question, yes=yes, facts=_facts(rehearsed))


def _names(app: App, provider: str | None) -> list[str]:
    """Return the providers to look over: the one that is named, else those that are known."""
    from orchestrator.api.comparing import known_providers  # noqa: PLC0415 - help needs no database

    registry = app.reading()
    if provider is not None:
        return [app.configuration.provider(provider).name]
    names = known_providers(registry)
    if not names:
        raise NotFound(
            "this registry knows no provider",
            why="no job was ever submitted, or all of them after this backup was made",
            next="orchestrator recover PROVIDER",
        )
    return names


def _foreseen(rehearsed: Sequence[Rehearsal]) -> Iterator[str]:
    for each in rehearsed:
        listed = human.plural(each.listed, "batch", "batches")
        yield f"{each.provider}: {listed} listed, {each.ours:,} ours, {each.count:,} to see to"
        for one in each.foreseen[:_SHOWN]:
            what = f"{one.remote_id} ({one.status}), says it is {one.says}"
            yield f"  {human.plain(what)}: {human.plain(one.words)}"
        if each.count > _SHOWN:
            yield f"  and {each.count - _SHOWN:,} more"


def _facts(rehearsed: Sequence[Rehearsal]) -> list[str]:
    names = ", ".join(each.provider for each in rehearsed if each.count)
    return [
        f"batches at {names} that no row knows get one; nothing is sent again for their records",
        "one whose records all have their outcome, or travel elsewhere, is cancelled",
        "batches and files of others are left alone",
    ]


def _found(rehearsed: Sequence[Rehearsal], done: Sequence[Recovery]) -> Iterator[str]:
    ours = {each.provider: each.ours for each in rehearsed}
    for each in done:
        listed = human.plural(each.listed, "batch", "batches")
        yield f"{each.provider}: {listed} listed, {ours[each.provider]:,} ours"
        for view in each.found[:_SHOWN]:
            stray = view.stray
            row = f" by {view.row}" if view.row else ""
            yield f"  {stray.remote_id}  {stray.verdict}{row}: {human.plain(stray.reason)}"
        if len(each.found) > _SHOWN:
            yield f"  and {len(each.found) - _SHOWN:,} more: orchestrator adopt --list"
        if not each.found:
            yield "  every one of ours has its row: nothing had to be done"


def _rename(session: Session, confirm: str | None, *, dry_run: bool) -> None:
    from orchestrator.api import recovering  # noqa: PLC0415 - help needs none of it
    from orchestrator.app import App  # noqa: PLC0415
    from orchestrator.service.work import at_work  # noqa: PLC0415

    renamed = None
    with App(session.configuration) as app:
        common = recovering.shared(app.reading())
        if not common.identity:
            raise NotFound(
                "this registry has no identity yet: it has never prepared to send anything",
                next="orchestrator submit FILE --key COLUMN --prompt TEXT",
            )
        if not dry_run:
            if app.registry.path is None:
                recovering.refuse_beside_workers(app.registry, app.clock.now())
            question = f"give the registry {common.identity} another identity?"
            facts = list(_meaning(common))
            session.console.confirm_name(question, common.identity, given=confirm, facts=facts)
            with at_work(app, "recover") as ctx:
                renamed = recovering.new_identity(ctx)
    data = {
        "dry_run": dry_run,
        "old": common.identity,
        "new": renamed.new if renamed else None,
        "lifted": list(renamed.lifted) if renamed else [],
        "live": [{"batch": batch, "remote_id": remote} for batch, remote in common.live],
        "unsent": list(common.unsent),
        "waiting": [{"job": job, "records": count} for job, count in common.waiting],
        "strays": [stray.remote_id for stray in common.strays],
    }

    def speak(console: Console) -> None:
        if renamed is None:
            for line in _meaning(common):
                console.say(line)
            console.say("nothing was changed")
            return
        for line in _renamed(renamed, common):
            console.say(line)

    session.console.document("recover.identity", data, speak)


def _meaning(common: Shared) -> Iterator[str]:
    """Yield what another identity means, for this registry as it stands."""
    yield "what is sent from now on carries the new name; the other copy keeps the old one"
    if common.strays:
        some = human.samples([stray.remote_id for stray in common.strays])
        count = human.plural(len(common.strays), "stray")
        yield f"{count} under the old name {_is(common.strays)} the other copy's: {', '.join(some)}"
    if common.live:
        count = human.plural(len(common.live), "batch", "batches")
        yield f"{count} on the way {_is(common.live)} followed, and collected, by both copies"
        for name, remote_id in common.live[:_SHOWN]:
            yield f"  {name} ({remote_id})"
        if len(common.live) > _SHOWN:
            yield f"  and {len(common.live) - _SHOWN:,} more"
        yield "whichever collects one first removes its files: raise [daemon] keep_remote on both"
    if common.unsent:
        unsent = ", ".join(human.samples(common.unsent))
        yield f"not sent yet, and sent by whichever comes first: {unsent}"
    for name, records in common.waiting[:_SHOWN]:
        yield f"{name}: both copies would ask its {human.plural(records, 'waiting record')}"


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _renamed(renamed: Renamed, common: Shared) -> Iterator[str]:
    yield f"this registry is {renamed.new} from now on; it was {renamed.old}"
    for name in renamed.lifted:
        yield f"  {name} is no longer stopped"
    yield from (f"  {line}" for line in _meaning(common))
    names = [name for name, _ in common.waiting[:_SHOWN]]
    for name in names:
        yield f"  next   orchestrator pause {name}   (if the other copy is to do it)"
    if common.live:
        yield "  cancel JOB would cancel its batches for both: pause leaves them alone"
