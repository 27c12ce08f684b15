"""The few functions that every face calls. None of the faces writes SQL or HTTP.

A name is imported when it is first used: a command that only looks needs neither the engine nor
a provider's client, and starts the faster. To add one: a line in the imports below, for readers
and type checkers, and its module in `_HOMES`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api.lookup import find_batch, find_job, find_record
    from orchestrator.api.submission import (
        Contract,
        Plan,
        Submitted,
        plan,
        read_contract,
        submit,
    )

_HOMES = {
    "Contract": "submission",
    "Plan": "submission",
    "Submitted": "submission",
    "find_batch": "lookup",
    "find_job": "lookup",
    "find_record": "lookup",
    "plan": "submission",
    "read_contract": "submission",
    "submit": "submission",
}
"""Where each public name lives, below this package."""

__all__ = [
    "Contract",
    "Plan",
    "Submitted",
    "find_batch",
    "find_job",
    "find_record",
    "plan",
    "read_contract",
    "submit",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module of that name holds
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
