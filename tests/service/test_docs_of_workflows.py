"""Every command of docs/workflows.md runs as it is written, over the example beside it."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "workflows.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ orchestrator (.+)$", PAGE, re.MULTILINE)


def test_the_page_shows_the_example_as_it_is() -> None:
    (shown,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert (ROOT / "examples" / "workflow.toml").read_text(encoding="utf-8").endswith(shown)


def test_every_command_runs_as_it_is_written(project: Any) -> None:
    for name in ("workflow.toml", "devils-dictionary.csv"):
        shutil.copy(ROOT / "examples" / name, project.folder / name)
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        ran = project.run(*shlex.split(command))
        assert ran.status == 0, f"{command}\n{ran.err}"
    rows = (project.folder / "judged.csv").read_text(encoding="utf-8").splitlines()
    assert "tone" in rows[0]
    assert "kind" in rows[0]
