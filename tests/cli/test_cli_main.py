from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys

import click
import pytest
from fake_terminal import a_world

from orchestrator.cli.main import run
from orchestrator.cli.table_of_commands import COMMANDS, SECTIONS
from orchestrator.domain import errors

HEAVY = (
    "sqlalchemy",
    "alembic",
    "httpx",
    "apscheduler",
    "psycopg",
    "tenacity",
    "uvicorn",
    "minijinja",
    "tomllib",
    "subprocess",
    "orchestrator.settings",
    "orchestrator.registry",
    "orchestrator.provider",
    "orchestrator.engine",
)


def every_error():
    found = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.OrchestratorError)
    ]
    return sorted(found, key=lambda kind: kind.__name__)


def python(*args, **how):
    return subprocess.run(
        [sys.executable, *args], check=False, capture_output=True, text=True, timeout=30, **how
    )


def test_help_imports_no_command_and_nothing_heavy():
    code = (
        "import sys\n"
        "sys.argv = ['orchestrator', '--help']\n"
        "from orchestrator.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as exc: assert exc.code == 0, exc.code\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = python("-c", code)
    assert done.stdout.startswith("orchestrator: ")
    loaded = set(done.stderr.split())
    assert not loaded.intersection(HEAVY)
    assert not loaded.intersection(entry.target.partition(":")[0] for entry in COMMANDS)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_command_of_the_table_is_there_and_can_say_what_it_does(entry, cli):
    module, _, attribute = entry.target.partition(":")
    assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)
    assert entry.section in SECTIONS
    assert not entry.help.endswith(".")
    ran = cli(entry.name, "--help")
    assert (ran.status, ran.err) == (0, "")
    assert "  orchestrator " in ran.out.partition("usage:")[0], "examples come first"


def test_help_begins_with_examples_and_groups_commands(cli):
    ran = cli("--help")
    assert ran.out.index("orchestrator init") < ran.out.index("set up:")
    assert all(f"  {entry.name} " in ran.out for entry in COMMANDS)
    assert cli().out == ran.out
    assert max(len(line) for line in ran.out.splitlines()) <= 100


def test_version_is_one_line(cli):
    assert cli("--version").out == "orchestrator 0.1.0\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("--json", "things", "show", "a"),
        ("things", "show", "a", "--json"),
        ("things", "--json", "show", "a"),
    ],
)
def test_global_options_are_taken_anywhere(cli, argv):
    document = json.loads(cli(*argv).out)
    assert document["data"] == {"name": "a"}
    assert document["schema"] == "orchestrator.things.show/1"


def test_a_bare_noun_lists_or_shows_its_verbs(cli):
    assert cli("things").out == "all things\n"
    assert "explain" in cli("config").out


def test_a_command_may_have_its_own_format(cli):
    assert json.loads(cli("echo", "--format", "parquet").out)["format_"] == "parquet"


def test_a_command_may_return_its_status(cli):
    assert cli("leave", "3").status == 3


@pytest.mark.parametrize(
    ("argv", "headline", "following"),
    [
        (("confg",), 'there is no command "confg", did you mean "config"?', "config --help"),
        (("config", "chek"), 'there is no command "chek", did you mean "check"?', "config check"),
        (("config", "check", "--jsn"), "there is no option --jsn, did you mean --json?", "check"),
        (("fail",), "the argument KIND is missing", "orchestrator fail --help"),
        (("leave", "x"), "STATUS: 'x' is not a valid integer", "leave --help"),
        (("things", "show", "a", "b"), "got unexpected extra argument (b)", "things show --help"),
        (("--format", "xml", "things"), "--format: 'xml' is not one of", "orchestrator --help"),
        (("echo", "--for", "2x"), "--for: '2x' is not a duration", "echo --help"),
    ],
)
def test_a_slip_on_the_command_line_is_answered_in_our_form(cli, argv, headline, following):
    ran = cli(*argv)
    assert ran.status == 2
    assert ran.out == ""
    first, last = ran.err.splitlines()
    assert first.startswith(f"error: {headline}")
    assert first.endswith("  [ORC1001]")
    assert last.startswith("  next   ")
    assert following in last


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_exits_with_its_own_status_and_says_so_in_json(cli, kind):
    ran = cli("fail", kind.__name__, "--json")
    assert ran.status == kind.exit_code
    assert ran.out == ""
    assert json.loads(ran.err.splitlines()[-1]) == {
        "type": "error",
        "code": kind.default_code,
        "exit_code": kind.exit_code,
        "message": "labels is not what it seems",
        "where": "labels/b03",
        "why": "",
        "safe": "",
        "next": "",
        "request_id": "",
        "details": [],
    }


