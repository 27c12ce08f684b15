"""`orchestrator graph`: workflows as trees with states and counts, as DOT or as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from orchestrator.cli.command import command
from orchestrator.cli.looking import reading
from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.cli.output import Console
    from orchestrator.domain.graph import Graph

Format = Literal["text", "dot", "svg"]


@command(
    examples=(
        "orchestrator graph",
        "orchestrator graph reviews.toml",
        "orchestrator graph reviews --format svg > reviews.svg",
    )
)
@click.argument("subject", metavar="FILE|WORKFLOW", required=False)
@click.option(
    "--format",
    "kind",
    type=click.Choice(("text", "dot", "svg")),
    default="text",
    show_default=True,
    help="a tree of words, a graph for Graphviz, or a picture",
)
@click.pass_obj
def graph(session: Session, /, subject: str | None, kind: Format) -> None:
    """Show workflows: which job feeds which, how each stands, what it waits for.

    A file is shown as it is declared, a workflow's name as the registry has it; without either,
    all that were ever applied.
    """
    found = _graphs(session, subject)
    if kind != "text" and len(found) != 1:
        raise UsageError(
            f"there are {len(found)} workflows; one picture shows one",
            why=", ".join(each.workflow for each in found) or "none was ever applied",
            next=f"orchestrator graph WORKFLOW --format {kind}",
        )

    def speak(console: Console) -> None:
        for each in found:
            for line in _lines(each, kind, console):
                console.say(line)
        if not found:
            console.note("no workflow was applied yet; see: orchestrator apply --help")

    data: dict[str, object] = {"workflows": [each.to_dict() for each in found]}
    session.console.document("graph", data, speak)


def _graphs(session: Session, subject: str | None) -> list[Graph]:
    from orchestrator.api.graphs import declared_graph, stored_graphs  # noqa: PLC0415 - as needed
    from orchestrator.settings.workflows import read_workflow  # noqa: PLC0415

    path = session.world.cwd / subject if subject else None
    if path is not None and (path.is_file() or Path(subject or "").suffix == ".toml"):
        return [declared_graph(read_workflow(session.configuration, path))]
    with reading(session) as registry:
        return stored_graphs(registry, subject)


def _lines(found: Graph, kind: Format, console: Console) -> list[str]:
    from orchestrator import human  # noqa: PLC0415 - as above
    from orchestrator.domain.graph import as_dot, as_text  # noqa: PLC0415
    from orchestrator.domain.graph_svg import as_svg  # noqa: PLC0415

    if kind == "text":
        return [human.plain(line) for line in as_text(found, unicode=console.unicode)]
    return [as_dot(found) if kind == "dot" else as_svg(found)]
