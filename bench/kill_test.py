"""The kill test at any length: daemons on one PostgreSQL, killed, stopped, cut off all the while.

    python bench/kill_test.py --minutes 30 --daemons 8 --records 20000

Random `kill -9`, SIGSTOP for longer than the lease, sessions terminated by the server, a network
that cuts, holds up and refuses, PostgreSQL restarted (`fsync=on`, immediate and fast). Whoever dies
is started again. At the end every record is held against the export, every equation of `verify`
and the sandbox's own books against the registry; then the figures are printed.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fleet.havoc import Plan
from fleet.kill_test import Outcome, kill_test


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--daemons", type=int, default=8)
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--pause", type=float, default=1.5, help="mean seconds between two blows")
    parser.add_argument("--seed", type=int, default=None)
    args = parser.parse_args()
    seed = secrets.randbelow(1 << 32) if args.seed is None else args.seed
    plan = Plan(
        seed=seed,
        records=args.records,
        a_batch=max(1, args.records // 200),
        daemons=args.daemons,
        seconds=args.minutes * 60,
        pause=args.pause,
    )
    print(f"seed {seed}: {args.daemons} daemons, {args.records:,} records", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        summary(kill_test(Path(folder), plan, tell=lambda line: print(line, flush=True)))


def summary(outcome: Outcome) -> None:
    """Print the figures, and fail if one of them is wrong."""
    toll = outcome.fleet.toll
    print(f"ended after {toll.seconds:,.0f} s; {toll.starts} daemons were started")
    for name, count in toll.blows.most_common():
        print(f"  {count:6,} x {name}")
    print(f"  {outcome.takeovers:6,} batches taken over after a lease")
    for name in ("claim_lost", "lease_lost", "registry_lost", "tick_failed", "put_off"):
        print(f"  {outcome.logged[name]:6,} x {name} in the logs")
    print(f"outcomes: {dict(outcome.outcomes)}; {outcome.remote_batches} remote batches")
    for line in outcome.bugs:
        print(line)
    if outcome.bugs or outcome.verified or any(outcome.statuses) or toll.left:
        sys.exit(f"verify {outcome.verified}, statuses {outcome.statuses}, left {toll.left}")


if __name__ == "__main__":
    main()
