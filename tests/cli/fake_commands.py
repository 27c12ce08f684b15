"""Commands that the tests put into the table of commands."""

from __future__ import annotations

import json

import click

from orchestrator.cli.command import command, group
from orchestrator.cli.options import (
    DURATION,
    MONEY,
    SIZE,
    after_option,
    confirm_option,
    dry_run_option,
    limit_option,
    sort_option,
    where_option,
    yes_option,
)
from orchestrator.domain import errors
from orchestrator.domain.filters import RECORD_FIELDS


@command(examples=("orchestrator fail NotFound",))
@click.argument("kind")
@click.pass_obj
def fail(session, kind):
    """Raise an error of a kind."""
    raise getattr(errors, kind)("labels is not what it seems", where="labels/b03")


@command()
@click.argument("how")
def crash(how):
    """Fail as nobody expected."""
    if how == "pipe":
        raise BrokenPipeError
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "disk":
        raise OSError(28, "No space left on device", "/out/a.jsonl")
    raise KeyError("sk-a-secret-that-must-not-be-shown")


@command()
@click.argument("status", type=int)
def leave(status):
    """Return an exit status."""
    return status


@command("echo")
@where_option(RECORD_FIELDS)
@limit_option()
@after_option()
@sort_option(("age", "name"))
@dry_run_option()
@yes_option()
@confirm_option()
@click.option("--for", "span", type=DURATION)
@click.option("--upto", type=SIZE)
@click.option("--budget", type=MONEY)
@click.option("--format", "format_", type=click.Choice(("parquet", "jsonl")))
@click.pass_obj
def echo(session, **options):
    """Say what was understood."""
    session.console.say(json.dumps({name: str(value) for name, value in options.items()}))


@group(invoke_without_command=True)
@click.pass_context
def things(ctx):
    """List things."""
    if ctx.invoked_subcommand is None:
        ctx.obj.console.say("all things")


@things.command()
@click.argument("name")
@click.pass_obj
def show(session, name):
    """Show one thing."""
    session.console.document("things.show", {"name": name}, lambda c: c.say(f"thing {name}"))
