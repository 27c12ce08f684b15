"""The few functions that every face calls. None of the faces writes SQL or HTTP.

A name is imported when it is first used: a command that only looks needs neither the engine nor
a provider's client, and starts the faster. To add one: a line in the imports below, for readers
and type checkers, and its module in `_HOMES`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.api.control import (
        Steered,
        cancel_batch,
        cancel_job,
        cancel_stage,
        cost_of,
        pause,
        resume,
        retry,
        steerable,
    )
    from orchestrator.api.explaining import explain
    from orchestrator.api.exporting import Exported, export
    from orchestrator.api.failing import FailureGroup, failure_groups
    from orchestrator.api.graphs import declared_graph, stored_graphs
    from orchestrator.api.listing import (
        EventView,
        batch_events,
        list_batches,
        list_events,
        list_jobs,
        list_records,
    )
    from orchestrator.api.lookup import find_batch, find_job, find_record
    from orchestrator.api.needs import NeedsYou, needs_you
    from orchestrator.api.records import RecordTrace, trace_record
    from orchestrator.api.stage_views import StageView, unfed, waits_as_stage
    from orchestrator.api.stories import Explanation
    from orchestrator.api.submission import (
        Contract,
        Plan,
        plan,
        read_contract,
        submit,
    )
    from orchestrator.api.verifying import Equation, verify
    from orchestrator.api.views import BatchView, Fleet, JobView, batch_view, fleet, job_view
    from orchestrator.api.workflows import Applied, AppliedJob, apply
    from orchestrator.engine.registration import Submitted

_HOMES = {
    "Applied": "workflows",
    "AppliedJob": "workflows",
    "BatchView": "views",
    "Contract": "submission",
    "Equation": "verifying",
    "EventView": "listing",
    "Explanation": "stories",
    "Exported": "exporting",
    "FailureGroup": "failing",
    "Fleet": "views",
    "JobView": "views",
    "NeedsYou": "needs",
    "Plan": "submission",
    "RecordTrace": "records",
    "StageView": "stage_views",
    "Steered": "control",
    "Submitted": "submission",
    "apply": "workflows",
    "batch_events": "listing",
    "batch_view": "views",
    "cancel_batch": "control",
    "cancel_job": "control",
    "cancel_stage": "control",
    "cost_of": "control",
    "declared_graph": "graphs",
    "explain": "explaining",
    "export": "exporting",
    "failure_groups": "failing",
    "find_batch": "lookup",
    "find_job": "lookup",
    "find_record": "lookup",
    "fleet": "views",
    "job_view": "views",
    "list_batches": "listing",
    "list_events": "listing",
    "list_jobs": "listing",
    "list_records": "listing",
    "needs_you": "needs",
    "pause": "control",
    "plan": "submission",
    "read_contract": "submission",
    "resume": "control",
    "retry": "control",
    "steerable": "control",
    "stored_graphs": "graphs",
    "submit": "submission",
    "trace_record": "records",
    "unfed": "stage_views",
    "verify": "verifying",
    "waits_as_stage": "stage_views",
}
"""Where each public name lives, below this package."""

__all__ = [
    "Applied",
    "AppliedJob",
    "BatchView",
    "Contract",
    "Equation",
    "EventView",
    "Explanation",
    "Exported",
    "FailureGroup",
    "Fleet",
    "JobView",
    "NeedsYou",
    "Plan",
    "RecordTrace",
    "StageView",
    "Steered",
    "Submitted",
    "apply",
    "batch_events",
    "batch_view",
    "cancel_batch",
    "cancel_job",
    "cancel_stage",
    "cost_of",
    "declared_graph",
    "explain",
    "export",
    "failure_groups",
    "find_batch",
    "find_job",
    "find_record",
    "fleet",
    "job_view",
    "list_batches",
    "list_events",
    "list_jobs",
    "list_records",
    "needs_you",
    "pause",
    "plan",
    "read_contract",
    "resume",
    "retry",
    "steerable",
    "stored_graphs",
    "submit",
    "trace_record",
    "unfed",
    "verify",
    "waits_as_stage",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module of that name holds
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
