"""Workflows on the screen: applied, drawn, as text, DOT, SVG and JSON."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from support.world import World
from views.conftest import screen

from flows.test_applying import FLOW
from orchestrator.domain.graph import Graph, Node, as_dot, as_text, layers
from orchestrator.domain.graph_svg import as_svg
from orchestrator.domain.model import Books

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def fits(name: str, text: str) -> Any:
    document = json.loads(text)
    shape = json.loads((ROOT / "config" / "schemas" / f"{name}.schema.json").read_text())
    jsonschema.validate(document, shape, cls=jsonschema.Draft202012Validator)
    return document["data"]


def a_graph() -> Graph:
    books = Books(records=10, succeeded=7, failed=1, waiting=2)
    return Graph(
        'a "flow"',
        (
            Node(name="classify", state="finished", books=books),
            Node(name="rewrite", upstream="classify", stream=True, state="running", books=books),
            Node(name="judge", upstream="rewrite", state="waiting", words="waits for rewrite"),
            Node(name="<other>", upstream="classify", state="held", words="held: {x} & y"),
        ),
    )


def test_the_text_is_a_tree_with_states_and_counts() -> None:
    assert list(as_text(a_graph())) == [
        'workflow a "flow"',
        "classify  finished  7 of 10 succeeded, 1 failed, 2 open",
        "├─ rewrite  running  7 of 10 succeeded, 1 failed, 2 open  as answers come",
        "│  └─ judge  waiting  waits for rewrite",
        "└─ <other>  held  held: {x} & y",
    ]
    assert "\n".join(as_text(a_graph(), unicode=False)).isascii()


def test_dot_quotes_names_and_dashes_what_streams() -> None:
    dot = as_dot(a_graph())
    assert dot.startswith('digraph "a \\"flow\\"" {')
    assert '  "classify" -> "rewrite" [style=dashed];' in dot
    assert '  "rewrite" -> "judge";' in dot
    assert dot.endswith("}")


def test_the_picture_is_valid_has_every_word_and_no_box_over_another() -> None:
    text = as_svg(a_graph())
    root = ET.fromstring(text)
    words = "".join(root.itertext())
    for node in a_graph().nodes:
        assert node.name in words
        assert node.state in words
    assert "prefers-color-scheme: dark" in text
    boxes = [
        (float(box.get("x", 0)), float(box.get("y", 0)))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
        if box.get("class") == "box"
    ]
    assert len(boxes) == len(set(boxes)) == 4
    assert text.count("stroke-dasharray") == 1


def test_a_job_stands_a_layer_behind_the_one_before_it_and_rows_never_meet() -> None:
    nodes = [Node(name="root")]
    nodes += [Node(name=f"n{i}", upstream=f"n{(i - 1) // 2}" if i else "root") for i in range(30)]
    placed = {node.name: (depth, row) for node, depth, row in layers(Graph("w", tuple(nodes)))}
    assert all(placed[n.name][0] == placed[n.upstream][0] + 1 for n in nodes if n.upstream)
    assert len(set(placed.values())) == len(nodes)


def test_a_workflow_is_applied_and_shown_on_the_command_line(world: World) -> None:
    rows = "".join(f'{{"id":"r{n}","text":"t{n}"}}\n' for n in range(6))
    (world.folder / "reviews.jsonl").write_text(rows)
    (world.folder / "flow.toml").write_text(FLOW)
    declared = screen(world, "graph", "flow.toml", tty=True).out
    assert "└─ rewrite  declared" in declared
    would = fits("apply", screen(world, "apply", "flow.toml", "-n", "--json").out)
    assert {job["status"] for job in would["jobs"]} == {"would_submit", "would_declare"}
    ran = screen(world, "apply", "flow.toml")
    assert (ran.status, ran.out) == (0, "reviews\n")
    assert "rewrite  declared: takes classify, at the end" in ran.err
    again = fits("apply", screen(world, "apply", "flow.toml", "--json").out)
    assert [job["status"] for job in again["jobs"]] == [
        "already_submitted",
        "already_declared",
        "already_declared",
    ]
    status = screen(world, "status", tty=True).out
    assert "stage rewrite: waits for classify: 6 open" in status
    assert "stage judge: waits for rewrite to begin" in screen(world, "jobs", tty=True).out
    drawn = screen(world, "graph", "reviews", tty=True).out
    assert "└─ rewrite  waiting  waits for classify: 6 open" in drawn
    fits("graph", screen(world, "graph", "--json").out)
    fits("status", screen(world, "status", "--json").out)
    world.rest()
    drawn = screen(world, "graph", tty=True).out
    assert "   └─ judge  finished  6 of 6 succeeded  as answers come" in drawn
    ET.fromstring(screen(world, "graph", "reviews", "--format", "svg").out)
    assert screen(world, "graph", "reviews", "--format", "dot").out.startswith("digraph")


def test_what_is_wrong_is_told_with_its_own_exit_status(world: World) -> None:
    (world.folder / "flow.toml").write_text(FLOW)
    assert screen(world, "apply", "none.toml").status == 66
    assert screen(world, "apply", "flow.toml", "--name-suffix", "a b").status == 2
    (world.folder / "bad.toml").write_text(FLOW.replace("[workflow]", "[flow]"))
    bad = screen(world, "apply", "bad.toml")
    assert (bad.status, "ORC1134" in bad.err) == (78, True)
    world.submit(1)
    unknown = screen(world, "graph", "reviws")
    assert unknown.status == 66


def test_a_stage_is_explained_resumed_and_cancelled_by_its_name(world: World) -> None:
    rows = "".join(f'{{"id":"r{n}","text":"t{n}"}}\n' for n in range(6))
    (world.folder / "reviews.jsonl").write_text(rows + '{"id":"no"}\n')
    flow = FLOW.replace('prompt = "One word: {text}"', 'prompt = "One word: {id}"')
    (world.folder / "flow.toml").write_text(flow)
    assert screen(world, "apply", "flow.toml").status == 0
    world.rest(days=1)
    assert screen(world, "status").status == 3
    told = screen(world, "explain", "rewrite").out
    assert "rewrite is held" in told
    assert "orchestrator resume rewrite" in told
    fits("explain", screen(world, "explain", "rewrite", "--json").out)
    resumed = fits("resume", screen(world, "resume", "rewrite", "--json").out)
    assert resumed["stages"] == ["rewrite"]
    ended = screen(world, "cancel", "rewrite", "--confirm", "rewrite")
    assert ended.status == 0, ended.err
    world.rest(days=1)
    assert "rewrite was cancelled" in screen(world, "explain", "judge").out


@pytest.mark.parametrize("registry_url", ["sqlite"], indirect=True)
def test_the_example_runs_as_it_is_written(world: World) -> None:
    for name in ("workflow.toml", "devils-dictionary.csv"):
        shutil.copy(EXAMPLES / name, world.folder / name)
    assert screen(world, "apply", "workflow.toml").status == 0
    world.rest()
    drawn = screen(world, "graph", "devil", tty=True).out
    assert "classify  finished  40 of 40 succeeded" in drawn
    assert world.job("rewrite").books.records == world.job("judge").books.succeeded > 0
