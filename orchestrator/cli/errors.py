"""How an error is shown and which status it exits with."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from pathlib import Path

import click

from orchestrator.domain.errors import OrchestratorError, UsageError
from orchestrator.human import fit, pad, plain, width_of

MAX_LINES = 8
_CODE_COLUMN = 94
_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})

Paint = Callable[[str, str], str]


class OutputError(OrchestratorError):
    """The result can't be written: disk full, I/O error."""

    default_code = "ORC5301"
    exit_code = 74


class BugFound(OrchestratorError):
    """Something nobody expected: our fault."""

    default_code = "ORC9001"


def render(error: OrchestratorError, *, width: int, verbose: bool, paint: Paint) -> list[str]:
    """Return the lines for stderr: a headline, then where, why, safe, next; at most eight.

    `width` right-aligns the code; 0 puts it two spaces behind the headline. `verbose` lists every
    detail, however many lines that takes.
    """
    lines = [_headline(error, width, paint)]
    for label in ("where", "why", "safe", "next"):
        text = _labelled(error, label)
        if text:
            lines.append(f"  {paint(pad(label, 5), 'dim')}  {text}")
        if label == "why":
            lines += _details(error, verbose)
    return lines


def _headline(error: OrchestratorError, width: int, paint: Paint) -> str:
    text, code = plain(error.message), f"[{error.code}]"
    column = min(width, _CODE_COLUMN) - len(code) - len("error: ")
    gap = max(2, column - width_of(text))
    return f"{paint('error:', 'red')} {text}{' ' * (gap if width else 2)}{code}"


def _labelled(error: OrchestratorError, label: str) -> str:
    text = plain(str(getattr(error, label)))
    if label == "why" and error.request_id:
        return f"{text} (request {plain(error.request_id)})".lstrip()
    return text


def _details(error: OrchestratorError, verbose: bool) -> list[str]:
    details = [plain(detail) for detail in error.details]
    room = (
        MAX_LINES - 1 - sum(bool(_labelled(error, la)) for la in ("where", "why", "safe", "next"))
    )
    most = len(details) if verbose else min(3, room)
    if len(details) > most:
        shown = min(most, room - 1)
        details = [*details[:shown], f"and {len(details) - shown:,} more; -v lists them"]
    return [f"         {detail if verbose else fit(detail, 200)}" for detail in details]


def from_click(error: click.ClickException) -> OrchestratorError:
    """Return click's complaint about the command line as ours."""
    if isinstance(error, click.FileError):
        return UsageError(f"the file {error.ui_filename} can't be opened", why=error.message)
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "orchestrator"
    return UsageError(_words(error), next=f"{path} --help")


def _words(error: click.ClickException) -> str:
    match error:
        case click.NoSuchOption(option_name=name, possibilities=near):
            return f"there is no option {name}" + (f", did you mean {near[0]}?" if near else "")
        case click.MissingParameter(param=click.Argument() as argument):
            return f"the argument {argument.make_metavar(_context(error))} is missing"
        case click.MissingParameter(param=click.Parameter() as option):
            return f"the option {option.opts[-1]} is missing"
        case click.BadParameter(param=click.Argument() as argument):
            return f"{argument.make_metavar(_context(error))}: {_lowered(error.message)}"
        case click.BadParameter(param=click.Parameter() as option):
            return f"{option.opts[-1]}: {_lowered(error.message)}"
    return _lowered(error.format_message())


def _context(error: click.UsageError) -> click.Context:
    return error.ctx or click.Context(click.Command("orchestrator"))


def _lowered(text: str) -> str:
    text = text.strip().removesuffix(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def from_os(error: OSError) -> OrchestratorError:
    """Return an operating system's error that nobody handled as ours."""
    if error.errno in _DISK:
        return OutputError(
            f"the output can't be written: {(error.strerror or 'I/O error').lower()}",
            where=str(error.filename or ""),
            safe="the registry is not touched by this; what is recorded stays recorded",
            next="make room, then run the same command again",
        )
    return from_unexpected(error)


def from_unexpected(error: BaseException) -> OrchestratorError:
    """Return a bug of ours as an error: kind and place, none of the data it may quote."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return BugFound(
        f"a bug of ours: {type(error).__name__}",
        where=place,
        safe="committed work is kept; running the command again is safe",
        next="run it again with -v for the trace, and report that",
    )
