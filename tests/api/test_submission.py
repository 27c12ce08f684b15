"""Submitting: whole or not at all, the same job twice is one job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.world import World

from orchestrator import api
from orchestrator.domain.errors import NameTaken, PlanChanged, SourceError
from orchestrator.domain.model import JobState
from orchestrator.domain.spec import JobSpec
from orchestrator.engine import registration
from orchestrator.registry.tables import events, jobs, payloads, requests


def a_spec(source: Path, **changes: Any) -> JobSpec:
    values: dict[str, Any] = {
        "name": "labels",
        "source": str(source),
        "key": "id",
        "prompt": "Say {text}",
        "provider": "sandbox",
        "model": "kimi-k2.6",
        **changes,
    }
    return JobSpec(**values)


def write(folder: Path, count: int, text: str = "t") -> Path:
    path = folder / "source.jsonl"
    rows = (f'{{"id":"r{n}","text":"{text}{n}"}}\n' for n in range(count))
    path.write_text("".join(rows))
    return path


def rows(world: World, table: sa.Table) -> int:
    with world.registry.read() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_the_same_submission_again_is_the_same_job(world: World, tmp_path: Path) -> None:
    spec = a_spec(write(tmp_path, 10))
    first = api.submit(world.context, spec, actor="me")
    again = api.submit(world.context, spec, actor="me")
    assert not first.already
    assert again.already
    assert again.job.id == first.job.id
    assert rows(world, requests) == 10


@pytest.mark.parametrize("change", ["prompt", "records"])
def test_another_content_under_the_same_name_is_refused(
    world: World, tmp_path: Path, change: str
) -> None:
    api.submit(world.context, a_spec(write(tmp_path, 10)), actor="me")
    other = a_spec(
        write(tmp_path, 10, "u" if change == "records" else "t"),
        prompt="Shout {text}" if change == "prompt" else "Say {text}",
    )
    with pytest.raises(NameTaken) as caught:
        api.submit(world.context, other, actor="me")
    assert caught.value.exit_code == 7
    assert rows(world, requests) == 10
    assert rows(world, jobs) == 1


@pytest.mark.fault("B01")
def test_a_submission_that_was_cut_off_goes_on_where_it_stopped(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "CHUNK", 10)
    spec = a_spec(write(tmp_path, 35))

    def die(done: int, _all: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        api.submit(world.context, spec, actor="me", on_progress=die)
    assert world.job().state is JobState.REGISTERING
    assert world.tick().planned == 0
    done = api.submit(world.context, spec, actor="me")
    assert done.resumed
    assert done.job.state is JobState.RUNNING
    assert rows(world, requests) == rows(world, payloads) == 35
    assert world.run().books.succeeded == 35


def test_a_source_that_changes_while_it_is_registered_leaves_nothing_behind(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registration, "CHUNK", 10)
    source = write(tmp_path, 35)

    def change(done: int, _all: int) -> None:
        if done == 10:
            source.write_text(source.read_text().replace("t30", "changed"))

    with pytest.raises(SourceError):
        api.submit(world.context, a_spec(source), actor="me", on_progress=change)
    for table in (jobs, requests, payloads, events):
        assert rows(world, table) == 0


@pytest.mark.fault("B02")
def test_bad_records_are_all_listed_and_nothing_is_registered(world: World, tmp_path: Path) -> None:
    source = tmp_path / "bad.jsonl"
    source.write_bytes(
        b'{"id":"a","text":"x"}\nnot json\n{"text":"no key"}\n{"id":"a","text":"y"}\n'
    )
    with pytest.raises(SourceError) as caught:
        api.submit(world.context, a_spec(source), actor="me")
    told = "\n".join(caught.value.details)
    assert "line 2" in told
    assert "line 3" in told
    assert "line 4" in told
    assert rows(world, jobs) == rows(world, requests) == 0


def test_a_plan_is_honoured_or_refused(world: World, tmp_path: Path) -> None:
    source = write(tmp_path, 10)
    spec = a_spec(source)
    profile = world.providers.profile("sandbox")
    plan = api.plan(spec, profile, workdir=tmp_path, show=2)
    assert plan.scan.requests == 10
    assert [sample.key for sample in plan.samples] == ["r0", "r1"]
    assert rows(world, jobs) == 0
    kept = plan.contract
    write(tmp_path, 10, "changed")
    with pytest.raises(PlanChanged) as caught:
        api.submit(world.context, kept.spec, actor="me", contract=kept)
    assert caught.value.exit_code == 7
    write(tmp_path, 10)
    assert api.submit(world.context, kept.spec, actor="me", contract=kept).job.books.records == 10


def test_keys_that_break_the_providers_rules_travel_under_another_id(
    world: World, tmp_path: Path
) -> None:
    source = tmp_path / "keys.jsonl"
    keys = ["short", "ключ", "x" * 65, "with space ", "k-"]
    source.write_text("".join(f'{{"id":"{key}","text":"t"}}\n' for key in keys))
    api.submit(world.context, a_spec(source), actor="me")
    job = world.run()
    assert job.books.succeeded == len(keys)
    with world.registry.read() as db:
        found = db.execute(sa.select(requests.c.custom_id, requests.c.key)).all()
    assert {row.key or row.custom_id for row in found} == set(keys)
    assert all(len(row.custom_id) <= 64 and row.custom_id.isascii() for row in found)
