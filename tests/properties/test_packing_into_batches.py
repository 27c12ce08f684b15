"""From records to files: each request is in exactly one file, each file legal, the order kept."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from support.world import World

from orchestrator.registry.session import Registry
from orchestrator.sandbox.faults import Fault

LINE = 300
"""More bytes than the line of an empty record takes."""


@st.composite
def jobs(draw: st.DrawFn) -> tuple[list[str], int, int]:
    """Return the records' texts, and what a file may hold in bytes and in requests."""
    texts = draw(st.lists(st.text('aé\n"\\', max_size=100), min_size=1, max_size=20))
    longest = max(len(msgspec.json.encode(text)) for text in texts)
    max_bytes = draw(st.integers(LINE + longest, 2_500))
    return texts, max_bytes, draw(st.integers(1, 8))


def a_world(url: str, folder: Path, max_bytes: int, max_requests: int) -> World:
    world = World(Registry(url, sync=False), folder)
    profile = world.providers.profile("sandbox")
    limits = msgspec.structs.replace(
        profile.limits, max_file_bytes=max_bytes, max_requests=max_requests
    )
    world.profiles["sandbox"] = msgspec.structs.replace(profile, limits=limits)
    world.sandbox.inject("upload", Fault.UNAVAILABLE, times=10_000)
    return world


def test_every_request_is_in_exactly_one_legal_file_in_the_order_of_the_source(
    databases: Any, tmp_path: Path, often: Any
) -> None:
    numbers = itertools.count(1)
    split: list[bool] = []

    @often(20, 80)
    @given(jobs())
    def holds(job: tuple[list[str], int, int]) -> None:
        texts, max_bytes, max_requests = job
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        world = a_world(databases.fresh("sqlite"), folder, max_bytes, max_requests)
        source = folder / "records.jsonl"
        records = [{"id": f"r-{number}", "text": text} for number, text in enumerate(texts)]
        source.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
        world.submit(source=str(source), prompt="{text}.")
        world.tick()
        files = [world.context.spool.input_path(batch.id).read_bytes() for batch in world.batches()]
        requests = [batch.requests for batch in world.batches()]
        world.registry.close()
        check(files, requests, texts, max_bytes, max_requests)
        split.append(len(files) > 1)

    holds()
    assert True in split
    assert False in split


def check(
    files: list[bytes], requests: list[int], texts: list[str], max_bytes: int, max_requests: int
) -> None:
    lines = [file.splitlines(keepends=True) for file in files]
    for file, mine, count in zip(files, lines, requests, strict=True):
        assert len(file) <= max_bytes
        assert 0 < len(mine) == count <= max_requests
    said = [msgspec.json.decode(line) for line in itertools.chain(*lines)]
    assert [one["custom_id"] for one in said] == [f"r-{number}" for number in range(len(texts))]
    asked = [one["body"]["messages"][-1]["content"] for one in said]
    assert asked == [f"{text}." for text in texts]
    for before, after in itertools.pairwise(lines):
        full = len(before) == max_requests
        assert full or sum(map(len, before)) + len(after[0]) > max_bytes, "a file more than needed"
