from __future__ import annotations

import dataclasses
import json

import pytest

from orchestrator.api.explaining import explain
from orchestrator.api.failing import failure_groups
from orchestrator.api.lookup import find_record
from orchestrator.api.records import trace_record
from orchestrator.cli.events_cmd import follow
from orchestrator.cli.session import Session
from orchestrator.cli.terminal import real_world
from orchestrator.domain.errors import NotFound, UsageError
from orchestrator.domain.model import BatchState, Gate
from orchestrator.domain.spec import Policy
from orchestrator.domain.transitions import Parked
from orchestrator.provider.profiles import load_profile
from orchestrator.registry import accounts, batches


def price(provider, model):
    found = load_profile(provider).models.get(model)
    return found.price if found else None


def told(world, subject, **how):
    return explain(world.registry, subject, now=world.clock.now(), prices=price, **how)


def test_every_explanation_says_what_happened_what_is_next_and_the_choices(shared):
    remote = next(batch.remote_id for batch in shared.batches("labels") if batch.remote_id)
    for subject in ("done", "labels", "done/b01", remote, "provider:sandbox"):
        story = told(shared, subject)
        assert story.happened, subject
        assert story.next, subject
        assert story.if_nothing, subject
        assert story.choices, subject
    story = told(shared, "r-00003", job="done")
    assert story.choices[0].command == "orchestrator retry done --where key:r-00003"


def test_choices_come_with_their_money(shared):
    retry = next(c for c in told(shared, "done").choices if "retry" in c.command)
    view = shared.job("done").books
    assert f"{view.failed} failed" in retry.effect
    assert retry.money.currency == "USD"
    assert 0 < retry.money.amount < 1


def test_a_key_of_several_jobs_needs_its_job(shared):
    with pytest.raises(UsageError, match="several jobs"):
        told(shared, "r-00003")
    assert told(shared, "r-00190").subject == "r-00190 of done"
    with pytest.raises(NotFound, match="no job, batch or record"):
        told(shared, "nobody")
    with pytest.raises(NotFound, match="never used"):
        told(shared, "provider:nobody")


def test_a_parked_batch_says_that_nothing_is_lost_and_how_to_go_on(world):
    world.submit(30)
    world.tick()
    now = world.clock.now()
    batch = world.batches()[0]
    parked = Parked(parked_from=BatchState.LIVE, reason="gone over there", code="ORC5207")
    world.registry.write(lambda db: batches.move(db, batch, parked, now=now, due_at=now, actor="t"))
    story = told(world, "labels/b01")
    assert "gone over there" in story.next[0]
    assert "nothing is sent or paid for twice" in story.if_nothing
    assert story.choices[0].command == "orchestrator resume labels"
    assert told(world, "labels").waits_for.who == "you"
    assert "your decision" in told(world, "r-00001").next[0]


def test_a_stopped_provider_says_that_it_is_asked_again_by_itself(world):
    world.submit(3)
    now = world.clock.now()

    def close(db):
        account = accounts.ensure(db, "sandbox", now)
        accounts.set_gate(
            db, account, Gate.CLOSED, now=now, actor="t", until=now, code="ORC3104", reason="empty"
        )
        accounts.change(db, "sandbox", paused=True)

    world.registry.write(close)
    story = told(world, "provider:sandbox")
    assert story.state == "paused"
    assert "empty" in story.happened[0]
    assert "asked again from time to" in story.if_nothing
    assert told(world, "labels").waits_for.held_by == "sandbox"


def test_failures_are_grouped_with_their_words_and_the_command_that_mends(shared):
    groups = failure_groups(shared.registry, "done")
    books = shared.job("done").books
    assert sum(group.records for group in groups) == books.failed + books.expired
    assert {group.of for group in groups} == {200}
    for group in groups:
        assert group.words
        assert find_record(shared.registry, group.example, "done")
        assert group.attempts >= group.records
        assert bool(group.next) == bool(group.records)
    counts = [group.attempts for group in groups]
    assert counts == sorted(counts, reverse=True)
    assert {group.job for group in failure_groups(shared.registry)} <= {"done", "labels"}


def test_a_trace_leads_to_the_very_line_of_the_remote_file(world):
    world.submit(20, policy=Policy(delete_remote_files=False))
    world.run()
    for number in range(20):
        found = find_record(world.registry, f"r-{number:05d}", "labels")
        trace = trace_record(world.registry, found)
        assert json.loads(trace.row)["id"] == trace.key
        assert trace.position == number + 1
        (attempt,) = trace.attempts
        assert (attempt.word, attempt.source) == ("succeeded", "output")
        with world.sandbox.blobs.reader(world.sandbox.content(attempt.file).key) as file:
            line = json.loads(file.read().splitlines()[attempt.line - 1])
        assert line["custom_id"] == trace.custom_id
        assert line["response"]["body"] == json.loads(attempt.body)


def test_following_shows_the_latest_events_then_new_ones_and_stops_when_told(world, capsys):
    world.submit(3)
    terminal = dataclasses.replace(real_world(), environ={"TZ": "UTC", "HOME": "/nowhere"})
    session = Session(terminal)
    turns = iter([True, False])

    def wait():
        world.tick()
        return next(turns)

    follow(session, world.registry, (), job=None, after=None, wait=wait)
    kinds = [line.split("\t")[1] for line in capsys.readouterr().out.splitlines()]
    assert "job_registered" in kinds
    assert kinds.index("planned") > kinds.index("job_registered")
    assert len(kinds) == len(set(kinds))
