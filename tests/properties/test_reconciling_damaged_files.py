"""Result files of any shape: shuffled, repeated, cut and damaged lines through a whole reconcile.

Every line is accounted for, every request has one outcome, none has another's, and reading the
same files again changes nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from support.world import World

from orchestrator.domain.errors import ClaimLost
from orchestrator.domain.model import Batch, BatchState, Job
from orchestrator.domain.transitions import REQUEST_TRANSITIONS
from orchestrator.engine.context import Context
from orchestrator.engine.steps.reconcile import reconcile
from orchestrator.registry import batches, jobs, requests, tables
from orchestrator.registry.session import Registry

MEMBERS = 6
SOURCES = ("output", "error")


class Collected(NamedTuple):
    """A batch whose files are on disk and unread, and what the provider really said."""

    database: Path
    world: World
    batch: Batch
    job: Job
    said: list[bytes]


@pytest.fixture(scope="module")
def collected(databases: Any, tmp_path_factory: pytest.TempPathFactory) -> Collected:
    registry = Registry(databases.fresh("sqlite"), sync=False)
    world = World(registry, tmp_path_factory.mktemp("collected"))
    world.stopping = lambda: any(b.state is BatchState.COLLECTED for b in world.batches())
    world.submit(MEMBERS)
    for _ in range(200):
        if world.stopping():
            break
        world.clock.sleep(60)
        world.tick()
    (batch,) = world.batches()
    assert batch.state is BatchState.COLLECTED
    job = world.job()
    said = world.context.spool.result_path(batch.id, "output").read_bytes()
    registry.close()
    assert registry.path is not None
    return Collected(registry.path, world, batch, job, said.splitlines(keepends=True))


def failure(custom_id: str) -> bytes:
    body = {"error": {"type": "invalid_request_error", "message": f"no to {custom_id}"}}
    response = {"status_code": 400, "request_id": "q", "body": body}
    line = {"custom_id": custom_id, "response": response, "error": None}
    return msgspec.json.encode(line) + b"\n"


def said_differently(line: bytes) -> bytes:
    return line.replace(b'"content":"', b'"content":"again ', 1)


class Damage(NamedTuple):
    """What is made of a line of the batch."""

    member: int
    how: str
    at: int
    junk: bytes

    def of(self, said: list[bytes]) -> bytes:
        line = said[self.member]
        custom_id = msgspec.json.decode(line)["custom_id"]
        at = self.at % len(line)
        made = {
            "said": line,
            "said differently": said_differently(line),
            "failed": failure(custom_id),
            "another's": line.replace(custom_id.encode(), b"stranger"),
            "mixed up": line.replace(custom_id.encode(), f"r-0000{at % 9}".encode()),
            "cut": line[:at] + b"\n",
            "cut and joined": line[:at],
            "flipped": line[:at] + bytes([line[at] ^ 1 << at % 8]) + line[at + 1 :],
            "filled": line[:at] + self.junk + line[at:],
            "bom": b"\xef\xbb\xbf" + line,
            "crlf": line.replace(b"\n", b"\r\n"),
            "nul": b"\0" + line,
            "blank": b" \t\n",
            "junk": self.junk + b"\n",
        }
        return made[self.how]


HOW = ["said"] * 6 + ["failed"] * 3 + ["said differently", "another's", "mixed up", "cut"]
HOW += ["cut and joined", "flipped", "filled", "bom", "crlf", "nul", "blank", "junk"]
damages = st.builds(
    Damage,
    member=st.integers(0, MEMBERS - 1),
    how=st.sampled_from(HOW),
    at=st.integers(0, 10_000),
    junk=st.binary(max_size=8),
)
files = st.lists(damages, max_size=14)


class Copy:
    """A copy of the registry beside result files of one's own."""

    def __init__(self, collected: Collected, name: str, contents: list[bytes]) -> None:
        path = collected.world.folder / f"{name}.db"
        shutil.copy(collected.database, path)
        self.registry = Registry(f"sqlite:///{path}", sync=False)
        self.job = collected.job
        self.stops: list[bool] = []
        self.context: Context = dataclasses.replace(
            collected.world.context,
            registry=self.registry,
            stopping=lambda: bool(self.stops) and self.stops.pop(0),
        )
        changes: dict[str, Any] = {}
        for source, content in zip(SOURCES, contents, strict=True):
            self.context.spool.result_path(collected.batch.id, source).write_bytes(content)
            changes[f"{source}_sha256"] = hashlib.sha256(content).hexdigest()
            changes[f"{source}_bytes"] = len(content)
        update = sa.update(tables.batches).values(**changes)
        self.registry.write(lambda db: db.execute(update))
        with self.registry.read() as db:
            self.batch = batches.get(db, collected.batch.id)
        self.first = self.batch

    def read_files(self, *stops: bool) -> None:
        """Reconcile as far as the stops allow."""
        self.stops = list(stops)
        with self.registry.read() as db:
            self.batch = batches.get(db, self.batch.id)
        self.batch = reconcile(self.context, self.batch, self.job)

    def rows(self, table: sa.Table) -> list[dict[str, Any]]:
        with self.registry.read() as db:
            found = [dict(row) for row in db.execute(sa.select(table)).mappings()]
        kept = [
            {k: v for k, v in row.items() if k != "id" or table is tables.requests} for row in found
        ]
        return sorted(kept, key=repr)

    def everything(self) -> dict[str, Any]:
        found = {
            table.name: self.rows(table)
            for table in (
                tables.requests,
                tables.responses,
                tables.failures,
                tables.quarantine,
                tables.jobs,
                tables.charges,
            )
        }
        with self.registry.read() as db:
            found["batch"] = batches.get(db, self.batch.id)
        return found


