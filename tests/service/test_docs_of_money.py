"""Every command of docs/money.md runs as it is written, and every setting of it is read."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "money.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ orchestrator (.+)$", PAGE, re.MULTILINE)
TABLES = re.findall(r"^```toml\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_command_runs_as_it_is_written(offline):
    (offline.folder / "reviews.csv").write_text("id,text\n1,good\n2,bad\n3,fine\n")
    assert len(COMMANDS) == 7
    for command in COMMANDS:
        ran = offline.run(*shlex.split(command))
        assert ran.status == 0, (command, ran.err)
    held = offline.run(*shlex.split('resume reviews --budget "60 USD"'))
    assert (held.status, "resumed job reviews" in held.out) == (0, True)


@pytest.mark.parametrize("table", TABLES)
def test_every_setting_is_read(offline, table):
    (offline.folder / "reviews.csv").write_text("id,text\n1,good\n")
    parts = tomllib.loads(table)
    if "reviews" in parts.get("jobs", {}):
        more = 'source = "reviews.csv"\nprompt = "{text}"\n'
        table = table.replace("[jobs.reviews]\n", f"[jobs.reviews]\n{more}")
    text = "schema = 1\n" + table.replace("[providers.sandbox]", "[providers.kimi]")
    (offline.folder / "orchestrator.toml").write_text(text)
    ran = offline.run("config", "check")
    assert ran.status == 0, ran.err
