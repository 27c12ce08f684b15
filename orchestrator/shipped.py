"""Files that ship with the package: migrations, provider profiles, samples.

In a wheel they lie below `orchestrator/_shipped/`; in a checkout at the top level.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Return the path of the shipped folder `name`: "migrations", "config" or "examples"."""
    installed = _PACKAGE / "_shipped" / name
    return installed if installed.exists() else _PACKAGE.parent / name
