"""What a command is handed: the world, the global options, the console, the configuration."""

from __future__ import annotations

import functools
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.output import Console, OutputOptions
from orchestrator.cli.terminal import World

if TYPE_CHECKING:
    from orchestrator.settings import Configuration


class Session:
    """One run of the command line. Nothing is read before it is asked for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.output = OutputOptions()
        self.config_file: Path | None = None
        self.env: str | None = None
        self.timezone: str | None = None
        self.console = Console(world, self.output, self.zone)

    @functools.cached_property
    def configuration(self) -> Configuration:
        """The settings in force, loaded once. Raises ConfigError."""
        from orchestrator.settings import load  # noqa: PLC0415 - help and completion need none

        flags = {}
        if self.timezone is not None:
            flags["defaults.timezone"] = ("--tz", self.timezone)
        return load(
            environ=self.world.environ,
            cwd=self.world.cwd,
            config=self.config_file,
            env=self.env,
            flags=flags,
        )

    def zone(self) -> tzinfo:
        """Return the zone that times are shown in: --tz, else the setting, else the machine's."""
        return self.configuration.zone()

    def now(self) -> datetime:
        """Return the time, in the user's zone."""
        return self.world.now().astimezone(self.zone())
