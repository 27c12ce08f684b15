"""What was spent, by job, model, day, provider or kind: sums of the ledger, exact, by currency."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal

from orchestrator.api.lookup import job_named
from orchestrator.domain.charging import WASTE, Charge, money, priced_anew
from orchestrator.domain.money import Money
from orchestrator.domain.profile import Price
from orchestrator.domain.progress import DayPrices, no_day_prices
from orchestrator.domain.tariff import Rates
from orchestrator.registry import charges, jobs
from orchestrator.registry.charges import Row
from orchestrator.registry.session import Registry

By = Literal["job", "model", "day", "provider", "kind"]
BYS: tuple[By, ...] = ("job", "model", "day", "provider", "kind")


@dataclass(slots=True)
class CostLine:
    """What one job, model, day, provider or kind has used and cost in one currency.

    `estimated` takes what was estimated before: every answer at its longest. Amounts are in the
    ledger's unit. Without a currency nothing of it has a price.
    """

    name: str
    currency: str
    requests: int = 0
    unpriced: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    estimated: int = 0
    amount: int = 0
    wasted: int = 0
    online: int = 0

    def add(self, charge: Charge, price: Price | None) -> None:
        """Count a charge of this currency in."""
        self.requests += charge.requests
        self.unpriced += charge.unpriced
        self.tokens_in += charge.tokens_in
        self.tokens_out += charge.tokens_out
        self.tokens_cached += charge.tokens_cached
        self.amount += charge.amount
        self.online += charge.online
        if charge.kind in WASTE:
            self.wasted += charge.amount
        elif price is not None and price.currency == self.currency:
            self.estimated += Rates.of(price).amount(charge.est_in, 0, charge.est_out)

    def money(self, amount: int) -> Money | None:
        """Return an amount as money, None where nothing has a price."""
        return money(amount, self.currency) if self.currency else None

    def to_row(self) -> dict[str, object]:
        """Return the line as a list shows it."""
        return {
            "name": self.name,
            "requests": self.requests,
            "unpriced": self.unpriced,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "tokens_cached": self.tokens_cached,
            "estimated": self.money(self.estimated),
            "cost": self.money(self.amount),
            "wasted": self.money(self.wasted),
            "saved": self.money(self.online - self.amount),
            "currency": self.currency or None,
        }


def cost_lines(
    registry: Registry,
    *,
    by: By = "job",
    since: date | None = None,
    job: str | None = None,
    prices: DayPrices = no_day_prices,
) -> list[CostLine]:
    """Return what was spent since a day, of one job or of all, in lines by name and currency.

    `prices` gives its price to what had none on its day. Raises NotFound.
    """
    with registry.read() as db:
        owner = job_named(db, job).id if job is not None else None
        rows = charges.since(db, since, job_id=owner)
        names = jobs.names(db, sorted({row.job_id for row in rows})) if by == "job" else {}
    return _grouped(rows, lambda row: _name(row, by, names), prices)


def _name(row: Row, by: By, names: dict[int, str]) -> str:
    match by:
        case "job":
            return names[row.job_id]
        case "model":
            return f"{row.provider}/{row.model}"
        case "day":
            return row.day.isoformat()
        case "provider":
            return row.provider
    return row.charge.kind.value


def _grouped(
    rows: Iterable[Row], name_of: Callable[[Row], str], prices: DayPrices
) -> list[CostLine]:
    lines: dict[tuple[str, str], CostLine] = {}
    for row in rows:
        price = prices(row.provider, row.model, row.day)
        known = priced_anew(row.charge, price)
        key = (name_of(row), known.currency)
        lines.setdefault(key, CostLine(*key)).add(known, price)
    return list(lines.values())


def totals(lines: Iterable[CostLine]) -> list[CostLine]:
    """Return the sum of some lines, one for each currency; what has no price is left out."""
    sums: dict[str, CostLine] = {}
    for line in lines:
        if line.currency:
            whole = sums.setdefault(line.currency, CostLine("all", line.currency))
            for name in CostLine.__slots__:
                if name not in {"name", "currency"}:
                    setattr(whole, name, getattr(whole, name) + getattr(line, name))
    return list(sums.values())
