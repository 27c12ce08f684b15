"""A whole job against the sandbox on this machine: seconds, peak memory, and `kill -9` on the way.

    python bench/whole_job.py 10000 100000            time and memory of submit and watch, per size
    python bench/whole_job.py 100000 --kill           kill -9 in each phase, the same command again
    python bench/whole_job.py 100000 --kill --url postgresql+psycopg://...

The sandbox is a process of its own with its files on disk; the orchestrator talks to it over HTTP.
With `--kill` the process is killed as soon as the registry shows the next kind of event, so once in
each phase, and started again; at the end the export is checked record by record and the sandbox's
own batches are counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.killing import Killer

PORT = 8655
TEXT = "The quick brown fox jumps over the lazy dog while the batch is running. " * 12


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=int, nargs="+")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--url", help="a PostgreSQL registry; it is emptied first")
    args = parser.parse_args()
    for records in args.records:
        with tempfile.TemporaryDirectory() as folder:
            Run(Path(folder), records, args.url).run(kill=args.kill)


class Run:
    """One job in a folder of its own."""

    def __init__(self, folder: Path, records: int, url: str | None) -> None:
        self.folder = folder
        self.records = records
        self.url = url or f"sqlite:///{folder / 'registry.db'}"
        self.killer = Killer(folder, self.url)
        (folder / "orchestrator.toml").write_text(
            "schema = 1\n"
            f"[registry]\nurl = {json.dumps(self.url)}\n"
            f"[spool]\ndir = {json.dumps(str(folder / 'spool'))}\n"
            f'[providers.sandbox]\nbase_url = "http://127.0.0.1:{PORT}/v1"\n'
            '[daemon]\npoll_min = "1s"\npoll_max = "5s"\nlease = "10s"\n'
            'tick = "1s"\nsettle = "3s"\n'
        )

    def run(self, *, kill: bool) -> None:
        """Submit, follow to the end, export, check."""
        if self.url.startswith("postgresql"):
            empty(self.url)
        source = self.folder / "source.jsonl"
        with source.open("w", encoding="utf-8") as file:
            for number in range(self.records):
                file.write(json.dumps({"id": f"r-{number:08d}", "text": f"{number} {TEXT}"}) + "\n")
        sandbox = subprocess.Popen(
            [*program(), "sandbox", "--port", str(PORT), "--speed", "3600x",
             "--state", str(self.folder / "sandbox")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder,
        )  # fmt: skip
        try:
            wait_for_sandbox()
            size = source.stat().st_size / self.records
            print(
                f"{self.records:,} records of {size:,.0f} bytes, registry {self.url.split(':')[0]}"
            )
            self.step(
                ["submit", str(source), "--name", "bench", "--key", "id",
                 "--prompt", "One word: {text}", "--set", "body.max_tokens=16",
                 "--provider", "sandbox", "--model", "kimi-k2.6"], kill=kill,
            )  # fmt: skip
            self.step(["watch", "bench", "--progress", "off"], kill=kill)
            self.step(["export", "bench", "-o", str(self.folder / "out.jsonl")], kill=False)
            self.check()
        finally:
            sandbox.terminate()
            sandbox.wait()

    def step(self, command: list[str], *, kill: bool) -> None:
        """Run one command to its end, killed as often as there are phases left in it."""
        started, peak, user = time.monotonic(), 0.0, 0.0
        while True:
            process = self.killer.start(*command)
            killed = kill and self.killer.kill_in_a_new_phase(process)
            assert process.stderr is not None
            errors = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            peak, user = max(peak, usage.ru_maxrss / 1024), user + usage.ru_utime + usage.ru_stime
            if not killed:
                break
        if process.returncode:
            sys.exit(f"{command[0]} ended with {process.returncode}: {errors.decode()}")
        wall = time.monotonic() - started
        print(f"  {command[0]:7} {wall:7.1f} s   {user:6.1f} s CPU   peak {peak:5.0f} MiB"
              f"   {self.records / wall:9,.0f} records/s")  # fmt: skip

    def check(self) -> None:
        """Hold the export against the source, and the sandbox's batches against the registry's."""
        position = 0
        with (self.folder / "out.jsonl").open("rb") as file:
            for position, line in enumerate(file, start=1):
                row = json.loads(line)
                expected = f"r-{position - 1:08d}"
                assert row["id"] == expected, f"row {position} is {row['id']}, not {expected}"
                assert row["outcome"] == "succeeded", row
        assert position == self.records, f"{position} rows exported"
        tokens = Counter(batch["metadata"]["orc_token"] for batch in remote_batches())
        assert set(tokens.values()) == {1}, "a batch was created twice"
        told = f"; killed in {', '.join(died)}" if (died := self.killer.died_in) else ""
        print(f"  every record once, in order; {len(tokens)} remote batches, none twice{told}")


def program() -> list[str]:
    """Return how the orchestrator is called."""
    return [sys.executable, "-m", "orchestrator.cli.main"]


def wait_for_sandbox() -> None:
    """Return once the sandbox answers."""
    for _ in range(600):
        try:
            httpx.get(f"http://127.0.0.1:{PORT}/v1/models")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    sys.exit("the sandbox does not answer")


def remote_batches() -> list[dict[str, dict[str, str]]]:
    """Return every batch of the sandbox."""
    found: list[dict[str, dict[str, str]]] = []
    after = ""
    while True:
        query = {"limit": "100", **({"after": after} if after else {})}
        page = httpx.get(f"http://127.0.0.1:{PORT}/v1/batches", params=query).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = page["data"][-1]["id"]


def empty(url: str) -> None:
    """Drop everything in a PostgreSQL database."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.exec_driver_sql("DROP SCHEMA public CASCADE")
        db.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


if __name__ == "__main__":
    main()
