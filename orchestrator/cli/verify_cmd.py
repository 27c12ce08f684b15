"""`orchestrator verify`: recount a job from its rows and an exported file, equation by equation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli import human
from orchestrator.cli.command import command
from orchestrator.cli.looking import prices_of, reading
from orchestrator.cli.session import Session

if TYPE_CHECKING:
    from orchestrator.cli.output import Console

BOOKS_FAILED = 6


@command(
    examples=("orchestrator verify labels", "orchestrator verify labels --export labels.jsonl")
)
@click.argument("job")
@click.option("--export", "exported", metavar="FILE", help="check this exported file too")
@click.pass_obj
def verify(session: Session, job: str, exported: str | None) -> int | None:
    """Recount everything of a job from its rows; exit 6 if an equation does not hold.

    It reads every row of the job, which takes a while for millions. Nothing is changed.
    """
    from orchestrator.api import lookup, verifying  # noqa: PLC0415 - help needs no database

    path = session.world.cwd / Path(exported).expanduser() if exported else None
    with reading(session) as registry:
        found = lookup.find_job(registry, job)
        equations = verifying.verify(registry, found, export=path, prices=prices_of(session))
    wrong = [equation for equation in equations if not equation.ok]
    data = {
        "job": found.name,
        "export": exported,
        "ok": not wrong,
        "equations": [
            {"what": e.what, "left": e.left, "right": e.right, "ok": e.ok} for e in equations
        ],
    }

    def speak(console: Console) -> None:
        width = max(len(equation.what) for equation in equations)
        for equation in equations:
            sign, word = ("=", "ok") if equation.ok else ("!=", "WRONG")
            counts = f"{equation.left:,} {sign} {equation.right:,}"
            style = "green" if equation.ok else "red"
            console.say(f"{equation.what:<{width}}  {counts}  {console.style(word, style)}")

    session.console.document("verify", data, speak)
    if not wrong:
        return None
    words = human.plural(len(wrong), "equation")
    session.console.note(f"{words} of {found.name} do not hold: orchestrator help ORC5001")
    return BOOKS_FAILED
