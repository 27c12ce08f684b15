"""The way in: records of 1 KB from Parquet, read, rendered, checked, packed and registered.

    python bench/intake.py 1000000
    python bench/intake.py 200000 --url postgresql+psycopg://...

Each contender is a process of its own, bound to the same single core. `submit` is what the command
does, on a new SQLite file with its settings for every day (WAL, synchronous=FULL). The plain loop
is what most people write: pandas, iterrows, json.dumps, one file for each 50,000 lines; it checks
nothing and keeps nothing. The barest script reads the same file and writes the same two tables with
nothing but pyarrow, msgspec and executemany.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

TEXT = "The quick brown fox jumps over the lazy dog while the batch is running. " * 13
PROMPT = "One word: "
MODEL = "kimi-k2.6"
URL = "/v1/chat/completions"
LINES = 50_000
CHUNK = 5_000


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=int)
    parser.add_argument("--url", help="a PostgreSQL registry for `submit`; its job bench is new")
    parser.add_argument("--child", choices=("source", *CONTENDERS))
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    if args.child:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        made_by = write_source if args.child == "source" else CONTENDERS[args.child]
        made_by(args)
        return
    with tempfile.TemporaryDirectory() as made:
        compare(Path(made), args.records, args.url)


def compare(folder: Path, records: int, url: str | None) -> None:
    """Run every contender once and print its speed, its memory and the ratios."""
    # The peak of a process counts what its parent had when it was made: this one stays small.
    subprocess.run(command_of("source", folder, records, url), check=True)
    print(f"{records:,} records of {len(TEXT):,} characters from Parquet, one core")
    took: dict[str, tuple[float, float]] = {}
    for name in CONTENDERS:
        command = command_of(name, folder, records, url)
        began = time.monotonic()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            sys.exit(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
        wall, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
        took[name] = wall, cpu
        told = f"{wall:7.1f} s {cpu:7.1f} s CPU   peak {usage.ru_maxrss / 1024:5.0f} MiB"
        print(f"  {name:8}{told}   {records / wall:8,.0f} records/s, {records / cpu:8,.0f} a CPU s")
        for left in folder.glob(f"{name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    for other in ("plain", "barest"):
        by_wall, by_cpu = (
            theirs / own for theirs, own in zip(took[other], took["submit"], strict=True)
        )
        print(f"  submit: {by_wall:.2f} times as fast as {other}, {by_cpu:.2f} by CPU seconds")


def command_of(name: str, folder: Path, records: int, url: str | None) -> list[str]:
    """Return the command of one contender."""
    command = [sys.executable, __file__, str(records), "--child", name, "--folder", str(folder)]
    return command + (["--url", url] if url else [])


def write_source(args: argparse.Namespace) -> None:
    """Write a Parquet file with a key and a text of about 1 KB."""
    import pyarrow as pa  # noqa: PLC0415 - in its own process only
    import pyarrow.parquet as pq  # noqa: PLC0415

    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    with pq.ParquetWriter(args.folder / "source.parquet", schema) as writer:
        for first in range(0, args.records, 20_000):
            numbers = range(first, min(first + 20_000, args.records))
            columns = [[f"r-{n:08d}" for n in numbers], [f"{n} {TEXT}" for n in numbers]]
            writer.write_table(pa.table(columns, schema=schema))


def submit(args: argparse.Namespace) -> None:
    """Do what the command does, with its own durability."""
    from orchestrator.cli.main import main as command  # noqa: PLC0415 - in its own process only

    folder, url = args.folder, args.url
    os.environ["ORCHESTRATOR_SYSTEM_CONFIG"] = "/nowhere"
    os.environ["HOME"] = str(folder)
    (folder / "orchestrator.toml").write_text(
        f"schema = 1\n[registry]\nurl = {json.dumps(url or f'sqlite:///{folder}/submit.db')}\n"
        f"[spool]\ndir = {json.dumps(str(folder / 'submit-spool'))}\n"
        '[providers.sandbox]\nbase_url = "http://127.0.0.1:9/v1"\n'
    )
    os.chdir(folder)
    sys.argv = ["orchestrator", "submit", "source.parquet", "--name", "bench", "--key", "id"]
    sys.argv += ["--prompt", PROMPT + "{text}", "--provider", "sandbox", "--model", MODEL]
    sys.argv += ["--set", "body.max_tokens=16"]
    sys.exit(command())


def plain(args: argparse.Namespace) -> None:
    """Write batch files as most people do."""
    import pandas as pd  # noqa: PLC0415 - in its own process only

    folder = args.folder
    file = None
    for at, row in pd.read_parquet(folder / "source.parquet").iterrows():
        if at % LINES == 0:
            if file is not None:
                file.close()
            file = (folder / f"plain-{at // LINES}.jsonl").open("w", encoding="utf-8")
        message = {"role": "user", "content": f"{PROMPT}{row['text']}"}
        body = {"model": MODEL, "messages": [message], "max_tokens": 16}
        line = {
            "custom_id": row["id"],
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }
        file.write(json.dumps(line) + "\n")
    file.close()


def barest(args: argparse.Namespace) -> None:
    """Write the same rows with nothing around."""
    from orchestrator.registry.session import PAGE  # noqa: PLC0415 - in its own process only

    folder = args.folder
    db = sqlite3.connect(folder / "barest.db", isolation_level=None)
    for pragma in (f"page_size={PAGE}", "journal_mode=WAL", "synchronous=FULL"):
        db.execute(f"PRAGMA {pragma}")
    db.execute(
        "CREATE TABLE requests (id INTEGER PRIMARY KEY, job_id INTEGER, custom_id TEXT, key TEXT,"
        " state TEXT, model TEXT, size INTEGER, batch_id INTEGER, UNIQUE (job_id, custom_id))"
    )
    db.execute("CREATE INDEX ready ON requests (job_id, model, id)")
    db.execute("CREATE TABLE payloads (request_id INTEGER PRIMARY KEY, record TEXT, body TEXT)")
    for chunk in rows(folder / "source.parquet"):
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO requests VALUES (?,1,?,NULL,'pending',?,?,NULL)", [
            (n, key, MODEL, len(body) + 90) for n, key, _, body in chunk
        ])  # fmt: skip
        db.executemany(
            "INSERT INTO payloads VALUES (?,?,?)",
            [(n, record.decode(), body.decode()) for n, _, record, body in chunk],
        )
        db.execute("COMMIT")
    db.close()


def rows(path: Path) -> Iterator[list[tuple[int, str, bytes, bytes]]]:
    """Yield numbered rows with record and body as JSON text, a chunk at a time."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - in its own process only

    encode, number = msgspec.json.encode, 0
    for batch in pq.ParquetFile(path).iter_batches(CHUNK):
        chunk = []
        for key, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            message = {"role": "user", "content": PROMPT + text}
            body = {"model": MODEL, "messages": [message], "max_tokens": 16}
            chunk.append((number, key, encode({"id": key, "text": text}), encode(body)))
            number += 1
        yield chunk


CONTENDERS = {"submit": submit, "plain": plain, "barest": barest}

if __name__ == "__main__":
    main()