def test_the_exit_codes_are_those_of_the_interface_specification():
    assert {kind.__name__: kind.exit_code for kind in every_error()}.items() >= {
        "UsageError": 2,
        "ConfigError": 78,
        "SourceError": 65,
        "AuthError": 77,
        "QuotaError": 75,
        "RegistryError": 69,
        "IntegrityError": 6,
        "SinkError": 73,
        "GuardError": 7,
        "NotFound": 66,
        "WaitTimeout": 4,
        "AlreadyRunning": 8,
    }.items()


def test_a_usage_error_is_json_too_even_before_options_are_read(cli):
    ran = cli("--jsn", "--json")
    assert json.loads(ran.err.splitlines()[-1])["code"] == "ORC1001"


def test_a_bug_of_ours_is_one_error_without_a_trace_or_data(cli):
    ran = cli("crash", "now")
    assert ran.status == 1
    assert ran.err.splitlines()[0] == "error: a bug of ours: KeyError  [ORC9001]"
    assert "fake_commands.py line" in ran.err
    assert "-v" in ran.err
    assert "Traceback" not in ran.err
    assert "sk-a-secret" not in ran.err


def test_the_trace_is_there_when_asked_for(cli):
    assert "Traceback (most recent call last)" in cli("crash", "now", "-v").err


def test_a_full_disk_is_not_a_bug(cli):
    ran = cli("crash", "disk")
    assert ran.status == 74
    assert "no space left on device" in ran.err
    assert "/out/a.jsonl" in ran.err


@pytest.mark.parametrize(("how", "status"), [("interrupt", 130), ("pipe", 141)])
def test_interrupts_and_closed_pipes_are_silent(cli, how, status):
    ran = cli("crash", how)
    assert (ran.status, ran.out, ran.err) == (status, "", "")


def test_a_closed_pipe_of_the_real_program_is_silent_and_141():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", "--help"],
        check=False,
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_term_ends_the_program_with_143():
    code = (
        "import os, signal, sys\n"
        "from orchestrator.cli import main as m\n"
        "m.run = lambda argv, world: os.kill(os.getpid(), signal.SIGTERM)\n"
        "m.main()\n"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (143, "")
    assert signal.SIGTERM == 15


def test_a_terminal_that_is_not_utf8_gets_no_traceback(tmp_path):
    done = python(
        "-m",
        "orchestrator.cli.main",
        "help",
        "é",
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.returncode == 66
    assert "\\xe9" in done.stderr


def test_shared_options_are_read_into_types(cli):
    ran = cli(
        *("echo", "--where", "state:failed attempts>2", "--limit", "7", "--after", "b", "-n"),
        *("--sort", "name", "--for", "90s", "--upto", "100MB", "--budget", "40 USD"),
        *("-y", "--confirm", "labels"),
    )
    understood = json.loads(ran.out)
    assert "Compares(field='attempts', operator='>', number=2)" in understood["where"]
    assert understood["limit"] == "7"
    assert understood["span"] == "0:01:30"
    assert understood["upto"] == "100000000"
    assert understood["budget"] == "40 USD"
    assert (understood["dry_run"], understood["yes"]) == ("True", "True")


def test_a_bad_filter_is_refused_with_its_place(cli):
    ran = cli("echo", "--where", "state:failed stat:x")
    assert ran.status == 2
    assert 'no field "stat"; did you mean "state"?' in ran.err
    assert "character 14" in ran.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_says_how_to_install_it(cli, shell):
    ran = cli("completion", shell)
    assert ran.status == 0
    assert ran.out.startswith("# install: ")
    assert "_ORCHESTRATOR_COMPLETE" in ran.out


def test_the_shell_is_given_commands_from_the_table_alone():
    env = {
        **os.environ,
        "_ORCHESTRATOR_COMPLETE": "bash_complete",
        "COMP_WORDS": "orchestrator co",
        "COMP_CWORD": "1",
    }
    done = python("-m", "orchestrator.cli.main", env=env)
    assert done.stdout.split() == ["plain,costs", "plain,config", "plain,completion"]


def test_an_error_on_a_terminal_has_its_code_at_the_right(tmp_path):
    world = a_world(tmp_path, tty=True, env={"NO_COLOR": "1"})
    assert run(["confg"], world) == 2
    assert world.stderr.getvalue().splitlines()[0] == (
        'error: there is no command "confg", did you mean "config"?'.ljust(71) + "[ORC1001]"
    )
