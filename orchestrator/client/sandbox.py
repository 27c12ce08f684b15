"""A provider to try things out with: the simulator on a socket of this process."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.client.options import Options, Setting
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox
from orchestrator.sandbox.temper import PRESETS, read_temper
from orchestrator.service import demo

_MODEL = "kimi-k2.6"


@contextmanager
def opened(*, temper: str | Path, speed: float, seed: int | str) -> Iterator[Options]:
    """Serve a sandbox and yield the options that lead to it; nothing else is configured.

    Settings of the user's are left alone, so that the same program does the same everywhere.
    """
    named = str(temper) if str(temper) in PRESETS else str(Path.cwd() / temper)
    sandbox = Sandbox(SandboxClock(time.time, speed=speed), seed=seed, temper=read_temper(named))
    sandbox.anonymous = True
    with (
        tempfile.TemporaryDirectory(prefix="orchestrator-sandbox-") as folder,
        running_sandbox(sandbox, daemon=True) as url,
    ):
        home = Path(folder)
        config = home / "orchestrator.toml"
        config.write_text("# settings are given by the program\n", encoding="utf-8")
        yield Options(
            config=config,
            environ=_environment(home),
            settings=_settings(home, url),
            pace=demo.PACE,
        )


def _environment(home: Path) -> dict[str, str]:
    ours = demo.environment(os.environ)
    nowhere = str(home / "none")
    return {
        **ours,
        "HOME": nowhere,
        "XDG_CONFIG_HOME": nowhere,
        "ORCHESTRATOR_SYSTEM_CONFIG": nowhere,
    }


def _settings(home: Path, url: str) -> dict[str, Setting]:
    return {
        "registry.url": f"sqlite:///{home / 'registry.db'}",
        "spool.dir": home / "spool",
        "defaults.provider": "sandbox",
        "defaults.model": _MODEL,
        "defaults.retry.back_off": "0s",
        "daemon.tick": "100ms",
        "providers.sandbox.base_url": url,
    }
