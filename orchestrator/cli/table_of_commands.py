"""Every command: its name, where it is, its section and its one line of help. Imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Section = Literal["daily path", "look", "mend", "set up"]
SECTIONS: tuple[Section, ...] = ("daily path", "look", "mend", "set up")


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. `target` is "module:attribute"; `help` is one line, lower case, no full stop."""

    name: str
    target: str
    section: Section
    help: str


COMMANDS: tuple[Entry, ...] = (
    Entry(
        "init",
        "orchestrator.cli.init_cmd:init",
        "set up",
        "write a configuration, a template and sample data to start from",
    ),
    Entry(
        "config",
        "orchestrator.cli.config_cmds:config",
        "set up",
        "check, show and explain the configuration",
    ),
    Entry(
        "completion",
        "orchestrator.cli.completion:completion",
        "set up",
        "print the completion script of your shell",
    ),
    Entry(
        "help",
        "orchestrator.cli.help_cmd:help_",
        "set up",
        "explain a command, a topic or an error code",
    ),
)
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("init reviews", "a first configuration to look at"),
    ("config check", "is it right?"),
)
"""What the help begins with: the commonest way through, in order."""
