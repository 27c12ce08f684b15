"""Where batches stand over time, how they are listed, and what cancelling does."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_kit import Kit

from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.stages import FINAL, draw_course, stage_at
from orchestrator.sandbox.temper import Batches, Bounds, Lines, Quirks, Temper

SLOW = Batches(validating=(10, 10), running=(100, 100), finalizing=(10, 10), cancelling=(5, 5))


def test_a_batch_walks_through_its_states_and_its_counts_grow(make_kit):
    kit = make_kit(Temper(batches=SLOW))
    batch = kit.create(kit.upload(20))
    assert batch["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    seen = []
    for _ in range(13):
        shown = kit.finish(batch, 10)
        counts = shown["request_counts"]
        seen.append((shown["status"], counts["total"], counts["completed"]))
    growing = [("in_progress", 20, done) for done in range(0, 20, 2)]
    assert seen == [*growing, ("finalizing", 20, 20), ("completed", 20, 20), ("completed", 20, 20)]
    times = [shown[f"{word}_at"] - shown["created_at"] for word in ("in_progress", "finalizing")]
    assert times == [10, 110]
    assert shown["completed_at"] - shown["created_at"] == 120
    assert shown["expires_at"] - shown["created_at"] == 86_400
    assert (shown["failed_at"], shown["cancelling_at"], shown["cancelled_at"]) == (None, None, None)


def test_the_batch_object_has_the_documented_members_and_no_others(kit):
    assert set(kit.create(kit.upload())) == {
        "id",
        "object",
        "endpoint",
        "input_file_id",
        "completion_window",
        "status",
        "output_file_id",
        "error_file_id",
        "created_at",
        "in_progress_at",
        "expires_at",
        "finalizing_at",
        "completed_at",
        "failed_at",
        "cancelling_at",
        "cancelled_at",
        "request_counts",
        "metadata",
    }


def test_no_result_is_shown_before_the_end(make_kit):
    kit = make_kit(Temper(batches=SLOW))
    batch = kit.create(kit.upload(20))
    for _ in range(11):
        shown = kit.finish(batch, 10)
        assert (shown["output_file_id"], shown["error_file_id"]) == (None, None)
    assert len(kit.get("/files")["data"]) == 1
    assert len(kit.lines(kit.finish(batch, 10)["output_file_id"])) == 20
    assert len(kit.get("/files")["data"]) == 2


@pytest.mark.parametrize("listed", ["listed", "silent"])
def test_an_expired_batch_brings_what_was_done(make_kit, listed):
    kit = make_kit(Temper(batches=Batches(expired=1.0), quirks=Quirks(unfinished_lines=listed)))
    expired = kit.finish(kit.create(kit.upload(100), completion_window="12h"))
    assert expired["status"] == "expired"
    answered = {line["custom_id"] for line in kit.lines(expired["output_file_id"])}
    assert len(answered) == expired["request_counts"]["completed"]
    assert 30 < len(answered) < 100
    left = kit.lines(expired["error_file_id"])
    if listed == "silent":
        assert left == []
        return
    assert {line["error"]["code"] for line in left} == {"batch_expired"}
    assert answered.isdisjoint(line["custom_id"] for line in left)
    assert len(answered) + len(left) == 100


def test_a_provider_may_keep_the_partial_results_to_itself(make_kit):
    kit = make_kit(Temper(batches=Batches(expired=1.0), quirks=Quirks(partial_results=False)))
    expired = kit.finish(kit.create(kit.upload(100)))
    assert (expired["output_file_id"], expired["error_file_id"]) == (None, None)
    assert kit.sandbox.books().batches[0].billed > 0


@pytest.mark.parametrize(("after", "done"), [(60, 10), (115, 20)])
def test_a_cancelled_batch_brings_what_was_done_until_then(make_kit, after, done):
    kit = make_kit(Temper(batches=SLOW))
    batch = kit.create(kit.upload(20))
    kit.clock.advance(after)
    cancelling = kit.http.post(f"/batches/{batch['id']}/cancel").json()
    assert cancelling["status"] == "cancelling"
    assert cancelling["cancelling_at"] == cancelling["created_at"] + after
    again = kit.http.post(f"/batches/{batch['id']}/cancel")
    assert again.json()["status"] == "cancelling"
    cancelled = kit.finish(batch, 5)
    assert cancelled["status"] == "cancelled"
    assert cancelled["cancelled_at"] == cancelled["cancelling_at"] + 5
    assert len(kit.lines(cancelled["output_file_id"])) == done
    codes = [line["error"]["code"] for line in kit.lines(cancelled["error_file_id"])]
    assert codes == ["batch_cancelled"] * (20 - done)


def test_a_batch_cancelled_while_validating_has_run_nothing(make_kit):
    kit = make_kit(Temper(batches=SLOW))
    batch = kit.create(kit.upload(20))
    kit.http.post(f"/batches/{batch['id']}/cancel")
    cancelled = kit.finish(batch)
    assert cancelled["status"] == "cancelled"
    assert (cancelled["output_file_id"], cancelled["error_file_id"]) == (None, None)
    assert kit.sandbox.books().executed == {}


def test_a_final_batch_cannot_be_cancelled(kit):
    batch = kit.create(kit.upload())
    kit.finish(batch)
    reply = kit.http.post(f"/batches/{batch['id']}/cancel")
    assert reply.status_code == 400
    assert "is completed and can't be cancelled" in reply.json()["error"]["message"]


def test_a_cancelled_batch_may_still_complete_by_temper(make_kit):
    batches = Batches(validating=(10, 10), running=(100, 100), cancel_ignored=1.0)
    kit = make_kit(Temper(batches=batches))
    batch = kit.create(kit.upload(20))
    kit.clock.advance(50)
    assert kit.http.post(f"/batches/{batch['id']}/cancel").json()["status"] == "cancelling"
    assert kit.finish(batch, 50)["status"] == "cancelling"
    completed = kit.finish(batch)
    assert completed["status"] == "completed"
    assert completed["cancelling_at"] is not None
    assert len(kit.lines(completed["output_file_id"])) == 20


def test_validation_may_fail_without_a_fault_of_the_file(make_kit):
    kit = make_kit(Temper(batches=Batches(rejected=1.0)))
    failed = kit.finish(kit.create(kit.upload()))
    assert failed["status"] == "failed"
    assert kit.lines(failed["error_file_id"])[0]["code"] == "validation_error"


def test_a_batch_runs_on_when_its_input_file_is_deleted(kit):
    file_id = kit.upload(5)
    batch = kit.create(file_id)
    kit.http.delete(f"/files/{file_id}")
    assert len(kit.lines(kit.finish(batch)["output_file_id"])) == 5


@pytest.mark.parametrize(("after", "status"), [(0, "failed"), (20, "completed")])
def test_deleting_the_input_may_fail_a_batch_that_is_not_validated_yet(make_kit, after, status):
    kit = make_kit(Temper(batches=SLOW, quirks=Quirks(deleted_input="fails")))
    file_id = kit.upload()
    batch = kit.create(file_id)
    kit.clock.advance(after)
    kit.http.delete(f"/files/{file_id}")
    assert kit.finish(batch)["status"] == status


def test_the_list_is_newest_first_and_pages_by_the_last_id(kit):
    ids = [kit.create(kit.upload())["id"] for _ in range(45)][::-1]
    pages, after = [], None
    while True:
        page = kit.get("/batches", **({"after": after} if after else {}))
        pages.append([batch["id"] for batch in page["data"]])
        after = pages[-1][-1]
        if not page["has_more"]:
            break
    assert [len(page) for page in pages] == [20, 20, 5]
    assert list(itertools.chain(*pages)) == ids
    assert [batch["id"] for batch in kit.get("/batches", limit=3)["data"]] == ids[:3]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": "many"}, {"after": "batch_none"}])
def test_a_list_call_that_makes_no_sense_is_400(kit, query):
    assert kit.http.get("/batches", params=query).status_code == 400


def test_an_empty_account_lists_nothing(kit):
    assert kit.get("/batches") == {"object": "list", "data": [], "has_more": False}


times = st.floats(0, 2e6)
rates = st.sampled_from([0.0, 0.5, 1.0])


@given(
    moments=st.lists(times, min_size=2, max_size=12).map(sorted),
    cancelled=st.none() | times,
    expired=rates,
    ignored=rates,
    valid=st.booleans(),
    name=st.text(max_size=8),
)
def test_progress_never_goes_back_and_a_final_state_is_final(
    moments, cancelled, expired, ignored, valid, name
):
    temper = Batches(running=(1000, 1e6), expired=expired, cancel_ignored=ignored)
    course = draw_course(name, 0.0, 86_400.0, temper, Draws(1))
    if cancelled is not None and stage_at(course, None, cancelled, valid=valid).final:
        cancelled = None
    stages = [stage_at(course, cancelled, moment, valid=valid) for moment in moments]
    for before, later in itertools.pairwise(stages):
        assert before.progress <= later.progress <= 1
        assert before == later or before.status not in FINAL
    assert stage_at(course, cancelled, 1e9, valid=valid).final


@given(seed=st.integers(0, 500), total=st.integers(1, 60), share=st.floats(0, 1))
def test_counts_agree_with_the_lines_that_are_delivered(seed, total, share):
    lines = Lines(overloaded=0.2, content_filter=0.1, duplicated=0.1)
    kit = Kit(Temper(lines=lines, batches=SLOW, limits=Bounds()), seed=seed)
    batch = kit.create(kit.upload(total))
    kit.clock.advance(10 + 99 * share)
    kit.http.post(f"/batches/{batch['id']}/cancel")
    ended = kit.finish(batch)
    answered = {line["custom_id"] for line in kit.lines(ended["output_file_id"])}
    errors = kit.lines(ended["error_file_id"])
    ran = [line for line in errors if line["response"]]
    assert ended["request_counts"] == {
        "total": total,
        "completed": len(answered),
        "failed": len(ran),
    }
    assert len(answered) + len(errors) == total
    kit.http.close()
