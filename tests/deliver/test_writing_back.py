"""Run after run over a table that gets its own answers back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.databases import Databases
from support.world import World

from orchestrator import api
from orchestrator.api.submission import Submitted
from orchestrator.connections import Connections
from orchestrator.domain.spec import Answer, JobSpec, SinkSpec
from orchestrator.registry import outcomes

MOOD = Answer(schema={"type": "object", "properties": {"mood": {"type": "string"}}})
BACK = SinkSpec(location="source")


@pytest.fixture(params=["sqlite", "postgresql"])
def table(
    request: pytest.FixtureRequest, databases: Databases, tmp_path: Path, world: World
) -> Iterator[sa.Engine]:
    """Offer `tk` at the connection `desk`: a column of the user's has the name of an answer's."""
    url = f"sqlite:///{tmp_path}/desk.db"
    if request.param == "postgresql":
        url = databases.fresh("postgresql")
    world.connections = Connections(lambda _name: url)
    world.boot()
    engine = world.connections.get("desk")
    with engine.begin() as db:
        db.exec_driver_sql("CREATE TABLE tk (id INTEGER PRIMARY KEY, body TEXT, text TEXT)")
        db.exec_driver_sql("INSERT INTO tk VALUES (1, 'a', 'mine'), (2, 'b', 'mine')")
    yield engine
    world.connections.close()


def submit(world: World, **changes: Any) -> Submitted:
    values: dict[str, Any] = {
        "name": "tk",
        "source": "sql:desk",
        "source_options": {"table": "tk"},
        "key": "id",
        "prompt": "What is the outcome of {body}?",
        "provider": "sandbox",
        "model": "kimi-k2.6",
        "changed_only": True,
        "sinks": (BACK,),
        **changes,
    }
    return api.submit(world.context, JobSpec(**values), actor="test")


def answered(world: World, **changes: Any) -> Submitted:
    found = submit(world, **changes)
    world.run(found.job.name)
    world.rest()
    return found


def rows(engine: sa.Engine) -> list[dict[str, Any]]:
    with engine.connect() as db:
        found = db.exec_driver_sql("SELECT * FROM tk ORDER BY id")
        return [dict(row) for row in found.mappings()]


def change(engine: sa.Engine, statement: str) -> None:
    with engine.begin() as db:
        db.exec_driver_sql(statement)


def test_answers_that_went_back_are_no_change_and_are_written_over(
    world: World, table: sa.Engine
) -> None:
    answered(world)
    names = list(rows(table)[0])
    assert names == ["id", "body", "text", "outcome", "answer_text"]
    again = submit(world)
    assert (again.nothing_changed, again.unchanged, again.changed_since) == (True, 2, "")
    change(table, "UPDATE tk SET body = 'c', answer_text = 'old' WHERE id = 2")
    second = answered(world)
    assert (second.job.name, second.job.books.records, second.unchanged) == ("tk-2", 1, 1)
    found = rows(table)
    assert list(found[0]) == names
    assert found[1]["answer_text"] not in {"old", None}
    assert [row["text"] for row in found] == ["mine", "mine"]
    assert submit(world).nothing_changed


def test_a_job_over_the_same_table_is_still_the_same_once_its_answers_are_there(
    world: World, table: sa.Engine
) -> None:
    first = answered(world, changed_only=False)
    again = submit(world, changed_only=False)
    assert (again.already, again.job.id) == (True, first.job.id)


def test_columns_of_ones_own_and_such_as_the_job_names_stay_in_its_records(
    world: World, table: sa.Engine
) -> None:
    change(table, "ALTER TABLE tk ADD COLUMN mood TEXT")
    answered(world, series="moods", answer=MOOD, sinks=())
    answered(world, series="moods", answer=MOOD, changed_only=False, name="back")
    assert list(rows(table)[0])[3:] == ["mood", "outcome", "answer_mood"]
    named = submit(
        world, series="moods", answer=MOOD, changed_only=False, name="named",
        prompt="{body}", where="outcome is defined",
    )  # fmt: skip
    with world.registry.read() as db:
        found = outcomes.sourced(db, *outcomes.span(named.job.id, 0, 10), ())
    assert '"mood":' in found[0].record
    assert '"outcome":' in found[0].record
    assert '"answer_mood":' not in found[0].record
