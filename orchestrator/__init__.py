"""Durable workflow orchestrator for LLM batch APIs: records in, one outcome per record out.

with Orchestrator() as orc:
    job = orc.submit(JobSpec(name="tone", source="reviews.csv", key="id", prompt="{text}?"))
    job.watch()

Importing this package does no work: each name below is imported when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers know it: typing alone costs more than this module
if TYPE_CHECKING:
    from typing import Any

    from orchestrator import errors
    from orchestrator.client.aio import AsyncJob, AsyncOrchestrator
    from orchestrator.client.job import Job
    from orchestrator.client.orchestrator import Orchestrator
    from orchestrator.client.outcomes import Outcome, Outcomes
    from orchestrator.client.plan import Plan
    from orchestrator.client.spec import JobSpec

__version__ = "0.1.0"

_HOMES = {
    "AsyncJob": "client.aio",
    "AsyncOrchestrator": "client.aio",
    "Job": "client.job",
    "JobSpec": "client.spec",
    "Orchestrator": "client.orchestrator",
    "Outcome": "client.outcomes",
    "Outcomes": "client.outcomes",
    "Plan": "client.plan",
}
"""Where each public name lives, below this package."""

__all__ = [
    "AsyncJob",
    "AsyncOrchestrator",
    "Job",
    "JobSpec",
    "Orchestrator",
    "Outcome",
    "Outcomes",
    "Plan",
    "__version__",
    "errors",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module of that name holds
    from importlib import import_module  # noqa: PLC0415 - it is not always loaded

    if name == "errors":
        return import_module(f"{__name__}.errors")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
