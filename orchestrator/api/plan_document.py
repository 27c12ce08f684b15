"""A plan as a JSON document: every figure that the command line and Python show."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator.api.submission import Plan
from orchestrator.domain import cost
from orchestrator.domain.intake import Request
from orchestrator.domain.money import Money
from orchestrator.engine.admission import read_budget


def plan_document(
    made: Plan, *, submit: str | None = None, contract: str | None = None
) -> dict[str, object]:
    """Return the JSON form. `submit` is the command that registers it, `contract` its file."""
    spec, scan = made.spec, made.scan
    return {
        "job": spec.name,
        "source": {
            "path": spec.source,
            "sha256": scan.source_digest,
            "rows": scan.rows,
            "blank": scan.blank_rows,
            "key": made.key,
            "repeated": scan.repeated,
            "skipped": scan.skipped,
            "passed_over": scan.passed_over,
            "unchanged": scan.unchanged,
            "changed_since": scan.changed_since or None,
        },
        "provider": spec.provider,
        "models": [stats.model for stats in scan.models],
        "window": spec.window,
        "requests": scan.requests,
        "identical": scan.identical,
        "spare": scan.spare,
        "reuse": {
            "requests": made.reuse.requests,
            "oldest": made.reuse.oldest,
            "newest": made.reuse.newest,
        },
        "bytes": scan.bytes,
        "batches": {
            "files": scan.files_total,
            "listed": [
                {"model": file.model or None, "requests": file.requests, "bytes": file.bytes}
                for file in scan.files
            ],
            "max_file_bytes": made.profile.limits.max_file_bytes,
            "max_files": made.profile.limits.files,
        },
        "tokens": {
            "in": made.tokens_in,
            "out_max": made.tokens_out,
            "in_expected": made.estimate.tokens_in,
            "in_low": made.estimate.tokens_in_low,
            "in_high": made.estimate.tokens_in_high,
            "out_expected": made.estimate.tokens_out,
            "measured_over": made.estimate.answers,
        },
        "expected_cost": made.estimate.expected,
        "at_most_cost": made.estimate.at_most,
        "budget": read_budget(spec.budget),
        "cost": made.cost,
        "online_cost": made.online_cost,
        "finish": None,
        "contract": contract,
        "submit": submit,
        "samples": [sample(made, request) for request in made.samples],
    }


def sample(made: Plan, request: Request) -> dict[str, object]:
    """Return one rendered request with its size, tokens and cost."""
    body = msgspec.json.decode(request.body)
    return {
        "position": request.position,
        "key": request.key,
        "custom_id": request.custom_id,
        "bytes": request.size,
        "tokens_in": _tokens(body),
        "cost": _sample_cost(made, request),
        "body": body,
    }


def _sample_cost(made: Plan, request: Request) -> Money | None:
    """Return the most that one request costs, of its input alone where the answer has no bound."""
    facts = made.profile.models.get(request.model)
    price = facts.latest_price if facts else None
    return cost.estimate(request.est_in, request.est_out or 0, price)


def _tokens(body: Any) -> int:  # noqa: ANN401 - any JSON value
    messages = body.get("messages") if isinstance(body, dict) else None
    return -(-cost.message_quarters(messages) // 4)
