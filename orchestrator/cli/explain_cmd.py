"""`orchestrator explain`: what happened, what comes next, what you can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import prices_of, reading
from orchestrator.cli.session import Session

if TYPE_CHECKING:
    from orchestrator.api.stories import Choice, Explanation
    from orchestrator.cli.output import Console


@command(
    examples=(
        "orchestrator explain labels",
        "orchestrator explain labels/b07",
        "orchestrator explain page-88121 --job labels",
        "orchestrator explain provider:kimi",
    )
)
@click.argument("subject", metavar="JOB|BATCH|KEY|provider:NAME")
@click.option("--job", metavar="JOB", help="SUBJECT is the key of a record of this job")
@click.pass_obj
def explain(session: Session, subject: str, job: str | None) -> None:
    """Say in prose what happened, what is next, what comes if you do nothing, and your choices."""
    from orchestrator.api import explaining  # noqa: PLC0415 - help needs no database

    console = session.console
    now = console.now()
    with reading(session) as registry:
        story = explaining.explain(
            registry,
            subject,
            now=now,
            job=job,
            prices=prices_of(session),
            say_time=lambda moment: human.clock(moment, now, console.zone()),
        )

    def speak(console: Console) -> None:
        for line in _lines(story, console):
            console.say(line)

    console.document("explain", story.to_dict(), speak)


def _lines(story: Explanation, console: Console) -> Iterator[str]:
    name = console.style(human.plain(story.subject), "bold")
    yield f"{name} is {human.plain(story.state).replace('_', ' ')}"
    yield from _part("happened", story.happened)
    yield from _part("next", story.next)
    yield from _part("if you do nothing", (story.if_nothing,))
    if story.choices:
        yield "your choices"
        for choice in story.choices:
            yield from _choice(choice)


def _part(title: str, sentences: tuple[str, ...]) -> Iterator[str]:
    yield title
    for sentence in sentences:
        yield f"  {human.plain(sentence)}"


def _choice(choice: Choice) -> Iterator[str]:
    about = ""
    if choice.money is not None:
        shown = human.money(choice.money.amount, choice.money.currency)
        about = f" ({shown})" if shown.startswith("<") else f" (about {shown})"
    yield f"  {human.plain(choice.command)}"
    yield f"      {choice.effect}{about}"
