"""A workflow as an SVG picture: a box for each job, an arrow for each hand-over.

Colours follow the reader's light or dark scheme; every word is text, so that it can be found,
copied and read aloud. A dashed arrow carries answers as they come.
"""

from __future__ import annotations

from html import escape

from orchestrator.domain.graph import Graph, Node, layers

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 236, 66, 56, 22, 16
_MOST_CHARACTERS = 34
_COLOURS = {
    "finished": "#1a7f37",
    "running": "#0969da",
    "feeding": "#0969da",
    "registering": "#0969da",
    "held": "#cf222e",
    "cancelled": "#cf222e",
    "cancelling": "#cf222e",
    "paused": "#9a6700",
}
_OTHER = "#6e7781"
_STYLE = """
  svg { color-scheme: light dark; }
  .paper { fill: #ffffff; } .box { fill: #f6f8fa; stroke-width: 1.5; }
  .name { fill: #1f2328; font: 600 14px sans-serif; }
  .word { fill: #59636e; font: 12px sans-serif; }
  .way { stroke: #59636e; stroke-width: 1.5; fill: none; } .head { fill: #59636e; }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; } .box { fill: #161b22; }
    .name { fill: #f0f6fc; } .word { fill: #9198a1; }
    .way { stroke: #9198a1; } .head { fill: #9198a1; }
  }
""".strip("\n")


def as_svg(graph: Graph) -> str:
    """Return the graph as an SVG document."""
    placed = {node.name: (node, *_corner(depth, row)) for node, depth, row in layers(graph)}
    width = max((x for _, x, _ in placed.values()), default=0) + _WIDTH + _EDGE
    height = max((y for _, _, y in placed.values()), default=0) + _HEIGHT + _EDGE
    title = escape(f"workflow {graph.workflow}")
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
    )
    arrow = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>'
    )
    ways = [
        _way(placed[node.upstream][1:], (x, y), stream=node.stream)
        for node, x, y in placed.values()
        if node.upstream is not None and node.upstream in placed
    ]
    boxes = [_box(*each) for each in placed.values()]
    parts = [head, f"<title>{title}</title>", f"<style>\n{_STYLE}\n</style>", arrow]
    paper = f'<rect class="paper" width="{width:g}" height="{height:g}"/>'
    return "\n".join([*parts, paper, *ways, *boxes, "</svg>"])


def _corner(depth: int, row: float) -> tuple[float, float]:
    """Return the upper left corner of a job's box."""
    return _EDGE + depth * (_WIDTH + _GAP_X), _EDGE + row * (_HEIGHT + _GAP_Y)


def _way(begin: tuple[float, float], end: tuple[float, float], *, stream: bool) -> str:
    x1, y1 = begin[0] + _WIDTH, begin[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    middle = (x1 + x2) / 2
    dashes = ' stroke-dasharray="5 4"' if stream else ""
    path = f"M{x1:g} {y1:g}C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
    return f'<path class="way"{dashes} marker-end="url(#head)" d="{path}"/>'


def _box(node: Node, x: float, y: float) -> str:
    colour = _COLOURS.get(node.state, _OTHER)
    words = [("name", node.name, 24), ("word", node.state, 41)]
    words.append(("word", node.counts() or node.words, 57))
    texts = "".join(
        f'<text class="{kind}" x="{x + 12:g}" y="{y + down:g}">{escape(_cut(text))}</text>'
        for kind, text, down in words
        if text
    )
    frame = f'x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"'
    full = escape(
        ". ".join(part for part in (node.name, node.state, node.counts(), node.words) if part)
    )
    return f'<g><title>{full}</title><rect class="box" stroke="{colour}" {frame}/>{texts}</g>'


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
