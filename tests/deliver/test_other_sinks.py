"""Answers back in the table that the records came from, and sinks of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from support.databases import Databases
from support.world import World

from orchestrator.connections import Connections
from orchestrator.domain.errors import SinkError
from orchestrator.domain.model import Delivery, DeliveryState
from orchestrator.domain.shape import Column
from orchestrator.domain.spec import SinkSpec
from orchestrator.registry import deliveries
from orchestrator.sinks import plugins
from orchestrator.sinks.chunks import SinkRefused
from orchestrator.sinks.port import OutcomeRow, header_of
from orchestrator.sinks.row_values import RowValues
from orchestrator.sinks.source_table import SourceTable
from orchestrator.sinks.sql_target import Target


def delivery(world: World) -> Delivery:
    with world.registry.read() as db:
        (found,) = deliveries.of_job(db, world.job().id)
    return found


class Kept:
    """A sink that keeps what it gets, and breaks when it is told to."""

    rows: ClassVar[list[Mapping[str, Any]]] = []
    opened: ClassVar[list[tuple[Sequence[Column], str]]] = []
    errors: ClassVar[list[Exception]] = []

    def __init__(self, greeting: str = "") -> None:
        self.greeting = greeting

    def open(self, columns: Sequence[Column], memo: str) -> None:
        self.opened.append((columns, memo))

    def write(self, rows: Sequence[Mapping[str, Any]]) -> str:
        if self.errors:
            raise self.errors.pop()
        self.rows.extend(rows)
        return f"{self.greeting} {len(self.rows)}"

    def close(self) -> None:
        """Nothing to close."""


def keep(rows: Sequence[Mapping[str, Any]]) -> None:
    Kept.rows.extend(rows)


@pytest.fixture
def own_sinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offer `kept` and `function` as installed packages do."""
    offered = {
        name: metadata.EntryPoint(name, f"{__name__}:{what}", plugins.GROUP)
        for name, what in (("kept", "Kept"), ("function", "keep"), ("broken", "Nothing"))
    }

    def found(*, group: str, name: str | None = None) -> list[metadata.EntryPoint]:
        assert group == plugins.GROUP
        return [each for each in offered.values() if name in (None, each.name)]

    monkeypatch.setattr(plugins, "entry_points", found)
    for kept in (Kept.rows, Kept.opened, Kept.errors):
        kept.clear()


@pytest.mark.usefixtures("own_sinks")
def test_a_class_of_ones_own_gets_rows_and_its_own_note_back(world: World) -> None:
    world.requests_per_batch = 20
    world.providers.in_flight = 1
    world.boot()
    sink = SinkSpec(location="use:kept", stream=True, options={"greeting": "so far"})
    world.submit(40, sinks=(sink,))
    world.run()
    assert sorted(row["id"] for row in Kept.rows) == [f"r-{n:05d}" for n in range(40)]
    assert {row["outcome"] for row in Kept.rows} == {"succeeded"}
    columns, _ = Kept.opened[0]
    assert [column.name for column in columns][:3] == ["id", "text", "outcome"]
    assert "so far 20" in {memo for _, memo in Kept.opened}


@pytest.mark.usefixtures("own_sinks")
def test_what_a_sink_of_ones_own_raises_has_the_rows_offered_again(world: World) -> None:
    Kept.errors.append(KeyError("a bug"))
    world.submit(3, sinks=(SinkSpec(location="use:kept"),))
    world.run()
    assert delivery(world).reason == "KeyError in the sink use:kept"
    while world.advance() and delivery(world).state is not DeliveryState.DONE:
        pass
    assert len(Kept.rows) == 3


@pytest.mark.usefixtures("own_sinks")
def test_a_worker_that_is_to_stop_ends_its_turn_with_the_chunk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "CHUNK", 5)
    world.submit(20, sinks=(SinkSpec(location="use:kept"),))
    world.stopping = lambda: bool(Kept.rows)
    world.run()
    assert len(Kept.rows) == delivery(world).rows == 5
    world.stopping = lambda: False
    world.tick()
    assert len(Kept.rows) == 20
    assert delivery(world).state is DeliveryState.DONE


