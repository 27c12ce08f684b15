"""Reading records of 1 KB from each kind of source, against the loop that most people write.

    python bench/sources.py [ROWS] [--peers ROWS] [--only KIND]

Each kind runs in a process of its own, so that its peak memory is its own. The peer is
`pandas.read_parquet`, `iterrows` and `json.dumps` a row, over fewer rows: pandas holds them all.
Prints rows a second (of processor time and of wall time), the ratio to the peer, and peak memory,
from one run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyarrow as pa
from pyarrow import parquet

from orchestrator.sources.port import Opening
from orchestrator.sources.registry import open_source

TEXT = "The quick brown fox jumps over the lazy dog while the batch is running. " * 13
STEP = 50_000
SCHEMA = pa.schema([("id", pa.string()), ("stars", pa.int64()), ("text", pa.string())])


class Figures(NamedTuple):
    """What one process measured."""

    rows: int
    cpu: float
    wall: float
    peak_mib: int


def chunks(rows: int) -> Iterator[pa.Table]:
    """Yield the records, a table of some at a time."""
    for first in range(0, rows, STEP):
        numbers = range(first, min(rows, first + STEP))
        columns = {
            "id": [f"r-{n:09d}" for n in numbers],
            "stars": [n % 5 for n in numbers],
            "text": [f"{n} {TEXT}" for n in numbers],
        }
        yield pa.table(columns, schema=SCHEMA)


def write(kind: str, path: Path, rows: int) -> None:
    if kind == "parquet":
        with parquet.ParquetWriter(path, SCHEMA) as out:
            for table in chunks(rows):
                out.write_table(table)
    elif kind == "feather":
        with pa.ipc.new_file(path, SCHEMA) as out:
            for table in chunks(rows):
                out.write_table(table, max_chunksize=10_000)
    elif kind == "sql":
        _write_table(path, rows)
    else:
        _write_text(kind, path, rows)


def _write_table(path: Path, rows: int) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE reviews (id TEXT PRIMARY KEY, stars INTEGER, text TEXT) WITHOUT ROWID")
    for table in chunks(rows):
        values = zip(*(column.to_pylist() for column in table.columns), strict=True)
        db.executemany("INSERT INTO reviews VALUES (?, ?, ?)", values)
    db.commit()
    db.close()


def _write_text(kind: str, path: Path, rows: int) -> None:
    with path.open("wb") as out:
        if kind == "csv":
            out.write(b"id,stars,text\n")
        for table in chunks(rows):
            for row in table.to_pylist():
                line = ",".join(map(str, row.values())) if kind == "csv" else json.dumps(row)
                out.write(line.encode() + b"\n")


def read(kind: str, path: Path) -> int:
    """Read every record; return how many there are."""
    location, options = str(path), {}
    if kind == "sql":
        location, options = f"sqlite:///{path}", {"table": "reviews"}
    source = open_source(location, options=options, opening=Opening(workdir=path.parent))
    return sum(1 for _ in source.records())


def read_and_encode(_kind: str, path: Path) -> int:
    """Read every record and make its JSON text, as it is registered."""
    encode = msgspec.json.encode
    return sum(1 for row in open_source(str(path)).records() if encode(row.data))


def plain_loop(_kind: str, path: Path) -> int:
    import pandas as pd  # noqa: PLC0415 - only the peer needs it

    count = 0
    for _, row in pd.read_parquet(path).iterrows():
        count += bool(json.dumps({name: str(value) for name, value in row.items()}))
    return count


def _measured(work: Callable[[str, Path], int], kind: str, path: Path, out: Connection) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    rows = work(kind, path)
    spent = time.process_time() - cpu, time.perf_counter() - wall
    out.send(Figures(rows, *spent, _peak_mib()))


def _peak_mib() -> int:
    """Return this program's own peak: what getrusage tells begins with that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


def measure(work: Callable[[str, Path], int], kind: str, path: Path) -> Figures:
    """Run `work` in a fresh process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(work, kind, path, sender))
    process.start()
    found: Figures = receiver.recv()
    process.join()
    return found


KINDS = {"parquet": "parquet", "feather": "feather", "jsonl": "jsonl", "csv": "csv", "sql": "db"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--peers", type=int, default=100_000)
    parser.add_argument("--only", choices=KINDS)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-sources-") as folder:
        peers = Path(folder) / "peers.parquet"
        write("parquet", peers, chosen.peers)
        peer = measure(plain_loop, "parquet", peers)
        base = peer.rows / peer.cpu
        show("pandas iterrows + json.dumps", peer, base)
        for kind, ending in KINDS.items():
            if chosen.only not in (None, kind):
                continue
            path = Path(folder) / f"records.{ending}"
            write(kind, path, chosen.rows)
            show(kind, measure(read, kind, path), base)
            if kind == "parquet":
                show("parquet, as JSON text", measure(read_and_encode, kind, path), base)
            path.unlink()


def show(name: str, found: Figures, base: float) -> None:
    cpu = found.rows / found.cpu
    wall = found.rows / found.wall
    print(
        f"{name:<30} {found.rows:>10,} rows  {cpu:>9,.0f}/s of processor  {wall:>9,.0f}/s  "
        f"{cpu / base:>5.1f} x  peak {found.peak_mib:>4} MiB"
    )


if __name__ == "__main__":
    main()
