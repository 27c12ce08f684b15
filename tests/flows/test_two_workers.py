"""Two workers feed the same stages at the same time: each record is registered once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from support.books import assert_the_books_agree
from support.world import World

from flows.test_feeding import declare, keys, stage
from orchestrator.domain.model import StageState
from orchestrator.engine.steps import feed
from orchestrator.engine.tick import tick
from orchestrator.registry import workers
from orchestrator.spool import Spool


@pytest.mark.parametrize("registry_url", ["postgresql"], indirect=True)
def test_two_workers_at_once_feed_every_record_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "CHUNK", 7)
    declare(world, "rewrite", "labels", stream=True)
    declare(world, "judge", "rewrite", stream=True)
    world.submit(80)
    now = world.clock.now()
    world.registry.write(
        lambda db: workers.begin(
            db,
            worker="other",
            kind="test",
            host="here",
            pid=2,
            version="0",
            now=now,
            lease=timedelta(days=365),
        )
    )
    spool = Spool(world.folder / "spool-2", owner="other")
    other = replace(world.context, worker="other", actor="other", spool=spool)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(300):
            list(pool.map(tick, (world.context, other)))
            world.clock.seconds += 300
            if stage(world, "judge").state is StageState.FED and not world.job("judge").books.open:
                break
    world.rest()
    assert sorted(keys(world, "judge")) == keys(world, "labels")
    assert world.job("judge").books.succeeded == 80
    assert_the_books_agree(world, ended=False)
