"""Why a guard holds a job: the codes, which of them end by themselves, and what a person may do."""

from __future__ import annotations

from orchestrator.domain.model import Job, JobState

BUDGET, TOTAL, DAY, WHOLE_DAY = "ORC7010", "ORC7011", "ORC7012", "ORC7013"
NO_PRICE, NO_BOUND, OTHER_CURRENCY, NO_USAGE = "ORC7014", "ORC7015", "ORC7016", "ORC7017"
CANARY = "ORC7020"

OF_A_DAY = frozenset({DAY, WHOLE_DAY})
"""Holds that end by themselves when the next day begins, in UTC."""

BUDGETS = frozenset({BUDGET, TOTAL, *OF_A_DAY, NO_PRICE, NO_BOUND, OTHER_CURRENCY, NO_USAGE})
"""Every reason for which a budget may hold a job."""


def is_held(job: Job) -> bool:
    """Whether a guard lets the job send nothing new."""
    return job.hold_code is not None and job.state is JobState.RUNNING


def way_on(job: Job) -> str:
    """Return what lets a held job go on, as it is typed."""
    match job.hold_code:
        case "ORC7010":
            return f'orchestrator resume {job.name} --budget "AMOUNT CURRENCY"'
        case "ORC7011":
            return f"raise providers.{job.provider}.budget.total, then restart the daemon"
        case "ORC7014" | "ORC7015" | "ORC7016" | "ORC7017":
            return f"orchestrator help {job.hold_code}"
    return f"orchestrator resume {job.name}"
