"""Where an Orchestrator's settings come from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from orchestrator.domain.pacing import Pace
from orchestrator.domain.units import format_duration
from orchestrator.settings import Configuration, load

Setting = str | int | float | bool | timedelta | Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where settings come from, strongest first: `settings`, the environment, files."""

    config: Path | None = None
    env: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    environ: Mapping[str, str] | None = None
    pace: Pace | None = None

    def over(
        self, env: str | None, registry: str | None, settings: Mapping[str, Setting] | None
    ) -> Options:
        """Return options that differ in these."""
        more = dict(settings or {}) | ({"registry.url": registry} if registry else {})
        return replace(self, env=env or self.env, settings={**self.settings, **more})

    def load(self) -> Configuration:
        """Return the configuration. Raises ConfigError."""
        return load(
            environ=os.environ if self.environ is None else self.environ,
            cwd=Path.cwd(),
            config=self.config,
            env=self.env,
            flags={name: (f"settings {name}", _text(it)) for name, it in self.settings.items()},
        )


def _text(value: Setting) -> str:
    """Return a setting as the command line would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return format_duration(value) if isinstance(value, timedelta) else str(value)
