"""Outcomes in files by themselves: whole at the end, or growing as they come."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.world import World

from orchestrator.api import control, delivering
from orchestrator.domain.delivering import delivery_name, read_sink, sink_of
from orchestrator.domain.errors import SinkError
from orchestrator.domain.model import Delivery, DeliveryState, JobState
from orchestrator.domain.spec import SinkSpec
from orchestrator.engine.steps import deliver
from orchestrator.registry import deliveries
from orchestrator.sandbox.temper import Batches, Lines, Temper
from orchestrator.sinks import stream_files

BRISK = Batches(validating=(1, 1), running=(100, 100), finalizing=(1, 1), cancelling=(1, 1))


def delivery(world: World, name: str = "labels") -> Delivery:
    with world.registry.read() as db:
        (found,) = deliveries.of_job(db, world.job(name).id)
    return found


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_is_there_whole_when_the_job_has_ended(world: World, tmp_path: Path) -> None:
    path = tmp_path / "of-labels.jsonl"
    world.submit(120, sinks=(SinkSpec(location=str(tmp_path / "of-{job}.jsonl")),))
    world.tick()
    assert not path.exists()
    world.run()
    assert [line["id"] for line in lines(path)] == [f"r-{n:05d}" for n in range(120)]
    assert delivery(world).state is DeliveryState.DONE
    assert delivery(world).rows == 120


def test_a_whole_file_is_written_anew_when_records_were_asked_again(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "labels.csv"
    world.sandbox.temper = Temper(batches=BRISK, lines=Lines(content_filter=1.0))
    world.submit(5, sinks=(SinkSpec(location=str(path)),))
    world.run()
    assert path.read_text().count("failed") == 5
    world.sandbox.temper = Temper(batches=BRISK)
    control.retry(world.context, "labels", ())
    world.run()
    assert path.read_text().count("succeeded") == 5
    assert path.read_text().count("failed") == 0


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_a_growing_file_has_every_outcome_once_whatever_a_crash_left_behind_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(stream_files, "CHUNK", 7)
    monkeypatch.setattr(deliver, "CHUNKS", 1)
    path = tmp_path / f"out.{ending}"
    world.requests_per_batch = 40
    world.boot()
    world.submit(120, sinks=(SinkSpec(location=str(path), stream=True),))
    while not world.job().books.succeeded:
        world.advance()
    assert delivery(world).rows == 40
    with path.open("ab") as file:  # as a process leaves it that is killed in the middle of a chunk
        file.write(b'{"id":"r-00099","half a li')
    world.boot()
    world.run()
    text = path.read_text()
    found = (
        lines(path) if ending == "jsonl" else list(csv.DictReader(io.StringIO(text, newline="")))
    )
    assert sorted(row["id"] for row in found) == [f"r-{n:05d}" for n in range(120)]
    assert delivery(world).state is DeliveryState.DONE


def test_a_worker_that_is_to_stop_leaves_the_whole_file_to_the_next_one(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl"
    world.submit(5, sinks=(SinkSpec(location=str(path)),))
    while world.job().state is not JobState.FINISHED:
        world.stopping = lambda: world.job().state is JobState.FINISHED
        world.advance()
    assert not path.exists()
    assert delivery(world).state is DeliveryState.RUNNING
    world.stopping = lambda: False
    world.boot()
    world.tick()
    assert len(lines(path)) == 5


def test_a_growing_file_that_was_cut_is_not_gone_on_with(world: World, tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    world.requests_per_batch = 20
    world.providers.in_flight = 1
    world.boot()
    world.submit(40, sinks=(SinkSpec(location=str(path), stream=True),))
    while not world.job().books.succeeded:
        world.advance()
    kept = path.read_bytes()
    path.write_bytes(b"")
    world.run()
    assert delivery(world).state is DeliveryState.HELD
    assert delivery(world).code == "ORC6026"
    path.write_bytes(kept)
    control.resume(world.context, names=["labels"], providers=[])
    world.tick()
    assert len(lines(path)) == 40
    assert delivery(world).state is DeliveryState.DONE


def test_a_folder_that_goes_away_is_tried_again(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    world.submit(3, sinks=(SinkSpec(location=str(folder / "x.jsonl")),))
    folder.rmdir()
    world.run()
    assert delivery(world).state is DeliveryState.RUNNING
    assert delivery(world).code == "ORC6002"
    folder.mkdir()
    while world.advance() and delivery(world).state is not DeliveryState.DONE:
        pass
    assert len(lines(folder / "x.jsonl")) == 3


def test_a_sink_that_fails_often_is_left_to_a_person(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    world.submit(3, sinks=(SinkSpec(location=str(folder / "x.jsonl")),))
    folder.rmdir()
    world.run()
    while world.advance():
        pass
    assert delivery(world).state is DeliveryState.HELD
    assert "the folder" in str(delivery(world).reason)
    assert world.tick().next_at is None


@pytest.mark.parametrize(
    ("sink", "why"),
    [
        (SinkSpec(location="/nowhere/at/all/x.jsonl"), "the folder /nowhere/at/all is not there"),
        (SinkSpec(location="source"), "the job's source is no table"),
        (SinkSpec(location="{folder}/labels.jsonl"), "it is the job's own source"),
        (
            SinkSpec(location="s3://bucket/x.jsonl", stream=True),
            "an object in a store can't grow",
        ),
    ],
)
def test_a_sink_that_cannot_work_is_refused(world: World, sink: SinkSpec, why: str) -> None:
    place = sink.location.replace("{folder}", str(world.folder))
    with pytest.raises(SinkError) as refused:
        world.submit(2, sinks=(msgspec.structs.replace(sink, location=place),))
    assert refused.value.why == why
    with pytest.raises(AssertionError):
        world.job()


@pytest.mark.parametrize(
    ("text", "location", "options"),
    [
        ("out/x.jsonl", "out/x.jsonl", {}),
        ("sql:warehouse/tags", "sql:warehouse", {"table": "tags"}),
        (
            "sql:sqlite:////tmp/w.db/tags?mode=append",
            "sql:sqlite:////tmp/w.db",
            {"table": "tags", "mode": "append"},
        ),
        ("https://example.org/in?a=b", "https://example.org/in?a=b", {}),
        ("use:mine?size=3", "use:mine", {"size": 3}),
    ],
)
def test_a_sink_is_named_by_a_text(text: str, location: str, options: dict[str, Any]) -> None:
    assert (read_sink(text).location, read_sink(text).options) == (location, options)


@pytest.mark.parametrize(
    "table",
    [
        {"sql": "warehouse", "file": "x"},
        {"table": "x"},
        {"webhook": "https://example.org", "secret": "in the clear"},
        {"webhook": 7},
        {"file": ""},
        {"file": "x.jsonl", "stream": "yes"},
    ],
)
def test_a_table_that_is_no_sink_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"sink|webhook|one of"):
        sink_of(table)


@pytest.mark.parametrize(
    "text", ["sql:postgresql://me:hunter2@host/db/tags", "https://me:hunter2@hooks.example.org/in"]
)
def test_a_password_in_an_address_is_neither_kept_nor_shown(world: World, text: str) -> None:
    with pytest.raises(SinkError) as refused:
        world.submit(2, sinks=(read_sink(text),))
    assert refused.value.why == "a password stands in its address"
    assert "hunter2" not in str(refused.value.to_dict())


def test_the_name_of_a_webhook_shows_neither_path_nor_password() -> None:
    sink = read_sink("https://user:pass@hooks.example.org/services/T0/secret?token=x")
    host, _, digest = delivery_name(sink, "labels").partition("#")
    assert (host, len(digest)) == ("https://hooks.example.org", 8)


def test_a_sink_that_was_written_otherwise_so_far_changes_from_its_start_only(
    world: World, tmp_path: Path
) -> None:
    out = str(tmp_path / "out.jsonl")
    world.submit(3, sinks=(SinkSpec(location=out, stream=True),))
    world.run()
    raw = SinkSpec(location=out, options={"raw": True})
    with pytest.raises(SinkError) as refused:
        delivering.deliver(world.context, "labels", raw)
    assert refused.value.next.startswith("--again")
    assert not delivering.deliver(world.context, "labels", raw, again=True).added
    world.tick()
    assert (delivery(world).state, delivery(world).stream) == (DeliveryState.DONE, True)
    assert '"raw":true' in delivery(world).sink


def test_a_sink_that_the_jobs_name_places_is_known_by_its_place(
    world: World, tmp_path: Path
) -> None:
    world.submit(2, sinks=(SinkSpec(location=str(tmp_path / "{job}.out.jsonl"), stream=True),))
    world.run()
    before = delivery(world).sink
    placed = SinkSpec(location=str(tmp_path / "labels.out.jsonl"))
    assert not delivering.deliver(world.context, "labels", placed).added
    assert delivery(world).sink == before


def test_the_names_of_webhooks_tell_their_addresses_apart() -> None:
    sinks = [
        read_sink("http://127.0.0.1:8765/first"),
        read_sink("http://127.0.0.1:8765/second"),
        read_sink("http://127.0.0.1:8766/first"),
        sink_of({"webhook": {"env": "FIRST"}}),
        sink_of({"webhook": {"env": "SECOND"}}),
    ]
    names = [delivery_name(sink, "labels") for sink in sinks]
    assert len(set(names)) == 5
    assert names[0].startswith("http://127.0.0.1:8765#")
    assert names[3].startswith("webhook#")
