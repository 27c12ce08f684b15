"""The few functions that every face calls. None of the faces writes SQL or HTTP."""

from orchestrator.api.submission import Contract, Plan, Submitted, plan, read_contract, submit

__all__ = ["Contract", "Plan", "Submitted", "plan", "read_contract", "submit"]
