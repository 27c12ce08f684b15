"""Outcomes in tables of the user's: merged or appended, at the end and as they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.databases import Databases
from support.world import World

from orchestrator.api import control
from orchestrator.connections import Connections
from orchestrator.domain.errors import SinkError
from orchestrator.domain.model import Delivery, DeliveryState
from orchestrator.domain.spec import SinkSpec
from orchestrator.registry import deliveries
from orchestrator.sandbox.temper import Batches, Lines, Temper

Query = Callable[[str], list[Any]]
BRISK = Batches(validating=(1, 1), running=(100, 100), finalizing=(1, 1), cancelling=(1, 1))


@pytest.fixture
def warehouse(world: World, databases: Databases, tmp_path: Path) -> str:
    """The URL of a database of the user's, of the registry's own kind."""
    if world.registry.dialect == "sqlite":
        return f"sqlite:///{tmp_path}/warehouse.db"
    return databases.fresh("postgresql")


@pytest.fixture
def served(world: World, warehouse: str) -> World:
    """A world with a connection called warehouse."""
    world.connections = Connections(lambda _name: warehouse)
    world.boot()
    yield world
    world.connections.close()


def to_table(**options: Any) -> SinkSpec:
    stream = options.pop("stream", False)
    return SinkSpec(
        location="sql:warehouse", stream=stream, options={"table": "answers", **options}
    )


def rows(world: World, query: str = "SELECT id, outcome, text FROM answers ORDER BY id") -> list:
    with world.connections.get("warehouse").connect() as db:
        return [tuple(row) for row in db.execute(sa.text(query))]


def delivery(world: World, name: str = "labels") -> Delivery:
    with world.registry.read() as db:
        (found,) = deliveries.of_job(db, world.job(name).id)
    return found


@pytest.mark.parametrize("stream", [False, True])
def test_every_outcome_is_in_the_table_once(served: World, stream: bool) -> None:
    served.submit(120, sinks=(to_table(stream=stream),))
    served.run()
    found = rows(served)
    assert [key for key, *_ in found] == [f"r-{n:05d}" for n in range(120)]
    assert {outcome for _, outcome, _ in found} == {"succeeded"}
    assert delivery(served).state is DeliveryState.DONE
    assert delivery(served).rows == 120


def test_a_streaming_sink_gets_outcomes_before_the_job_ends(served: World) -> None:
    served.requests_per_batch = 30
    served.providers.in_flight = 1
    served.boot()
    served.submit(90, sinks=(to_table(stream=True),))
    while not served.job().books.succeeded:
        served.advance()
    served.tick()
    assert len(rows(served)) == served.job().books.succeeded == 30
    assert delivery(served).state is DeliveryState.WAITING


@pytest.mark.parametrize("stream", [False, True])
def test_a_record_asked_again_ends_with_its_new_outcome(served: World, stream: bool) -> None:
    served.sandbox.temper = Temper(batches=BRISK, lines=Lines(content_filter=1.0))
    served.submit(5, sinks=(to_table(stream=stream),))
    served.run()
    assert {outcome for _, outcome, _ in rows(served)} == {"failed"}
    served.sandbox.temper = Temper(batches=BRISK)
    control.retry(served.context, "labels", ())
    assert delivery(served).state is DeliveryState.WAITING
    served.run()
    assert [outcome for _, outcome, _ in rows(served)] == ["succeeded"] * 5
    assert delivery(served).state is DeliveryState.DONE


def test_appending_writes_each_outcome_once_though_a_chunk_comes_again(served: World) -> None:
    served.submit(20, sinks=(to_table(mode="append"),))
    served.run()
    at_start = delivery(served)
    # As after a crash between the sink's commit and the cursor's.
    served.registry.write(
        lambda db: deliveries._put_to_work(
            db, at_start, served.clock.now(), after_stamp=0, after_id=0
        )
    )
    served.tick()
    assert len(rows(served)) == 20


def test_a_value_that_does_not_fit_is_told_with_record_and_column(served: World) -> None:
    with served.connections.get("warehouse").begin() as db:
        db.execute(sa.text("CREATE TABLE answers (id VARCHAR(40) PRIMARY KEY, text VARCHAR(3))"))
    served.submit(3, sinks=(to_table(columns=["text"]),))
    served.run()
    held = delivery(served)
    assert held.state is DeliveryState.HELD
    assert held.code == "ORC6022"
    assert "record r-00000 does not fit the table answers: column text" in held.reason
    assert rows(served, "SELECT * FROM answers") == []
    with served.connections.get("warehouse").begin() as db:
        db.execute(sa.text("DROP TABLE answers"))
    control.resume(served.context, names=["labels"], providers=[])
    served.tick()
    assert len(rows(served, "SELECT id FROM answers")) == 3
    assert delivery(served).state is DeliveryState.DONE


def test_rows_of_a_table_without_a_unique_key_are_updated_or_added(served: World) -> None:
    with served.connections.get("warehouse").begin() as db:
        db.execute(sa.text("CREATE TABLE answers (id TEXT, outcome TEXT, text TEXT, note TEXT)"))
        db.execute(sa.text("INSERT INTO answers (id, note) VALUES ('r-00001', 'kept')"))
    served.submit(3, sinks=(to_table(columns=["outcome", "text"]),))
    served.run()
    found = rows(served, "SELECT id, outcome, note FROM answers ORDER BY id")
    assert found == [
        ("r-00000", "succeeded", None),
        ("r-00001", "succeeded", "kept"),
        ("r-00002", "succeeded", None),
    ]


def test_a_table_that_lacks_columns_is_left_alone_unless_they_may_be_added(served: World) -> None:
    with served.connections.get("warehouse").begin() as db:
        db.execute(sa.text("CREATE TABLE answers (id VARCHAR(40) PRIMARY KEY)"))
    sink = to_table(columns=["outcome", "text"])
    served.submit(2, sinks=(sink,))
    served.run()
    assert delivery(served).code == "ORC6023"
    sink.options["add_columns"] = True
    served.submit(2, name="again", sinks=(sink,))
    served.run("again")
    assert [outcome for _, outcome, _ in rows(served)] == ["succeeded"] * 2


def test_a_database_that_is_away_is_tried_again(served: World, tmp_path: Path) -> None:
    there = served.connections
    served.connections = Connections(lambda _name: f"sqlite:///{tmp_path}/nowhere/warehouse.db")
    served.boot()
    served.submit(4, sinks=(to_table(),))
    served.run()
    waiting = delivery(served)
    assert waiting.state is DeliveryState.RUNNING
    assert waiting.code == "ORC6021"
    served.connections.close()
    served.connections = there
    served.boot()
    while served.advance() and delivery(served).state is not DeliveryState.DONE:
        pass
    assert len(rows(served)) == 4


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"tabel": "x"}, 'it has no option "tabel", did you mean "table"?'),
        ({"mode": "upsert"}, 'there is no mode "upsert"'),
        ({"table": ""}, "no table is named"),
    ],
)
def test_a_sink_that_cannot_work_is_refused_before_anything_is_registered(
    served: World, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(SinkError) as refused:
        served.submit(2, sinks=(to_table(**options),))
    assert refused.value.code == "ORC6025"
    assert refused.value.why == why
