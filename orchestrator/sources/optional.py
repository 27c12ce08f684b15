"""Libraries that only some sources need: named with the command that installs them."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from orchestrator.domain.errors import SourceError

MISSING_LIBRARY = "ORC2030"
_EXTRAS = {
    "pyarrow": "tables",
    "python_calamine": "tables",
    "obstore": "objects",
    "psycopg": "postgres",
}


def needed(module: str, what: str) -> Any:  # noqa: ANN401 - a module
    """Return the module. Raises SourceError (ORC2030) that says how to install it for `what`."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise missing(module, what) from None


def missing(module: str, what: str) -> SourceError:
    """Return the error of a library that is not installed."""
    root = module.split(".", maxsplit=1)[0]
    extra = _EXTRAS.get(root)
    package = f"'batch-orchestrator[{extra}]'" if extra else root
    return SourceError(
        f"{what} needs the library {root}, which is not installed",
        code=MISSING_LIBRARY,
        safe="nothing was registered, nothing was sent",
        next=f"pip install {package}",
    )


def installed(module: str) -> ModuleType | None:
    """Return the module, None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
