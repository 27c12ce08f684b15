from __future__ import annotations

import re
from pathlib import Path

import pytest

import orchestrator
from orchestrator.cli.help_cmd import PAGES, TOPICS
from orchestrator.cli.table_of_commands import COMMANDS
from orchestrator.domain import errors

PACKAGE = Path(orchestrator.__file__).parent
CODES = sorted(
    {
        code
        for path in PACKAGE.rglob("*.py")
        for code in re.findall(r"\"(ORC\d{4})\"", path.read_text(encoding="utf-8"))
    }
)
CODE_PAGES = sorted(path.stem for path in PAGES.glob("ORC*.md"))


def test_every_code_in_the_source_has_a_help_page():
    assert [code for code in CODES if code not in CODE_PAGES] == []


def test_every_help_page_stands_for_a_code_in_the_source():
    assert [page for page in CODE_PAGES if page not in CODES] == []


@pytest.mark.parametrize("code", CODE_PAGES)
def test_a_page_says_which_code_it_is_and_reads_well_in_a_terminal(code):
    lines = (PAGES / f"{code}.md").read_text(encoding="utf-8").splitlines()
    assert re.fullmatch(rf"# {code}: [^A-Z ].*[^.]", lines[0])
    assert 5 <= len(lines) <= 12
    assert max(len(line) for line in lines) <= 110


@pytest.mark.parametrize("topic", TOPICS)
def test_every_topic_has_a_page(topic, cli):
    ran = cli("help", topic)
    assert ran.status == 0
    assert ran.out.startswith("# ")
    assert max(len(line) for line in ran.out.splitlines()) <= 100


def test_the_topics_are_the_pages_that_are_no_codes():
    pages = {path.stem for path in PAGES.glob("*.md") if not path.stem.startswith("ORC")}
    assert pages == set(TOPICS)


def test_the_exit_code_page_names_every_exit_code():
    page = (PAGES / "exit-codes.md").read_text()
    used = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.OrchestratorError)
    }
    for code in used | {0, 3, 5, 130, 141, 143}:
        assert re.search(rf"^    {code}\s", page, re.MULTILINE), code


@pytest.mark.parametrize("subject", ["ORC1001", "orc1001"])
def test_a_code_is_explained_whatever_its_case(subject, cli):
    assert cli("help", subject).out.startswith("# ORC1001: ")


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_help_on_a_command_is_its_own_help(entry, cli):
    assert cli("help", entry.name).out == cli(entry.name, "--help").out


def test_help_on_a_verb_below_a_noun(cli):
    assert "usage: orchestrator config explain KEY" in cli("help", "config", "explain").out


@pytest.mark.parametrize(
    ("subject", "near"), [("ORC1002X", "ORC1002"), ("signal", "signals"), ("confg", "config")]
)
def test_help_on_nothing_suggests_something(cli, subject, near):
    ran = cli("help", subject)
    assert ran.status == 66
    assert f'did you mean "{near}"?' in ran.err


def test_help_reads_no_file_outside_its_pages(cli):
    assert cli("help", "../main").status == 66
