"""Every Python block of the page runs as it is written, from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[str]:
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


def test_the_page_begins_with_a_table_answered_in_five_lines():
    first = [line for line in blocks()[0].splitlines() if line]
    assert len(first) == 5
    assert first[0].startswith("from orchestrator import")


def test_every_block_runs_as_it_is_written(home: Path, capsys: pytest.CaptureFixture[str]):
    rows = "".join(f'{n},"it is number {n}"\n' for n in range(20))
    (home / "reviews.csv").write_text("id,text\n" + rows, encoding="utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    said = []
    for number, block in enumerate(blocks(), 1):
        exec(compile(block, f"docs/python.md, block {number}", "exec"), names)  # the page's own
        said.append(capsys.readouterr().out)
        promised = re.findall(r"print\(.*\)  # (.+)$", block, re.MULTILINE)
        assert [line for line in promised if line not in said[-1].splitlines()] == []
    assert "20 succeeded" in said[0]
    assert "shape: (20," in said[0]
    assert (home / "stored.parquet").exists()
    assert said[-2].startswith("ORC")
