"""A workflow as it stands: a tree of words in a shell, a picture in a notebook."""

from __future__ import annotations

from typing import Any

from orchestrator import documents
from orchestrator.domain.graph import Graph, as_dot, as_text
from orchestrator.domain.graph_svg import as_svg


class WorkflowGraph:
    """The jobs of a workflow, each behind the one that feeds it, with states and counts."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    @property
    def name(self) -> str:
        """The name of the workflow."""
        return self.graph.workflow

    def to_dict(self) -> dict[str, Any]:
        """Return the workflow as `orchestrator graph --json` has it."""
        found = documents.jsonable(self.graph.to_dict())
        return found if isinstance(found, dict) else {}

    def dot(self) -> str:
        """Return it in the language of Graphviz."""
        return as_dot(self.graph)

    def __str__(self) -> str:
        """Return the tree, a job a line."""
        return "\n".join(as_text(self.graph))

    def __repr__(self) -> str:
        """Return one line."""
        return f"<WorkflowGraph {self.name!r} {len(self.graph.nodes)} jobs>"

    def _repr_svg_(self) -> str:
        """Return what a notebook shows."""
        return as_svg(self.graph)