def lines_of(content: bytes) -> dict[int, bytes]:
    """Return the lines that are not blank, by number; a line ends with its line feed only."""
    ended = content.split(b"\n")
    whole = [part + b"\n" for part in ended[:-1]] + [part for part in ended[-1:] if part]
    return {number: raw for number, raw in enumerate(whole, start=1) if not raw.isspace()}


def custom_id_in(raw: bytes) -> str | None:
    """Read whose line this is by the standard library, which takes what we mend."""
    text = raw.decode("utf-8", "replace").lstrip("\ufeff").replace("\0", "")
    try:
        found = json.loads(text, strict=False)["custom_id"]
    except ValueError:
        return None
    return str(found)


@pytest.mark.fault("R02", "R03", "R04", "R05", "R06", "R07", "R11", "D05")
def test_every_line_is_accounted_for_and_every_request_has_its_own_outcome(
    collected: Collected, often: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count(1)
    seen: Counter[str] = Counter()

    @often(60, 300)
    @given(files, files, st.integers(0, 60))
    def holds(output: list[Damage], error: list[Damage], cut: int) -> None:
        contents = [
            b"".join(damage.of(collected.said) for damage in one) for one in (output, error)
        ]
        contents[0] = contents[0][: len(contents[0]) - cut]
        once = Copy(collected, f"once-{next(numbers)}", contents)
        once.read_files()
        if once.batch.state is BatchState.PARKED:
            check_held(once, contents, collected.said, seen)
        else:
            check(once, contents, collected, seen)
        check_again(once, collected, contents, monkeypatch, next(numbers))
        once.registry.close()

    holds()
    assert all(seen[word] for word in ("response", "failure", "quarantine", "repeat", "held"))


def check(once: Copy, contents: list[bytes], collected: Collected, seen: Counter[str]) -> None:
    lines = {
        (source, number): raw
        for source, content in zip(SOURCES, contents, strict=True)
        for number, raw in lines_of(content).items()
    }
    responses, failures = once.rows(tables.responses), once.rows(tables.failures)
    odd = [(row["source"], row["line"]) for row in once.rows(tables.quarantine)]
    answered = {(row["source"], row["line"]): row for row in (*responses, *failures)}
    answered.pop(("none", 0), None)
    places = [*answered, *odd]
    assert len(set(places)) == len(places), "a line was taken twice"
    assert set(places) <= set(lines)
    kept = {lines[place].strip() for place in places}
    left = [raw.strip() for place, raw in lines.items() if place not in set(places)]
    assert all(raw in kept for raw in left), "a line that is no repetition was left out"
    check_outcomes(once, responses, failures)
    custom_ids = {row["id"]: row["custom_id"] for row in once.rows(tables.requests)}
    for place, row in answered.items():
        assert custom_id_in(lines[place]) == custom_ids[row["request_id"]]
    for row in responses:
        raw = lines[row["source"], row["line"]]
        if raw in collected.said:
            assert row["body"] in raw.decode()
    taken = {custom_ids[row["request_id"]]: (row["source"], row["line"]) for row in responses}
    good = {*collected.said, *map(said_differently, collected.said)}
    for place in [place for place, raw in lines.items() if raw in good]:
        mine = taken[custom_id_in(lines[place]) or ""]  # a paid answer is recorded
        assert (SOURCES.index(mine[0]), mine[1]) <= (SOURCES.index(place[0]), place[1])
    seen["response"] += len(responses)
    seen["failure"] += len(answered) - len(responses)
    seen["quarantine"] += len(odd)
    seen["repeat"] += len(left)


def check_outcomes(
    once: Copy, responses: list[dict[str, Any]], failures: list[dict[str, Any]]
) -> None:
    judged = Counter(row["request_id"] for row in (*responses, *failures))
    rows = once.rows(tables.requests)
    assert judged == {row["id"]: 1 for row in rows}, "not one outcome for each request"
    answered = {row["request_id"] for row in responses}
    final = {row["request_id"] for row in failures if row["final"]}
    for row in rows:
        assert (row["state"] == "succeeded") == (row["id"] in answered)
        assert (row["state"] in {"failed", "expired"}) == (row["id"] in final)
        assert row["state"] in REQUEST_TRANSITIONS
    with once.registry.read() as db:
        job = jobs.get(db, once.job.id)
        counted = requests.counts_by_state(db, once.job.id)
    assert job.books.balanced
    assert job.books.records == MEMBERS
    assert job.books.succeeded == counted.get("succeeded", 0) == len(answered)
    assert job.books.waiting == counted.get("pending", 0)
    assert job.books.in_flight == counted.get("assigned", 0) == 0


def check_held(once: Copy, contents: list[bytes], said: list[bytes], seen: Counter[str]) -> None:
    """A whole file that is not ours is a person's affair: nothing is recorded, nothing asked."""
    assert not set(said) & set(lines_of(contents[0]).values())
    assert once.rows(tables.responses) == once.rows(tables.failures) == []
    assert {row["state"] for row in once.rows(tables.requests)} == {"assigned"}
    seen["held"] += 1


def unstamped(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out the stamps: they count transactions, of which smaller chunks make more."""
    rest = dict(found)
    for table in ("jobs", "requests"):
        rest[table] = [{**row, "stamp": None} for row in found[table]]
    return rest


def check_again(
    once: Copy,
    collected: Collected,
    contents: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """Read the files again: by a daemon that lost its claim, and after being stopped in between."""
    result = once.everything()
    with pytest.raises(ClaimLost):
        reconcile(once.context, once.first, once.job)
    assert once.everything() == result
    if once.batch.state is BatchState.PARKED:
        return
    pieces = Copy(collected, f"pieces-{number}", contents)
    with monkeypatch.context() as small:
        small.setattr("orchestrator.engine.steps.reconcile.CHUNK", 2)
        pieces.read_files(True)
        assert pieces.batch.cursor == 0
        pieces.read_files(False, True)
        assert pieces.batch.cursor == 2
        pieces.read_files()
    assert unstamped(pieces.everything()) == unstamped(result)
    pieces.registry.close()