@pytest.mark.usefixtures("own_sinks")
def test_a_slow_sink_lets_others_have_their_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "CHUNK", 5)
    monkeypatch.setattr(Kept, "write", _slowly(world))
    world.submit(20, sinks=(SinkSpec(location="use:kept"),))
    world.run()
    turns = [memo for _, memo in Kept.opened]
    assert len(turns) >= 4
    assert delivery(world).rows == 20


def _slowly(world: World) -> Any:
    def write(self: Kept, rows: Sequence[Mapping[str, Any]]) -> str:
        world.clock.sleep(10)
        self.rows.extend(rows)
        return str(len(self.rows))

    return write


@pytest.mark.usefixtures("own_sinks")
def test_a_sink_of_ones_own_may_refuse(world: World) -> None:
    Kept.errors.append(SinkRefused("not on a Sunday"))
    world.submit(3, sinks=(SinkSpec(location="use:kept"),))
    world.run()
    assert delivery(world).state is DeliveryState.HELD
    assert delivery(world).reason == "not on a Sunday"


@pytest.mark.usefixtures("own_sinks")
def test_a_plain_function_is_a_sink(world: World) -> None:
    world.submit(3, sinks=(SinkSpec(location="use:function"),))
    world.run()
    assert len(Kept.rows) == 3


@pytest.mark.usefixtures("own_sinks")
@pytest.mark.parametrize("name", ["unknown", "broken"])
def test_a_sink_that_nobody_offers_is_refused_at_once(world: World, name: str) -> None:
    with pytest.raises(SinkError) as refused:
        world.submit(3, sinks=(SinkSpec(location=f"use:{name}"),))
    assert refused.value.code == "ORC6029"


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest, databases: Databases, tmp_path: Path
) -> Iterator[sa.Engine]:
    url = f"sqlite:///{tmp_path}/tickets.db"
    if request.param == "postgresql":
        url = databases.fresh("postgresql")
    connections = Connections(lambda _name: url)
    yield connections.get("any")
    connections.close()


def test_answers_go_beside_their_records_and_nothing_else_is_touched(engine: sa.Engine) -> None:
    with engine.begin() as db:
        db.execute(sa.text("CREATE TABLE tickets (id INTEGER PRIMARY KEY, body TEXT, note TEXT)"))
        db.execute(sa.text("INSERT INTO tickets VALUES (1, 'a', 'x'), (2, 'b', 'y')"))
    header = header_of(
        (Column("id", "int64"), Column("body", "string")), (Column("score", "int64"),)
    )
    target = Target(
        table="tickets",
        mode="merge",
        key=("id",),
        columns=("outcome", "score"),
        rename={"score": "stars"},
        add_columns=True,
    )
    row = OutcomeRow('{"id":2,"body":"b"}', "succeeded", "5", answer='{"score":5}')
    gone = OutcomeRow('{"id":3,"body":"c"}', "succeeded", "4", answer='{"score":4}')
    for _ in range(2):  # a chunk may come again
        SourceTable(engine, target, RowValues(header)).write([(1, 2, row), (1, 3, gone)])
    with engine.connect() as db:
        found = [tuple(each) for each in db.execute(sa.text("SELECT * FROM tickets ORDER BY id"))]
    assert found == [(1, "a", "x", None, None), (2, "b", "y", "succeeded", 5)]


def test_values_come_as_the_source_typed_them() -> None:
    header = header_of(
        (
            Column("id", "int64"),
            Column("day", "date32[day]"),
            Column("price", "decimal128(20, 2)"),
            Column("raw", "binary"),
            Column("tags", "list<item: string>"),
        )
    )
    record = '{"id":9007199254740993,"day":"2026-09-01","price":"1.10","raw":"AAE=","tags":[null]}'
    values = RowValues(header).read(OutcomeRow(record, "failed"))
    assert values["id"] == 9007199254740993
    assert values["day"] == date(2026, 9, 1)
    assert values["price"] == Decimal("1.10")
    assert values["raw"] == b"\x00\x01"
    assert values["tags"] == [None]
    assert values["outcome"] == "failed"
