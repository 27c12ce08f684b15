"""Deliveries between workers, jobs that share answers, jobs that read the table they write to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.databases import Databases
from support.world import World

from orchestrator.api import control
from orchestrator.connections import Connections
from orchestrator.domain.errors import ClaimLost, SinkError
from orchestrator.domain.model import Delivery, DeliveryState
from orchestrator.domain.spec import Answer, SinkSpec
from orchestrator.engine.delivering import serve_sinks
from orchestrator.registry import deliveries, jobs, workers
from orchestrator.sinks import plugins


@pytest.fixture
def served(world: World, databases: Databases, tmp_path: Path) -> Any:
    """A world with a connection called warehouse, of the registry's own kind."""
    url = f"sqlite:///{tmp_path}/warehouse.db"
    if world.registry.dialect == "postgresql":
        url = databases.fresh("postgresql")
    world.connections = Connections(lambda _name: url)
    world.boot()
    yield world
    world.connections.close()


def run_sql(world: World, text: str) -> list[Any]:
    with world.connections.get("warehouse").begin() as db:
        found = db.execute(sa.text(text))
        return [tuple(row) for row in found] if found.returns_rows else []


def delivery(world: World, name: str = "labels") -> Delivery:
    with world.registry.read() as db:
        (found,) = deliveries.of_job(db, world.job(name).id)
    return found


def claim(world: World, worker: str) -> list[Delivery]:
    now = world.clock.now()
    return world.registry.write(lambda db: deliveries.claim(db, worker=worker, now=now, limit=4))


def work(world: World, worker: str) -> None:
    now = world.clock.now()
    world.registry.write(
        lambda db: workers.begin(
            db,
            worker=worker,
            kind="test",
            host="here",
            pid=2,
            version="0",
            now=now,
            lease=timedelta(days=365),
        )
    )


def test_a_worker_that_was_taken_over_can_neither_move_the_cursor_nor_end_the_delivery(
    world: World, tmp_path: Path
) -> None:
    out = SinkSpec(location=str(tmp_path / "out.jsonl"), stream=True)
    world.submit(3, sinks=(out,))
    while not world.job().books.succeeded:
        world.advance()
    world.registry.write(lambda db: jobs.next_stamp(db, world.job().id))
    world.registry.write(
        lambda db: deliveries.restart(
            db,
            delivery(world),
            sink=out,
            again=True,
            now=world.clock.now(),
            actor="test",
        )
    )
    work(world, "slow")
    (slow,) = claim(world, "slow")
    assert claim(world, "quick") == []
    assert not serve_sinks(world.context, [], None), "it is another living worker's"
    world.registry.write(lambda db: workers.end(db, "slow", world.clock.now()))
    world.run()
    assert delivery(world).state is DeliveryState.DONE
    now = world.clock.now()
    for late in (
        lambda db: deliveries.advance(db, slow, stamp=9, request=9, rows=9, memo=""),
        lambda db: deliveries.wait(db, slow, now=now),
        lambda db: deliveries.finish(db, slow, now=now, actor="slow"),
        lambda db: deliveries.hold(db, slow, code="x", reason="x", now=now, actor="slow"),
    ):
        with pytest.raises(ClaimLost):
            world.registry.write(late)
    assert delivery(world).rows == 3


def test_records_that_share_an_answer_all_get_to_the_sink(served: World) -> None:
    sink = SinkSpec(location="sql:warehouse", stream=True, options={"table": "answers"})
    served.submit(40, prompt="Say yes", dedup=True, sinks=(sink,))
    served.run()
    assert served.job().shared == 39
    assert run_sql(served, "SELECT count(*), min(outcome) FROM answers") == [(40, "succeeded")]


def test_answers_go_back_into_the_table_that_the_records_came_from(served: World) -> None:
    run_sql(served, "CREATE TABLE tickets (id INTEGER PRIMARY KEY, body TEXT)")
    run_sql(served, "INSERT INTO tickets VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    schema = {"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]}
    served.submit(
        source="sql:warehouse",
        source_options={"table": "tickets"},
        prompt="Rate {body}",
        answer=Answer(schema=schema),
        sinks=(SinkSpec(location="source", options={"rename": {"outcome": "tagged"}}),),
    )
    served.run()
    assert delivery(served).state is DeliveryState.DONE, delivery(served).reason
    found = run_sql(served, "SELECT id, body, tagged, stars FROM tickets ORDER BY id")
    assert [row[:3] for row in found] == [
        (1, "a", "succeeded"),
        (2, "b", "succeeded"),
        (3, "c", "succeeded"),
    ]
    assert all(isinstance(stars, int) for *_, stars in found)


def test_a_query_as_source_needs_the_table_to_be_named(served: World) -> None:
    run_sql(served, "CREATE TABLE tickets (id INTEGER PRIMARY KEY, body TEXT)")
    with pytest.raises(SinkError) as refused:
        served.submit(
            source="sql:warehouse",
            source_options={"query": "SELECT * FROM tickets"},
            prompt="Rate {body}",
            sinks=(SinkSpec(location="source"),),
        )
    assert "a query" in refused.value.why


def test_a_cancelled_job_tells_its_sinks_how_it_ended(world: World, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    world.submit(4, sinks=(SinkSpec(location=str(path)),))
    control.cancel_job(world.context, "labels")
    world.run()
    assert path.read_text().count("cancelled") == 4
    assert delivery(world).state is DeliveryState.DONE


def test_a_job_without_a_sink_of_ones_own_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda **_: [])
    with pytest.raises(SinkError, match='there is no sink "any"'):
        plugins.find_sink("any")
