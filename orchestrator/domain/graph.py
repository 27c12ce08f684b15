"""A workflow as a picture of words: its jobs, each behind the one that it takes its records from.

Every job has at most one job before it, so that a workflow is a few trees. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.domain.model import Books


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A job of a workflow. `books` is None before it has begun; `words` say what it waits for."""

    name: str
    upstream: str | None = None
    stream: bool = False
    state: str = "declared"
    books: Books | None = None
    passed_over: int = 0
    words: str = ""

    def counts(self) -> str:
        """Return `991 of 1,000 succeeded, 9 failed`; empty before the job has begun."""
        books = self.books
        if books is None:
            return ""
        parts = [f"{books.succeeded:,} of {books.records:,} succeeded"]
        rest = {word: getattr(books, word) for word in ("failed", "expired", "cancelled", "open")}
        rest["passed over"] = self.passed_over
        parts += [f"{number:,} {word}" for word, number in rest.items() if number]
        return ", ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        books = self.books or Books()
        return {
            "job": self.name,
            "upstream": self.upstream,
            "stream": self.stream,
            "state": self.state,
            "begun": self.books is not None,
            "records": books.records,
            "succeeded": books.succeeded,
            "failed": books.failed,
            "expired": books.expired,
            "cancelled": books.cancelled,
            "open": books.open,
            "passed_over": self.passed_over,
            "words": self.words,
        }


@dataclass(frozen=True, slots=True)
class Graph:
    """The jobs of a workflow, each behind its upstream."""

    workflow: str
    nodes: tuple[Node, ...]

    def roots(self) -> list[Node]:
        """Return the jobs that no other job of the workflow feeds."""
        names = {node.name for node in self.nodes}
        return [node for node in self.nodes if node.upstream not in names]

    def behind(self, name: str) -> list[Node]:
        """Return the jobs that take their records from this one."""
        return [node for node in self.nodes if node.upstream == name]

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"workflow": self.workflow, "jobs": [node.to_dict() for node in self.nodes]}


def as_text(graph: Graph, *, unicode: bool = True) -> Iterator[str]:
    """Yield a line a job, each below the one before it."""
    yield f"workflow {graph.workflow}"
    for root in graph.roots():
        yield _line(root)
        yield from _below(graph, root, "", unicode=unicode)


def _below(graph: Graph, node: Node, indent: str, *, unicode: bool) -> Iterator[str]:
    behind = graph.behind(node.name)
    for number, child in enumerate(behind, 1):
        last = number == len(behind)
        corner, side = _strokes(last=last, unicode=unicode)
        yield f"{indent}{corner}{_line(child)}"
        yield from _below(graph, child, indent + side, unicode=unicode)


def _strokes(*, last: bool, unicode: bool) -> tuple[str, str]:
    if unicode:
        return ("└─ ", "   ") if last else ("├─ ", "│  ")
    return ("`- ", "   ") if last else ("|- ", "|  ")


def _line(node: Node) -> str:
    parts = [node.name, node.state, node.counts(), "as answers come" if node.stream else ""]
    return "  ".join(part for part in (*parts, node.words) if part)


def as_dot(graph: Graph) -> str:
    """Return the graph in the language of Graphviz; a dashed edge carries answers as they come."""
    lines = [f"digraph {_quoted(graph.workflow)} {{", "  rankdir=LR;", "  node [shape=box];"]
    for node in graph.nodes:
        label = _quoted("\n".join(part for part in (node.name, node.state, node.counts()) if part))
        lines.append(f"  {_quoted(node.name)} [label={label}];")
    for node in graph.nodes:
        if node.upstream is not None:
            style = " [style=dashed]" if node.stream else ""
            lines.append(f"  {_quoted(node.upstream)} -> {_quoted(node.name)}{style};")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def layers(graph: Graph) -> Sequence[tuple[Node, int, float]]:
    """Return each job with its place: how many jobs are before it, and its row.

    Every tree has rows of its own; a job stands in the middle of those behind it.
    """
    placed: list[tuple[Node, int, float]] = []
    row = 0.0
    for root in graph.roots():
        _, row = _place(graph, root, 0, row, placed)
    return placed


def _place(
    graph: Graph, node: Node, depth: int, row: float, placed: list[tuple[Node, int, float]]
) -> tuple[float, float]:
    """Place a job and all behind it from `row` on; return its own row and the next free one."""
    behind = graph.behind(node.name)
    rows = []
    for child in behind:
        at, row = _place(graph, child, depth + 1, row, placed)
        rows.append(at)
    mine = (rows[0] + rows[-1]) / 2 if rows else row
    placed.append((node, depth, mine))
    return mine, row if rows else row + 1
