"""Export of outcomes to Parquet against what people write: a loop of json and csv, and pandas.

    python bench/export.py [ROWS] [--peers ROWS] [--url postgresql+psycopg://...]

All read the same finished job (typed source columns, chat completions as answers) from the same
registry. Prints rows a second of each, their ratios, and the peak memory of the export alone, from
one run. The peers run over fewer rows: pandas holds them all. With `--url` the registry is on
PostgreSQL; the database is emptied first. Add `--untyped` for a source that says no types.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.finished import completion, finished

from orchestrator import api
from orchestrator.domain.model import Job
from orchestrator.domain.profile import Price
from orchestrator.domain.shape import Column, Shape
from orchestrator.registry import migrate
from orchestrator.registry.session import Registry
from orchestrator.sinks.files import OutputFile

SHAPE = Shape(
    columns=(
        Column("id", "string"),
        Column("text", "string"),
        Column("stars", "int64"),
        Column("day", "date32[day]"),
        Column("price", "decimal128(10, 2)"),
        Column("tags", "list<item: string>"),
    )
)
TEXT = "The quick brown fox jumps over the lazy dog while the batch is running. " * 4
ANSWER = "Somebody describes a fox, and does so for the tenth time; the mood is patient. " * 2
JOIN = (
    "SELECT payloads.record, requests.state, responses.body, responses.tokens_in, "
    "responses.tokens_out FROM requests JOIN payloads ON payloads.request_id = requests.id "
    "JOIN responses ON responses.request_id = requests.id WHERE requests.id <= {last} "
    "ORDER BY requests.id"
)


def main() -> None:
    """Fill a registry, then let each one export it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--peers", type=int, default=100_000)
    parser.add_argument("--url")
    parser.add_argument("--untyped", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        url = args.url or f"sqlite:///{place / 'registry.db'}"
        job = fill(url, args.rows, typed=not args.untyped)
        ours = alone(export, url, job, place / "out.parquet")
        print(f"{'export to Parquet':22}: {told(args.rows, ours)}")
        if args.url:
            return
        rows = min(args.rows, args.peers)
        last = (job.id << 32) + rows - 1
        for name, peer in (("json and csv in a loop", loop), ("pandas", frame)):
            theirs = alone(peer, place / "registry.db", last, place / "peer")
            ratio = (args.rows / ours.seconds) / (rows / theirs.seconds)
            print(f"{name:22}: {told(rows, theirs)}; ours is {ratio:.1f} times as fast")


class Cost(NamedTuple):
    """What a run took: seconds by the clock and of the processors, and MiB at its peak."""

    seconds: float
    processor: float
    peak: float


def told(rows: int, cost: Cost) -> str:
    """Return a run in words."""
    return (
        f"{rows / cost.seconds:9,.0f} rows/s, {rows / cost.processor:9,.0f} a second of one "
        f"processor, peak {cost.peak:,.0f} MiB"
    )


def alone(work: Callable[..., None], *args: object) -> Cost:
    """Run `work` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=timed, args=(theirs, work, *args))
    process.start()
    theirs.close()
    result = Cost(*ours.recv())
    process.join()
    return result


def timed(pipe: Connection, work: Callable[..., None], *args: object) -> None:
    """Do `work` and say what it took."""
    started, used = time.perf_counter(), time.process_time()
    work(*args)
    cost = time.perf_counter() - started, time.process_time() - used
    pipe.send((*cost, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def price(_provider: str, _model: str) -> Price:
    """Know a price, as real exports do."""
    return Price(
        currency="USD", input=Decimal("0.6"), cached_input=Decimal("0.1"), output=Decimal("2.5"),
        as_of="2026-01-01",
    )  # fmt: skip


def export(url: str, job: Job, path: Path) -> None:
    """Export as the command does."""
    done = api.export(Registry(url), job, OutputFile(path), kind="parquet", prices=price)
    assert done.rows == job.books.records


def loop(registry: Path, last: int, path: Path) -> None:
    """Write CSV as most people do."""
    with sqlite3.connect(registry) as db, path.open("w", newline="") as file:
        writer = csv.writer(file)
        for record, state, body, tokens_in, tokens_out in db.execute(JOIN.format(last=last)):
            text = json.loads(body)["choices"][0]["message"]["content"]
            writer.writerow([*json.loads(record).values(), state, text, tokens_in, tokens_out])


def frame(registry: Path, last: int, path: Path) -> None:
    """Write Parquet as most people do."""
    import pandas as pd  # noqa: PLC0415 - only this peer pays for it

    with sqlite3.connect(registry) as db:
        rows = pd.read_sql_query(JOIN.format(last=last), db)
    table = pd.json_normalize(rows.record.apply(json.loads).tolist())
    table["outcome"] = rows.state
    table["answer"] = rows.body.apply(lambda b: json.loads(b)["choices"][0]["message"]["content"])
    table[["tokens_in", "tokens_out"]] = rows[["tokens_in", "tokens_out"]]
    table.to_parquet(path)


def fill(url: str, rows: int, *, typed: bool) -> Job:
    """Return a finished job of so many rows in a new registry."""
    if url.startswith("postgresql"):
        empty(url)
    registry = Registry(url, sync=False)
    migrate.ensure(registry, now=datetime.now(UTC))
    bodies = [completion(f"{number} {ANSWER}") for number in range(1_000)]
    job = finished(registry, records(rows), shape=SHAPE if typed else Shape(), bodies=bodies)
    registry.close()
    return job


def records(rows: int) -> Iterator[str]:
    """Yield rows of a typed table as the registry keeps them."""
    for number in range(rows):
        day = date(2026, 1, 1) + timedelta(days=number % 365)
        yield json.dumps(
            {"id": f"r-{number:08d}", "text": f"{number} {TEXT}", "stars": number % 5,
             "day": day.isoformat(), "price": f"{number % 10_000}.{number % 100:02d}",
             "tags": ["fox", "dog"][: number % 3]}
        )  # fmt: skip


def empty(url: str) -> None:
    """Drop everything in a PostgreSQL database."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.exec_driver_sql("DROP SCHEMA public CASCADE")
        db.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()


if __name__ == "__main__":
    main()
