"""Only new and changed records are sent, run after run of a series."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator import api
from orchestrator.api import control
from orchestrator.domain.errors import NameTaken, SourceError
from orchestrator.domain.model import JobState
from orchestrator.domain.spec import JobSpec
from orchestrator.engine import changes
from orchestrator.engine.history import series_of
from orchestrator.registry import jobs, outcomes

PROMPT = "Say one word about {text}"


def write(world, rows):
    path = world.folder / "source.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def spec_of(world, **given_values):
    values = {
        "name": "run",
        "source": str(world.folder / "source.jsonl"),
        "key": "id",
        "prompt": PROMPT,
        "provider": "sandbox",
        "model": "kimi-k2.6",
        "changed_only": True,
        **given_values,
    }
    return JobSpec(**values)


def submit(world, rows, **given_values):
    write(world, rows)
    return api.submit(world.context, spec_of(world, **given_values), actor="test")


def keys_of(world, job):
    with world.registry.read() as db:
        found = outcomes.sourced(db, *outcomes.span(job.id, 0, 10_000), ())
    return [json.loads(row.record)["id"] for row in found]


def rows(count, **changed):
    return [{"id": f"k{n}", "text": changed.get(f"k{n}", f"text {n}")} for n in range(count)]


def test_the_first_run_sends_everything_and_the_next_what_is_new_or_changed(world):
    first = submit(world, rows(5))
    assert (first.job.name, first.job.books.records, first.unchanged) == ("run", 5, 0)
    world.run("run")
    second = submit(world, rows(7, k2="other"))
    assert (second.job.name, second.unchanged) == ("run-2", 4)
    assert keys_of(world, second.job) == ["k2", "k5", "k6"]
    assert second.changed_since == "run"
    world.run("run-2")
    third = submit(world, rows(7, k2="other"))
    assert third.nothing_changed
    assert (third.job.name, third.unchanged, third.changed_since) == ("run-2", 7, "")
    fourth = submit(world, rows(7))
    assert keys_of(world, fourth.job) == ["k2"]


def test_records_on_their_way_are_held(world):
    submit(world, rows(3))
    assert submit(world, rows(3)).nothing_changed


def test_records_that_did_not_succeed_are_sent_again_each_time(world):
    first = submit(world, rows(3))
    with world.registry.read() as db:
        assert jobs.get(db, first.job.id).state is JobState.RUNNING
    control.cancel_job(world.context, "run")
    world.run("run")
    second = submit(world, rows(3))
    assert (second.job.name, second.job.books.records) == ("run-2", 3)
    control.cancel_job(world.context, "run-2")
    world.run("run-2")
    third = submit(world, rows(3))
    assert (third.job.name, third.already, third.job.books.records) == ("run-3", False, 3)


def test_spaces_and_the_order_of_members_are_no_change(world):
    submit(world, rows(1))
    path = world.folder / "source.jsonl"
    path.write_text('{ "text" : "text 0", "id":"k0" }\n')
    again = api.submit(world.context, spec_of(world), actor="test")
    assert again.nothing_changed
    path.write_text('{"text": "text 0", "id": "k0", "n": 1}\n')
    more = api.submit(world.context, spec_of(world), actor="test")
    world.run(more.job.name)
    path.write_text('{"text": "text 0", "id": "k0", "n": 1.0}\n')
    assert not api.submit(world.context, spec_of(world), actor="test").nothing_changed


def test_a_run_that_was_cut_off_goes_on_under_its_own_name(world, monkeypatch):
    submit(world, rows(2))
    world.run("run")
    monkeypatch.setattr("orchestrator.engine.registration.CHUNK", 2)

    def stop(done, _whole):
        if done >= 4:
            raise KeyboardInterrupt

    write(world, rows(9))
    with pytest.raises(KeyboardInterrupt):
        api.submit(world.context, spec_of(world), actor="test", on_progress=stop)
    again = submit(world, rows(9))
    assert (again.job.name, again.resumed, again.job.books.records) == ("run-2", True, 7)
    assert keys_of(world, again.job) == [f"k{n}" for n in range(2, 9)]


def test_a_run_that_was_cut_off_over_other_content_is_begun_anew(world, monkeypatch):
    submit(world, rows(2))
    world.run("run")
    monkeypatch.setattr("orchestrator.engine.registration.CHUNK", 2)

    def stop(_done, _whole):
        raise KeyboardInterrupt

    write(world, rows(9))
    with pytest.raises(KeyboardInterrupt):
        api.submit(world.context, spec_of(world), actor="test", on_progress=stop)
    again = submit(world, rows(5))
    assert (again.job.name, again.resumed, again.job.books.records) == ("run-2", False, 3)


def test_the_name_of_another_series_is_not_taken_over(world):
    world.submit(2, name="run")
    with pytest.raises(NameTaken):
        submit(world, rows(2))


def test_a_series_may_be_named_where_the_source_moves(world):
    submit(world, rows(3), series="reviews")
    moved = world.folder / "moved.jsonl"
    write(world, rows(4)).rename(moved)
    again = api.submit(
        world.context, spec_of(world, series="reviews", source=str(moved)), actor="test"
    )
    assert keys_of(world, again.job) == ["k3"]


def test_another_question_about_the_same_source_holds_nothing(world):
    submit(world, rows(3))
    other = submit(world, rows(3), name="other", prompt="Say two words about {text}")
    assert (other.job.name, other.job.books.records) == ("other", 3)
    again = submit(world, rows(4), prompt="Say two words about {text}")
    assert keys_of(world, again.job) == ["k3"]


def test_a_series_that_is_named_holds_whatever_was_asked(world):
    submit(world, rows(3), series="s")
    other = submit(world, rows(4), series="s", prompt="Say two words about {text}")
    assert keys_of(world, other.job) == ["k3"]


def test_each_table_of_a_database_is_a_series_of_its_own():
    def of(**options):
        return series_of(JobSpec(name="", source="sql:w", provider="", source_options=options))

    assert of(table="a") != of(table="b")
    assert of(query="SELECT 1", sheet="x") == of(sheet="x", query="SELECT 1")
    assert len(of(query="SELECT 1 " * 1_000)) == 64


def test_a_key_that_comes_twice_is_refused_though_one_is_held(world):
    submit(world, rows(2))
    with pytest.raises(SourceError, match="holds a key twice") as caught:
        submit(world, [*rows(2), {"id": "k1", "text": "other"}])
    assert (caught.value.code, caught.value.where) == ("ORC2011", "line 3")


@pytest.mark.parametrize(
    ("changed", "why"),
    [({"key": None}, "which column identifies"), ({"on_duplicate": "suffix"}, 'is "suffix"')],
)
def test_what_changed_is_told_by_the_key(world, changed, why):
    with pytest.raises(SourceError) as caught:
        submit(world, rows(2), **changed)
    assert any(why in detail for detail in caught.value.details)


def test_a_condition_comes_first_and_both_are_counted(world):
    first = submit(world, rows(4), where="id != 'k0'")
    assert (first.passed_over, keys_of(world, first.job)) == (1, ["k1", "k2", "k3"])
    second = submit(world, rows(5), where="id != 'k0'")
    assert (second.passed_over, second.unchanged) == (1, 3)
    assert keys_of(world, second.job) == ["k4"]


def test_a_condition_that_nothing_fits_is_refused(world):
    with pytest.raises(SourceError, match="fits the condition") as caught:
        submit(world, rows(4), where="id == 'none'", changed_only=False)
    assert (caught.value.code, caught.value.why) == ("ORC2043", "4 records were passed over")


def test_a_changed_source_is_noticed_without_being_asked_for(world):
    submit(world, rows(2), changed_only=False)
    again = submit(world, rows(2), changed_only=False, name="other")
    assert again.changed_since == ""
    changed = submit(world, rows(3), changed_only=False, name="third")
    assert changed.changed_since == "other"


def test_a_plan_shows_what_would_be_sent(world, tmp_path):
    from orchestrator.engine.opening import opening  # noqa: PLC0415 - as a face makes it

    submit(world, rows(3))
    write(world, rows(4, k1="other"))
    planned = api.plan(
        spec_of(world),
        world.providers.profile("sandbox"),
        workdir=tmp_path,
        show=9,
        opening=opening(world.context.connections, lambda: world.registry),
    )
    assert [request.key for request in planned.samples] == ["k1", "k3"]
    assert (planned.scan.unchanged, planned.scan.changed_since) == (2, "run")


RUNS = st.lists(
    st.dictionaries(st.integers(0, 12), st.integers(0, 2), min_size=1), min_size=2, max_size=4
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(RUNS, st.integers(1, 5))
def test_each_run_sends_exactly_what_differs_from_the_latest_that_holds_it(world, runs, chunk):
    held = {}
    series = f"s{len(world.folder.name)}-{world.clock.now().timestamp()}"
    world.clock.seconds += 1
    original, changes.CHUNK = changes.CHUNK, chunk
    try:
        for content in runs:
            given_rows = [{"id": f"k{n}", "text": str(v)} for n, v in sorted(content.items())]
            made = submit(world, given_rows, series=series, name=series)
            wanted = [f"k{n}" for n, v in sorted(content.items()) if held.get(n) != v]
            assert made.nothing_changed == (not wanted)
            assert made.nothing_changed or keys_of(world, made.job) == wanted
            held |= content
    finally:
        changes.CHUNK = original
