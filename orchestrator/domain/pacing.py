"""When to look next, and how long to wait: pure arithmetic over times given in."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from orchestrator.domain.model import Batch


class Pace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every interval of the engine, in seconds.

    Settle: an unanswered create is looked for `settle_looks` times over `settle_seconds` before
    its input file is revoked (call deadline + 60 s, at least three looks).
    """

    poll_min: float = 15.0
    poll_max: float = 600.0
    back_off_min: float = 5.0
    back_off_max: float = 900.0
    call_deadline: float = 120.0
    settle_seconds: float = 180.0
    settle_looks: int = 3
    revoke_seconds: float = 30.0
    renewals_max: int = 3
    file_grace: float = 600.0
    gone_seconds: float = 86_400.0
    overdue_seconds: float = 21_600.0
    stale_seconds: float = 1_800.0
    cap: float = 3_600.0
    lease_seconds: float = 60.0
    gate_slow_max: float = 3_600.0
    gate_probe: float = 300.0
    audit_seconds: float = 3_600.0
    keep_remote: float = 0.0


def furthest(pace: Pace, now: datetime) -> datetime:
    """Return the time beyond which nothing is ever put off.

    What is due later was put off by a clock that has been set back since.
    """
    longest = max(pace.cap, pace.audit_seconds, pace.gate_slow_max, pace.back_off_max)
    return now + seconds(2 * longest)


def seconds(value: float) -> timedelta:
    """Return `value` seconds as a timedelta."""
    return timedelta(seconds=value)


def back_off(tries: int, pace: Pace, spread: float) -> timedelta:
    """Return the wait after `tries` failures in a row; `spread` in [0, 1) is the jitter."""
    base = min(pace.back_off_max, pace.back_off_min * 2.0 ** min(tries, 16))
    return seconds(base * (0.5 + spread / 2))


def next_look(batch: Batch, now: datetime, pace: Pace) -> datetime:
    """Say when a live batch is worth a look: often when young or near its end, else seldom.

    A batch looks near its end when more than nine tenths of its lines are done, or when it is
    finalizing or cancelling.
    """
    started = batch.remote_created_at or batch.state_at
    age = max(0.0, (now - started).total_seconds())
    interval = min(pace.poll_max, max(pace.poll_min, age / 20))
    if _near_its_end(batch):
        interval = pace.poll_min * 2
    return now + seconds(min(interval, pace.poll_max))


def _near_its_end(batch: Batch) -> bool:
    if batch.remote_status in {"finalizing", "cancelling"}:
        return True
    done = (batch.remote_completed or 0) + (batch.remote_failed or 0)
    return bool(batch.remote_total) and done > 0.9 * (batch.remote_total or 0)
