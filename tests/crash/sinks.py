"""Sinks that get outcomes by themselves: what they hold in the end, and how they may fail."""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa
from support.world import World

from crash.scripts import run, until, until_live
from orchestrator.api import control
from orchestrator.api.delivering import deliver
from orchestrator.domain.model import Delivery, DeliveryState
from orchestrator.domain.spec import SinkSpec
from orchestrator.registry import deliveries, jobs

RECORDS = 3


def answers_for_sinks(world: World) -> None:
    """A job whose outcomes go into tables and files, and whose batch is at the provider."""
    (world.folder / "out").mkdir()
    world.submit(RECORDS, name="small", sinks=_sinks(world))
    until_live(world)


def answers_for_bad_sinks(world: World) -> None:
    """The folder of the files goes away, and one table is there and lacks columns."""
    _make_narrow_table(world)
    answers_for_sinks(world)
    (world.folder / "out").rmdir()


def into_sinks(world: World) -> None:
    """As outcomes come, and at the end."""
    until(world, lambda: _all_are(world, DeliveryState.DONE))


def into_sinks_that_fail(world: World) -> None:
    """They are tried again, and one is left to a person, who mends it and has a file anew."""
    until(world, lambda: any(delivery.tries for delivery in _deliveries(world)))
    (world.folder / "out").mkdir(exist_ok=True)
    until(world, lambda: _all_are(world, DeliveryState.DONE, DeliveryState.HELD))
    if not _all_are(world, DeliveryState.DONE):
        with _table(world).begin() as db:
            db.execute(sa.text("DROP TABLE IF EXISTS narrow"))
        control.resume(world.context, names=["small"], providers=[])
    until(world, lambda: _all_are(world, DeliveryState.DONE))
    deliver(world.context, "small", _sinks(world)[-1], again=True)
    until(world, lambda: _all_are(world, DeliveryState.DONE))


def every_sink_has_every_outcome_once(world: World) -> None:
    """Look at what the sinks hold: nothing is missing, nothing there twice."""
    run(world, "small")
    wanted = [f"r-{n:05d}" for n in range(RECORDS)]
    with _table(world).connect() as db:
        for table in ("merged", "appended", "narrow"):
            found = [row.id for row in db.execute(sa.text(f"SELECT id FROM {table} ORDER BY id"))]
            assert found == wanted, (table, found)
    growing = (world.folder / "out" / "growing.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in growing) == wanted
    whole = (world.folder / "out" / "whole.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in whole] == ["id", *wanted]
    world.connections.close()


def _sinks(world: World) -> tuple[SinkSpec, ...]:
    table, folder = f"sql:{_url(world)}", world.folder / "out"
    return (
        SinkSpec(location=table, stream=True, options={"table": "merged"}),
        SinkSpec(location=table, stream=True, options={"table": "appended", "mode": "append"}),
        SinkSpec(location=table, options={"table": "narrow"}),
        SinkSpec(location=str(folder / "growing.jsonl"), stream=True),
        SinkSpec(location=str(folder / "whole.csv")),
    )


def _url(world: World) -> str:
    return f"sqlite:///{world.folder / 'warehouse.db'}"


def _table(world: World) -> sa.Engine:
    return world.connections.get(_url(world))


def _make_narrow_table(world: World) -> None:
    with _table(world).begin() as db:
        db.execute(sa.text("CREATE TABLE IF NOT EXISTS narrow (id TEXT PRIMARY KEY)"))


def _deliveries(world: World) -> Sequence[Delivery]:
    with world.registry.read() as db:
        job = jobs.find(db, "small")
        return deliveries.of_job(db, job.id) if job else ()


def _all_are(world: World, *states: DeliveryState) -> bool:
    found = _deliveries(world)
    return bool(found) and all(delivery.state in states for delivery in found)
