"""What a job would be, before anything is sent: looked at, then submitted as it was shown."""

from __future__ import annotations

from typing import Any

import msgspec

from orchestrator import documents, human
from orchestrator.api.plan_document import plan_document
from orchestrator.api.submission import Plan as Planned
from orchestrator.client import html
from orchestrator.client.declaring import Declared
from orchestrator.domain.estimating import Estimate
from orchestrator.domain.money import Money


class Plan:
    """A job that was planned. `orc.submit(plan)` registers just this, or refuses with PlanChanged.

    Records that were in memory are kept with it as long as its Orchestrator is open.
    """

    def __init__(self, planned: Planned, declared: Declared) -> None:
        self.planned = planned
        self.declared = declared

    @property
    def name(self) -> str:
        """The name that the job will have."""
        return self.planned.spec.name

    @property
    def requests(self) -> int:
        """How many records will be asked."""
        return self.planned.scan.requests

    @property
    def identical(self) -> int:
        """How many requests ask the same as another one."""
        return self.planned.scan.identical

    @property
    def at_hand(self) -> int:
        """How many requests, with `cache`, earlier jobs have the answers to."""
        return self.planned.reuse.requests

    @property
    def batches(self) -> int:
        """How many input files they make."""
        return self.planned.scan.files_total

    @property
    def bytes(self) -> int:
        """The size of all batch lines."""
        return self.planned.scan.bytes

    @property
    def tokens_in(self) -> int:
        """The estimated tokens of all prompts."""
        return self.planned.tokens_in

    @property
    def tokens_out(self) -> int | None:
        """The most tokens that all answers may have, None without a bound."""
        return self.planned.tokens_out

    @property
    def estimate(self) -> Estimate:
        """Tokens and money expected and at most, and how many results they rest on."""
        return self.planned.estimate

    @property
    def cost(self) -> Money | None:
        """What it costs with answers as long as they may be, None where that is unknown."""
        return self.planned.cost

    @property
    def online_cost(self) -> Money | None:
        """The same at the price of single calls."""
        return self.planned.online_cost

    @property
    def samples(self) -> list[dict[str, Any]]:
        """The bodies of the first requests, as many as `show` asked for."""
        return [msgspec.json.decode(request.body) for request in self.planned.samples]

    def to_dict(self) -> dict[str, Any]:
        """Return what `orchestrator plan --json` gives as data, without a command to submit it."""
        found = documents.jsonable(plan_document(self.planned))
        return found if isinstance(found, dict) else {}

    def _facts(self) -> dict[str, str]:
        spec = self.planned.spec
        at_most = f", at most {human.short(self.tokens_out)} out" if self.tokens_out else ""
        return {
            "to": " ".join(filter(None, (spec.provider, spec.model))),
            "requests": f"{self.requests:,}",
            "batches": f"{human.plural(self.batches, 'file')}, {human.size(self.bytes)}",
            "tokens": f"{human.short(self.tokens_in)} in{at_most}",
            "cost": _money(self.estimate),
        }

    def __repr__(self) -> str:
        """Return one line of figures, without what is asked."""
        batches = human.plural(self.batches, "batch", "batches")
        return (
            f"<Plan {self.name!r} {self.requests:,} requests, {batches}, {_money(self.estimate)}>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return html.facts_box(f'plan for job "{self.name}"', self._facts())


def _money(found: Estimate) -> str:
    """Return `about $5.91`, `at most $8.20`, or that nobody knows."""
    known = [
        f"{word} {human.money(money.amount, money.currency)}"
        for word, money in (("about", found.expected), ("at most", found.at_most))
        if money is not None
    ]
    return ", ".join(known) or "cost unknown"
