from __future__ import annotations

from datetime import UTC, datetime

from orchestrator import api
from orchestrator.domain.filters import (
    BATCH_FIELDS,
    EVENT_FIELDS,
    JOB_FIELDS,
    RECORD_FIELDS,
    parse_filter,
)
from orchestrator.registry import where

LATE = datetime(2026, 12, 1, tzinfo=UTC)


def records(world, text, job=None):
    found = parse_filter(text, RECORD_FIELDS, now=world.clock.now())
    return api.list_records(world.registry, found, job=job, limit=1000)


def test_states_of_records_match_the_books(shared):
    for name in ("done", "labels"):
        books = shared.job(name).books
        counts = {
            state: len(records(shared, f"state:{state}", name))
            for state in ("open", "waiting", "succeeded", "failed", "expired", "cancelled")
        }
        travelling = len(records(shared, "state:in_flight", name))
        travelling += len(records(shared, "state:reported", name))
        assert counts["open"] == books.open
        assert counts["waiting"] == books.waiting
        assert travelling == books.in_flight
        assert counts["succeeded"] == books.succeeded
        assert counts["failed"] == books.failed


FILTERS = (
    "state:failed",
    "cause:overloaded",
    "cause:over*",
    "key:r-0000*",
    "key:r-00007",
    "attempts>1",
    "tokens_in>=15",
    "tokens_out<1000",
    "since:3d",
    "until:2026-09-01T13:00",
    "tag:team=support",
    "tag:team=s*",
    "tag:team",
    "batch:b02",
    "batch:done/b02",
    "model:kimi-*",
    "provider:sandbox",
    "job:done",
    '"the engine"',
    'tag:run="a b"',
)


def test_a_filter_and_its_negation_part_the_records(shared):
    every = {row.id for row in records(shared, "")}
    for text in FILTERS:
        found = {row.id for row in records(shared, text)}
        others = {row.id for row in records(shared, f"-{text}")}
        assert found, text
        assert not found & others, text
        # What has no value is on neither side of a comparison.
        if not text.startswith(("tokens", "since", "until")):
            assert found | others == every, text


def test_each_condition_means_what_it_says(shared):
    assert {row.key for row in records(shared, "key:r-0000*", "labels")} == {
        f"r-{n:05d}" for n in range(10)
    }
    assert all(row.attempts > 1 for row in records(shared, "attempts>1"))
    assert {row.attempts > 1 for row in records(shared, "attempts<=1")} == {False}
    assert {row.cause for row in records(shared, "cause:refused")} == {"refused"}
    assert {row.batch for row in records(shared, "batch:labels/b02")} == {2}
    assert {row.job for row in records(shared, "tag:team=sales")} == {"labels"}
    assert all("ENGINE" in row.message.upper() for row in records(shared, '"THE engine"'))


def test_comparisons_are_exact_about_case_and_signs_are_only_signs(shared):
    assert {row.job for row in records(shared, "job:O*")} == {"Other"}
    assert records(shared, "job:o*") == []
    for odd in ("key:r%", "key:r_00001", "key:r[0-9]*", "key:r?00001", "key:x!*", "batch:'"):
        assert records(shared, odd) == []


def test_user_text_never_becomes_sql(shared):
    for text in ('key:"x\' OR 1=1 --"', 'tag:"a\\"b"=c', '"%_!"', "batch:b0'"):
        assert records(shared, text) == []


def test_jobs_are_filtered_by_state_count_model_and_tag(shared):
    def jobs(text):
        found = parse_filter(text, JOB_FIELDS, now=LATE)
        views = api.list_jobs(shared.registry, found, now=shared.clock.now())
        return {view.job.name for view in views}

    assert jobs("state:finished") == {"done"}
    assert jobs("records>=100") == {"done", "labels"}
    assert jobs("failed>0") == {"done"}
    assert jobs("model:kimi-k2.5") == {"Other"}
    assert jobs("-tag:team") == {"Other"}
    assert jobs("LAB") == {"labels"}
    assert jobs("since:365d") == {"done", "labels", "Other"}


def test_batches_are_filtered_by_name_state_and_size(shared):
    def batches(text):
        found = parse_filter(text, BATCH_FIELDS, now=LATE)
        views = api.list_batches(shared.registry, found, now=shared.clock.now(), limit=100)
        return {view.name for view in views}

    assert batches("batch:labels/b02") == {"labels/b02"}
    assert batches("batch:b02") == {"labels/b02", "done/b02"}
    assert batches("job:labels requests=50") == {"labels/b01", "labels/b02"}
    assert batches("job:done -state:closed") == set()
    known = next(batch for batch in shared.batches("done") if batch.remote_id)
    assert batches(f"batch:{known.remote_id}") == {f"done/{known.label}"}


def test_events_are_filtered_by_kind_batch_and_worker(shared):
    def events(text):
        found = parse_filter(text, EVENT_FIELDS, now=LATE)
        return api.list_events(shared.registry, found, limit=1000)

    assert {event.batch for event in events("event:planned job:labels")} == {
        "labels/b01",
        "labels/b02",
        "labels/b03",
    }
    assert {event.batch for event in events("batch:labels/b01")} == {"labels/b01"}
    assert {event.actor for event in events("worker:worker-*")} == {"worker-1"}
    assert events("since:1d") == []


def test_failed_ids_are_the_failed_and_expired_ones_that_match(shared):
    job = shared.job("done")
    with shared.registry.read() as db:
        every = where.failed_ids(db, job.id, ())
        refused = where.failed_ids(
            db, job.id, parse_filter("cause:refused", RECORD_FIELDS, now=LATE)
        )
        none = where.failed_ids(
            db, job.id, parse_filter("state:succeeded", RECORD_FIELDS, now=LATE)
        )
    assert len(every) == job.books.failed + job.books.expired
    assert set(refused) <= set(every)
    assert refused == sorted(refused)
    assert none == []
