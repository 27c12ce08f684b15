"""A folder with configuration files to fill."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.domain.errors import ConfigError
from orchestrator.settings import load


class Project:
    """A folder with a project, user and system file to fill."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.project = root / "work" / "orchestrator.toml"
        self.user = root / "home" / ".config" / "orchestrator" / "config.toml"
        self.system = root / "system.toml"
        for path in (self.project, self.user):
            path.parent.mkdir(parents=True)

    def load(self, environ=None, **how):
        return load(
            environ={
                "HOME": str(self.root / "home"),
                "ORCHESTRATOR_SYSTEM_CONFIG": str(self.system),
                **(environ or {}),
            },
            cwd=self.root / "work",
            **how,
        )

    def problems(self, text, environ=None):
        self.project.write_text(text)
        with pytest.raises(ConfigError) as caught:
            self.load(environ)
        return caught.value


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
