"""Explain a provider: its gate, what waits for it, when it is asked again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from orchestrator.api.needs import stopped_by_a_copy
from orchestrator.api.stories import Choice, Explanation, SayTime
from orchestrator.domain.errors import NotFound
from orchestrator.domain.model import Account, Gate
from orchestrator.registry import accounts, batches, reports
from orchestrator.registry.session import Registry

PROVIDER = "provider:"


def explain_provider(
    registry: Registry, name: str, now: datetime, say_time: SayTime
) -> Explanation:
    """Explain the provider `name`. Raises NotFound for one that was never used."""
    with registry.read() as db:
        account = accounts.find(db, name)
        if account is None:
            known = [one.provider for one in accounts.everyone(db)]
            raise NotFound(
                f"{name} was never used from this registry",
                why=f"there are {', '.join(known)}" if known else "no provider was",
                next="orchestrator doctor",
            )
        live = len(batches.live(db, name))
        jobs_waiting, records = reports.waiting_at(db, name)
        copied = name in stopped_by_a_copy(db)
    state = "paused" if account.paused else account.gate.value
    return Explanation(
        subject=f"{PROVIDER}{name}",
        state=state,
        happened=tuple(_provider_story(account, live, jobs_waiting, records, say_time, copied)),
        waits_for=None,
        next=tuple(_provider_next(account, now, say_time)),
        if_nothing=_provider_if_nothing(account, copied),
        choices=tuple(_provider_choices(account, copied)),
    )


def _provider_story(
    account: Account, live: int, jobs_waiting: int, records: int, say_time: SayTime, copied: bool
) -> Iterator[str]:
    if account.gate is not Gate.OPEN:
        since = f" since {say_time(account.since)}" if account.since else ""
        yield f"its gate is {account.gate.value}{since}: {account.reason or 'it refused a call'}"
    elif account.reason and not copied:
        yield f"the last call that failed: {account.reason}"
    else:
        yield "its gate is open: the last call went well"
    if copied:
        yield "it was stopped: another copy of this registry sends batches under the same name"
    elif account.paused:
        yield "it is paused by a person"
    owners = "1 job" if jobs_waiting == 1 else f"{jobs_waiting:,} jobs"
    yield f"batches at work there: {live:,}; open records: {records:,}, of {owners}"
    if account.refreshed_at is not None:
        yield f"its batches were last listed {say_time(account.refreshed_at)}"
    if account.audited_at is not None:
        looked = say_time(account.audited_at)
        yield f"it was last looked over for batches that no row knows {looked}"


def _provider_next(account: Account, now: datetime, say_time: SayTime) -> Iterator[str]:
    if account.gate is not Gate.OPEN and account.until is not None:
        yield f"one call is let through {say_time(max(now, account.until))}; a yes opens the gate"
    yield f"its batches are listed again {say_time(max(now, account.refresh_due_at))}"


def _provider_if_nothing(account: Account, copied: bool) -> str:
    if account.gate is Gate.CLOSED:
        return (
            "nothing new is sent and nothing is marked failed; it is asked again from time to "
            "time, and work goes on by itself once it accepts it"
        )
    if copied:
        return "nothing new is sent; both copies collect what is in flight"
    if account.paused:
        return "nothing new is sent; what is in flight is still collected"
    return "work goes on"


def _provider_choices(account: Account, copied: bool) -> Iterator[Choice]:
    name = account.provider
    if copied:
        yield Choice("orchestrator recover --new-identity", "where both copies are to live on")
    if account.paused or account.gate is not Gate.OPEN:
        yield Choice(f"orchestrator resume {PROVIDER}{name}", "asks it again at once")
    if not account.paused:
        yield Choice(f"orchestrator pause {PROVIDER}{name}", "nothing new is sent to it")
    yield Choice(f"orchestrator doctor {name}", "checks key, clock, limits and balance")
