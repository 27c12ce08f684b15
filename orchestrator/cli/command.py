"""What every command is made of: examples first, global options before and after its name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from orchestrator import __version__
from orchestrator.cli import help_text
from orchestrator.cli.session import Session
from orchestrator.cli.table_of_commands import Entry
from orchestrator.domain.errors import UsageError

F = Callable[..., Any]

FORMATS = ("table", "tsv", "csv", "json", "jsonl", "id")


def _into(store: Callable[[Session, Any], None]) -> Callable[..., None]:
    """Return a click callback that keeps a given value in the session."""

    def callback(ctx: click.Context, _param: click.Parameter, value: object) -> None:
        if value not in (None, False, 0, ""):
            store(ctx.find_object(Session) or _no_session(), value)

    return callback


def _no_session() -> Session:
    raise RuntimeError("a command was run without a session")


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        (ctx.find_object(Session) or _no_session()).console.say(f"orchestrator {__version__}")
        ctx.exit()


def _help(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        (ctx.find_object(Session) or _no_session()).console.say(ctx.get_help())
        ctx.exit()


def _keep_fields(session: Session, value: str) -> None:
    session.output.fields = tuple(name.strip() for name in value.split(",") if name.strip())


def _set(name: str) -> Callable[[Session, Any], None]:
    return lambda session, value: setattr(session.output, name, value)


def global_options() -> list[click.Option]:
    """Return fresh global options; each keeps its value in the session and passes nothing on."""

    def option(
        names: str,
        help_line: str,
        store: Callable[[Session, Any], None],
        **how: Any,  # noqa: ANN401 - click's own open keywords
    ) -> click.Option:
        return click.Option(
            names.split(), help=help_line, expose_value=False, callback=_into(store), **how
        )

    return [
        option(
            "--config",
            "read this file instead of ./orchestrator.toml",
            lambda session, value: setattr(session, "config_file", Path(value)),
            metavar="FILE",
        ),
        option(
            "--env",
            "lay [env.NAME] over the configuration",
            lambda session, value: setattr(session, "env", value),
            metavar="NAME",
        ),
        option(
            "--json",
            "one JSON document on stdout",
            lambda session, _value: setattr(session.output, "format", "json"),
            is_flag=True,
        ),
        option(
            "--json-lines",
            "one JSON object a line: lists and follows",
            lambda session, _value: setattr(session.output, "format", "jsonl"),
            is_flag=True,
        ),
        option("--fields", "only these fields", _keep_fields, metavar="A,B"),
        option(
            "--format",
            ", ".join(FORMATS),
            _set("format"),
            type=click.Choice(FORMATS),
            metavar="FORMAT",
        ),
        option("-q --quiet", "results and errors only", _set("quiet"), is_flag=True),
        option("-v --verbose", "more detail; the trace of an error", _set("verbose"), count=True),
        option(
            "--color",
            "auto, always or never",
            _set("colour"),
            type=click.Choice(("auto", "always", "never")),
            metavar="WHEN",
        ),
        option(
            "--tz",
            "show times in this zone",
            lambda session, value: setattr(session, "timezone", value),
            metavar="ZONE",
        ),
        option("--no-input", "ask nothing: refuse instead", _set("no_input"), is_flag=True),
        click.Option(
            ["-h", "--help"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_help,
            help="show this help",
        ),
    ]


def _with_global_options(params: Sequence[click.Parameter] | None) -> list[click.Parameter]:
    """Add the global options that the command does not define itself (`export --format`)."""
    own = list(params or ())
    taken = {name for param in own for name in (*param.opts, *param.secondary_opts)}
    return own + [o for o in global_options() if not taken.intersection(o.opts)]


class Command(click.Command):
    """A command with examples and the global options. Its function may return an exit status."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:  # noqa: ANN401 - click's signature is open
        kwargs["params"] = _with_global_options(kwargs.get("params"))
        kwargs["add_help_option"] = False  # ours goes through the console
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples first, then usage and the command's own options."""
        formatter.write(help_text.of_command(ctx, self, self.examples))


class Group(click.Group):
    """A noun with verbs below it (`config check`)."""

    command_class = Command

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:  # noqa: ANN401 - click's signature is open
        kwargs["params"] = _with_global_options(kwargs.get("params"))
        kwargs["add_help_option"] = False  # ours goes through the console
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples first, then the verbs."""
        formatter.write(help_text.of_group(ctx, self, self.examples))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a mistyped one is answered with the nearest."""
        command = self.get_command(ctx, args[0])
        if command is None and not ctx.resilient_parsing:
            raise no_command(args[0], self.list_commands(ctx), ctx.command_path)
        return args[0] if command else None, command, args[1:]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete verbs from their names alone, then options."""
        return [
            *self.completions(ctx, incomplete),
            *click.Command.shell_complete(self, ctx, incomplete),
        ]

    def completions(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the verbs that begin with `incomplete`."""
        return [
            CompletionItem(name, help=command.get_short_help_str())
            for name in self.list_commands(ctx)
            if name.startswith(incomplete) and (command := self.get_command(ctx, name))
        ]


class Root(Group):
    """`orchestrator` itself: a table of names, each command imported only when it is run."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        super().__init__("orchestrator", params=[_version_option()], no_args_is_help=True)
        self.entries = {entry.name: entry for entry in entries}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import the command's module, this one only."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table is ours, and tested
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write examples, then the commands by section, from the table alone."""
        formatter.write(help_text.of_root(ctx, self, tuple(self.entries.values())))

    def completions(
        self,
        ctx: click.Context,  # noqa: ARG002 - Group's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the commands that begin with `incomplete`, from the table alone."""
        return [
            CompletionItem(entry.name, help=entry.help)
            for entry in self.entries.values()
            if entry.name.startswith(incomplete)
        ]


def _version_option() -> click.Option:
    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_version,
        help="show the version",
    )


def command(
    name: str | None = None,
    *,
    examples: Sequence[str] = (),
    **how: Any,  # noqa: ANN401 - click's own keywords
) -> Callable[[F], Command]:
    """Make a function a command; its docstring's first line is its help.

    The function takes its options as keywords and, with `@click.pass_obj`, the Session first. It
    returns None (exit 0) or an exit status.
    """
    return click.command(name, cls=Command, examples=examples, **how)


def group(
    name: str | None = None,
    *,
    examples: Sequence[str] = (),
    **how: Any,  # noqa: ANN401 - click's own keywords
) -> Callable[[F], Group]:
    """Make a function a noun; with `invoke_without_command=True` a bare noun runs it (lists)."""
    return click.group(name, cls=Group, examples=examples, **how)


def no_command(name: str, known: Sequence[str], path: str) -> UsageError:
    """Return the error for a mistyped command, with the nearest one that exists."""
    near = difflib.get_close_matches(name, known, n=1)
    return UsageError(
        f'there is no command "{name}"' + (f', did you mean "{near[0]}"?' if near else ""),
        next=f"{path} {near[0]} --help" if near else f"{path} --help",
    )
