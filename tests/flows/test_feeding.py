"""Stages take what they wait for: at the end or as it comes, once, whatever happens in between."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from support.books import assert_the_books_agree
from support.world import World

from orchestrator import api
from orchestrator.domain.model import JobState, Stage, StageState
from orchestrator.domain.spec import JobSpec, Policy
from orchestrator.engine.steps import feed
from orchestrator.registry import outcomes, stages
from orchestrator.registry.tables import requests
from orchestrator.sandbox.temper import Batches, Lines, Temper


def declare(world: World, name: str, upstream: str, *, stream: bool, **changes: Any) -> None:
    values: dict[str, Any] = {
        "name": name,
        "source": f"job:{upstream}",
        "prompt": "Is {text} right?",
        "provider": "sandbox",
        "model": "kimi-k2.6",
        "source_options": {"answer": name},
        **changes,
    }
    spec = JobSpec(**values)
    text = msgspec.json.encode(spec).decode()

    def work(db: sa.Connection) -> None:
        added = stages.add(
            db,
            workflow="flow",
            name=name,
            upstream=upstream,
            spec=text,
            digest=spec.digest(""),
            stream=stream,
            now=world.clock.now(),
            actor="test",
        )
        assert added

    world.registry.write(work)


def stage(world: World, name: str) -> Stage:
    with world.registry.read() as db:
        found = stages.find(db, name)
    assert found is not None
    return found


def keys(world: World, name: str) -> list[str]:
    job = world.job(name)
    with world.registry.read() as db:
        return [row.key for row in outcomes.sourced(db, *outcomes.span(job.id, 0, 1_000_000))]


@pytest.mark.parametrize("stream", [False, True])
def test_each_stage_gets_every_answer_of_the_one_before_once(world: World, stream: bool) -> None:
    declare(world, "rewrite", "labels", stream=stream)
    declare(world, "judge", "rewrite", stream=stream)
    world.submit(120)
    world.rest()
    for name in ("labels", "rewrite", "judge"):
        assert world.job(name).state is JobState.FINISHED, name
        assert world.job(name).books.succeeded == 120, name
    assert sorted(keys(world, "judge")) == keys(world, "labels")
    assert stage(world, "judge").state is StageState.FED
    assert stage(world, "judge").rows == 120
    assert not world.job("judge").growing
    assert_the_books_agree(world)


def test_a_stage_that_waits_for_the_end_keeps_the_order_of_the_source(world: World) -> None:
    declare(world, "rewrite", "labels", stream=False)
    world.submit(120)
    world.rest()
    assert keys(world, "rewrite") == keys(world, "labels")


def test_a_stage_that_takes_what_comes_begins_before_the_end(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(running=(600, 6_000)))
    world.requests_per_batch = 20
    world.boot()
    declare(world, "rewrite", "labels", stream=True)
    world.submit(60)
    began = False
    while not began and world.advance():
        began = world.job().state is JobState.RUNNING and stage(world, "rewrite").rows > 0
    assert began
    assert 0 < world.job("rewrite").books.records < 60
    world.rest()
    assert sorted(keys(world, "rewrite")) == keys(world, "labels")
    assert_the_books_agree(world)


def test_a_growing_job_waits_for_full_batches_or_the_linger(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(running=(600, 6_000)))
    world.requests_per_batch = 20
    world.boot()
    policy = Policy(linger_seconds=3_000)
    declare(world, "rewrite", "labels", stream=True, policy=policy)
    world.submit(120)
    world.rest()
    assert world.job("rewrite").books.succeeded == 120
    assert len(world.batches("rewrite")) <= 9
    assert_the_books_agree(world)


@pytest.mark.parametrize("stream", [False, True])
def test_what_failed_is_passed_over_and_counted(world: World, stream: bool) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=0.3))
    declare(world, "rewrite", "labels", stream=stream)
    world.submit(60)
    world.run()
    world.sandbox.temper = Temper()
    world.rest()
    books = world.job().books
    assert books.failed > 0
    assert world.job("rewrite").books.records == books.succeeded
    assert stage(world, "rewrite").passed_over == books.failed


def test_answers_given_later_flow_into_a_stage_that_takes_what_comes(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=0.3))
    declare(world, "rewrite", "labels", stream=True)
    world.submit(60)
    world.run()
    world.sandbox.temper = Temper()
    world.rest()
    first = world.job("rewrite")
    assert first.state is JobState.FINISHED
    api.retry(world.context, "labels", ())
    world.rest()
    again = world.job("rewrite")
    assert again.state is JobState.FINISHED
    assert again.books.succeeded == 60 > first.books.records
    assert sorted(keys(world, "rewrite")) == keys(world, "labels")
    assert_the_books_agree(world)


def test_with_all_outcomes_a_second_word_on_a_record_is_passed_over(world: World) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=0.3))
    options = {"outcomes": "all", "answer": "label"}
    declare(world, "rewrite", "labels", stream=True, source_options=options)
    world.submit(60)
    world.run()
    world.sandbox.temper = Temper()
    world.rest()
    assert world.job("rewrite").books.records == 60
    failed = world.job().books.failed
    api.retry(world.context, "labels", ())
    world.rest()
    assert world.job("rewrite").books.records == 60
    assert stage(world, "rewrite").passed_over == failed


@pytest.mark.parametrize("stream", [False, True])
def test_a_record_that_breaks_a_rule_holds_the_stage_and_keeps_the_rest(
    world: World, stream: bool
) -> None:
    declare(world, "rewrite", "labels", stream=stream, prompt="Is {missing} right?")
    world.submit(5)
    world.rest()
    held = stage(world, "rewrite")
    assert held.state is StageState.HELD
    assert "missing" in (held.reason or "")
    assert world.job().state is JobState.FINISHED


def test_rows_before_the_one_that_breaks_a_rule_are_kept(world: World, tmp_path: Any) -> None:
    source = tmp_path / "some.jsonl"
    rows = [f'{{"id":"r{n}","text":"t","more":"m"}}\n' for n in range(3)]
    source.write_text("".join([*rows, '{"id":"bad","text":"t"}\n', *rows[:0]]))
    declare(world, "rewrite", "labels", stream=True, prompt="{more}")
    world.submit(source=str(source))
    world.rest()
    held = stage(world, "rewrite")
    assert held.state is StageState.HELD
    assert 'record "bad" of labels' in (held.reason or "")
    assert '"more"' in (held.reason or "")
    assert held.rows == world.job("rewrite").books.succeeded == 3
    assert world.job("rewrite").state is JobState.RUNNING


@pytest.mark.parametrize("stream", [False, True])
def test_a_cancelled_job_holds_up_the_stage_behind_it(world: World, stream: bool) -> None:
    declare(world, "rewrite", "labels", stream=stream)
    world.submit(30)
    world.tick()
    api.cancel_job(world.context, "labels")
    world.rest()
    held = stage(world, "rewrite")
    assert (held.state, held.code) == (StageState.HELD, "ORC2070")
    assert "labels was cancelled: 0 of its 30 records" in (held.reason or "")


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_that_succeeded_holds_the_stage_until_it_is_asked_again(
    world: World, stream: bool
) -> None:
    world.sandbox.temper = Temper(lines=Lines(content_filter=1.0))
    declare(world, "rewrite", "labels", stream=stream)
    world.submit(10)
    world.rest()
    assert (stage(world, "rewrite").state, stage(world, "rewrite").code) == (
        StageState.HELD,
        "ORC2071",
    )
    world.sandbox.temper = Temper()
    api.retry(world.context, "labels", ())
    world.rest()
    assert world.job("rewrite").books.succeeded == 10


def test_a_stage_whose_job_is_cancelled_is_fed_no_more(world: World) -> None:
    world.sandbox.temper = Temper(batches=Batches(running=(600, 6_000)))
    world.requests_per_batch = 10
    world.boot()
    declare(world, "rewrite", "labels", stream=True)
    world.submit(40)
    while not stage(world, "rewrite").rows:
        assert world.advance()
    api.cancel_job(world.context, "rewrite")
    world.rest()
    assert world.job("rewrite").state is JobState.CANCELLED
    assert stage(world, "rewrite").state is StageState.FED
    assert world.job().books.succeeded == 40
    assert_the_books_agree(world)


def test_chunks_are_small_steps_of_one_cursor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHUNK", 7)
    declare(world, "rewrite", "labels", stream=True)
    world.submit(50)
    world.rest()
    assert world.job("rewrite").books.succeeded == 50
    with world.registry.read() as db:
        count = sa.select(sa.func.count()).where(requests.c.job_id == world.job("rewrite").id)
        assert db.execute(count).scalar_one() == 50


@pytest.mark.parametrize("stream", [False, True])
def test_records_that_do_not_fit_a_condition_are_passed_over(world: World, stream: bool) -> None:
    declare(world, "rewrite", "labels", stream=stream, where='id < "r-00004" and rewrite')
    world.submit(10)
    world.rest()
    assert sorted(keys(world, "rewrite")) == [f"r-{n:05d}" for n in range(4)]
    assert stage(world, "rewrite").passed_over == 6


@pytest.mark.parametrize("stream", [False, True])
def test_a_stage_without_a_record_ends_and_lets_the_next_begin(world: World, stream: bool) -> None:
    declare(world, "rewrite", "labels", stream=stream, where='id == "nobody"')
    declare(world, "judge", "rewrite", stream=stream)
    world.submit(10)
    world.rest()
    for name in ("rewrite", "judge"):
        assert world.job(name).state is JobState.FINISHED
        assert world.job(name).books.records == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_condition_without_an_answer_holds_the_stage(world: World, stream: bool) -> None:
    declare(world, "rewrite", "labels", stream=stream, where="text > 3")
    world.submit(4)
    world.rest(days=1)
    held = stage(world, "rewrite")
    assert (held.state, held.code) == (StageState.HELD, "ORC2042")
