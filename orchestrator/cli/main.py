"""The entry point of `orchestrator`.

How a command is added:

1. Write it in a module of its own below `orchestrator/cli/`, heavy imports included there:

       @command(examples=("orchestrator jobs --where state:failed",))
       @where_option(JOB_FIELDS)
       @click.pass_obj
       def jobs(session: Session, where: Filter) -> int | None:
           \"\"\"List jobs, newest first.\"\"\"
           session.console.table("jobs", rows(session.configuration, where), COLUMNS)

   `session.configuration` holds the settings, `session.console` writes: `table` for lists,
   `document` for one thing, `result` for what was done, `confirm` to ask. The global options are
   there already. Return None, or an exit status (3: something needs a person). Raise errors of
   `domain.errors`; never print or exit.
2. Add its line to `COMMANDS` in `table_of_commands.py`.
3. Add the JSON Schema of its document in `config/schemas/`, a help page for each new error code.

Shared options stand in `options.py`. The exit status comes from the error's class.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from orchestrator.cli import errors
from orchestrator.cli.command import Root
from orchestrator.cli.session import Session
from orchestrator.cli.table_of_commands import COMMANDS, Entry
from orchestrator.cli.terminal import World, real_world
from orchestrator.domain.errors import OrchestratorError

PROGRAM = "orchestrator"
COMPLETE_VARIABLE = "_ORCHESTRATOR_COMPLETE"
INTERRUPTED, TERMINATED, PIPE_CLOSED = 130, 143, 141


def run(argv: Sequence[str], world: World, commands: Sequence[Entry] = COMMANDS) -> int:
    """Run one command line in `world` and return its exit status; never raises an Exception."""
    session = Session(world)
    try:
        status = _invoke(Root(commands), argv, session)
        session.console.flush()
    except BrokenPipeError:
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as exc:
        return _report(exc, argv, session)
    return status


def _invoke(group: Root, argv: Sequence[str], session: Session) -> int:
    try:
        with group.make_context(PROGRAM, list(argv), obj=session) as ctx:
            status = group.invoke(ctx)
    except click.exceptions.NoArgsIsHelpError as bare:
        session.console.say(bare.ctx.get_help())
        return 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        return INTERRUPTED
    return status if isinstance(status, int) else 0


def _report(exc: Exception, argv: Sequence[str], session: Session) -> int:
    error = _as_ours(exc)
    options = argv[: argv.index("--")] if "--" in argv else argv
    machine = session.console.machine or bool({"--json", "--json-lines"} & set(options))
    trace = (
        "" if isinstance(exc, click.ClickException) else "".join(traceback.format_exception(exc))
    )
    if {"-v", "--verbose"} & set(options):
        session.output.verbose = max(1, session.output.verbose)
    try:
        session.console.error(error, machine=machine, trace=trace)
        session.console.flush()
    except OSError:
        return error.exit_code  # nobody can be told; the status still says it
    return error.exit_code


def _as_ours(exc: Exception) -> OrchestratorError:
    match exc:
        case OrchestratorError():
            return exc
        case click.ClickException():
            return errors.from_click(exc)
        case OSError():
            return errors.from_os(exc)
    return errors.from_unexpected(exc)


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)


def main() -> NoReturn:
    """Run the command line of this process."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that is not UTF-8 shows an escape rather than a traceback.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    world = real_world()
    if instruction := world.environ.get(COMPLETE_VARIABLE):
        _complete(instruction, world)
    status = run(sys.argv[1:], world)
    if status == PIPE_CLOSED:
        # Python flushes stdout once more at exit; let that go nowhere, silently.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _complete(instruction: str, world: World) -> NoReturn:
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only the shell asks for it

    obj = {"obj": Session(world)}
    sys.exit(shell_complete(Root(COMMANDS), obj, PROGRAM, COMPLETE_VARIABLE, instruction))


if __name__ == "__main__":
    main()
