"""Tables as sinks that write files: whole, or a part at a time, with the types of the source."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from support.world import World

from orchestrator.domain.errors import SinkError
from orchestrator.domain.model import DeliveryState
from orchestrator.domain.spec import SinkSpec
from orchestrator.engine.steps import deliver
from orchestrator.registry import deliveries
from orchestrator.sinks import stream_files


def days(world: World, count: int) -> str:
    path = world.folder / "days.parquet"
    columns = {
        "id": [f"r-{n:05d}" for n in range(count)],
        "text": [f"record {n}" for n in range(count)],
        "day": [date(2026, 9, 1 + n % 28) for n in range(count)],
        "big": [2**60 + n for n in range(count)],
    }
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.mark.parametrize("stream", [False, True])
def test_a_parquet_sink_keeps_the_types_of_the_source(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr(stream_files, "CHUNK", 2)
    monkeypatch.setattr(deliver, "CHUNKS", 1)
    place = tmp_path / "out.parquet"
    sink = SinkSpec(location=str(place), stream=stream)
    world.submit(name="typed", source=days(world, 25), sinks=(sink,))
    world.run("typed")
    with world.registry.read() as db:
        (delivery,) = deliveries.of_job(db, world.job("typed").id)
    assert delivery.state is DeliveryState.DONE, delivery.reason
    found = ds.dataset(place, format="parquet").to_table().sort_by("id")
    assert place.is_dir() is stream
    assert found.schema.field("day").type == pa.date32()
    assert found["big"].to_pylist() == [2**60 + n for n in range(25)]
    assert found["day"].to_pylist()[:3] == [date(2026, 9, 1), date(2026, 9, 2), date(2026, 9, 3)]
    assert set(found["outcome"].to_pylist()) == {"succeeded"}


def test_a_workbook_is_not_written_in_parts(world: World, tmp_path: Path) -> None:
    with pytest.raises(SinkError) as refused:
        world.submit(2, sinks=(SinkSpec(location=str(tmp_path / "x.xlsx"), stream=True),))
    assert refused.value.why == "xlsx is written as a whole only"
