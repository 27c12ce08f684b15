"""Faults of calls: whether the effect took place, and what the client sees of it."""

import httpx
import pytest

from orchestrator.sandbox.faults import OPS, Fault
from orchestrator.sandbox.temper import BAD, Calls, Temper

REPLIES = {
    Fault.SERVER_ERROR: (500, "server_error"),
    Fault.SERVER_ERROR_AFTER: (500, "unexpected_output"),
    Fault.UNAVAILABLE: (503, "server_unavailable"),
    Fault.THROTTLED: (429, "rate_limit_reached_error"),
    Fault.OVERLOADED: (429, "engine_overloaded_error"),
    Fault.QUOTA: (429, "exceeded_current_quota_error"),
    Fault.TOO_MANY_FILES: (400, "invalid_request_error"),
    Fault.UNAUTHORIZED: (401, "invalid_authentication_error"),
    Fault.FORBIDDEN: (403, "permission_denied_error"),
}
HAPPENED = {
    Fault.ANSWER_LOST,
    Fault.SERVER_ERROR_AFTER,
    Fault.GATEWAY_TIMEOUT_AFTER,
    Fault.EMPTY,
    Fault.TRUNCATED,
}


def attempt(kit, file_id: str) -> httpx.Response | httpx.HTTPError:
    try:
        return kit.create_raw(file_id)
    except httpx.HTTPError as exc:
        return exc


@pytest.mark.parametrize("fault", Fault)
def test_each_fault_has_its_effect_or_not_and_strikes_once(kit, fault):
    file_id = kit.upload()
    kit.sandbox.inject("create", fault)
    attempt(kit, file_id)
    assert len(kit.get("/batches")["data"]) == (1 if fault in HAPPENED else 0)
    assert kit.sandbox.injections() == ()
    assert kit.create_raw(file_id).is_success


@pytest.mark.parametrize("fault", REPLIES)
def test_a_refusing_fault_answers_with_status_and_type(kit, fault):
    kit.sandbox.inject("list", fault)
    reply = kit.http.get("/batches")
    assert (reply.status_code, reply.json()["error"]["type"]) == REPLIES[fault]


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.DROPPED, httpx.ConnectError),
        (Fault.ANSWER_LOST, httpx.ReadTimeout),
        (Fault.LATE, httpx.ReadTimeout),
        (Fault.TRUNCATED, httpx.RemoteProtocolError),
    ],
)
@pytest.mark.parametrize("op", OPS)
def test_a_broken_connection_is_an_error_of_httpx_for_every_call(kit, op, fault, error):
    batch = kit.create(kit.upload())
    file_id = batch["input_file_id"]
    calls = {
        "upload": lambda: kit.upload_raw(b"{}"),
        "list_files": lambda: kit.http.get("/files"),
        "file": lambda: kit.http.get(f"/files/{file_id}"),
        "content": lambda: kit.http.get(f"/files/{file_id}/content"),
        "delete": lambda: kit.http.delete(f"/files/{file_id}"),
        "create": lambda: kit.create_raw(file_id),
        "list": lambda: kit.http.get("/batches"),
        "retrieve": lambda: kit.http.get(f"/batches/{batch['id']}"),
        "cancel": lambda: kit.http.post(f"/batches/{batch['id']}/cancel"),
        "models": lambda: kit.http.get("/models"),
        "balance": lambda: kit.http.get("/users/me/balance"),
        "estimate": lambda: kit.http.post(
            "/tokenizers/estimate-token-count", json={"model": "m", "messages": []}
        ),
    }
    kit.sandbox.inject(op, fault)
    with pytest.raises(error):
        calls[op]()
    assert calls[op]().is_success or (op, fault) in {
        ("delete", Fault.ANSWER_LOST),
        ("delete", Fault.TRUNCATED),
    }


def test_a_throttled_call_says_how_long_to_wait_and_an_overloaded_one_does_not(kit):
    kit.sandbox.inject("list", "throttled", seconds=7)
    kit.sandbox.inject("list", "overloaded")
    assert kit.http.get("/batches").headers["retry-after"] == "7"
    assert "retry-after" not in kit.http.get("/batches").headers


def test_a_gateway_timeout_is_a_page_of_html(kit):
    kit.sandbox.inject("retrieve", "gateway_timeout")
    reply = kit.http.get("/batches/any")
    assert reply.status_code == 504
    assert reply.headers["content-type"] == "text/html"
    assert "<html>" in reply.text


def test_an_empty_answer_is_a_success_without_a_body(kit):
    kit.sandbox.inject("list", "empty")
    reply = kit.http.get("/batches")
    assert (reply.status_code, reply.content) == (200, b"")


def test_a_late_create_takes_effect_after_its_delay(kit):
    file_id = kit.upload()
    kit.sandbox.inject("create", "late", seconds=90)
    with pytest.raises(httpx.ReadTimeout):
        kit.create_raw(file_id)
    kit.clock.advance(89)
    assert kit.get("/batches")["data"] == []
    kit.clock.advance(2)
    (batch,) = kit.get("/batches")["data"]
    assert batch["input_file_id"] == file_id
    assert batch["created_at"] == kit.get(f"/files/{file_id}")["created_at"] + 90


def test_a_late_create_over_a_deleted_file_never_takes_effect(kit):
    file_id = kit.upload()
    kit.sandbox.inject("create", "late", seconds=90)
    with pytest.raises(httpx.ReadTimeout):
        kit.create_raw(file_id)
    kit.http.delete(f"/files/{file_id}")
    kit.clock.advance(1000)
    assert kit.get("/batches")["data"] == []
    assert kit.sandbox.books().batches == ()


def test_late_uploads_deletes_and_cancels_take_effect_too(kit):
    batch = kit.create(kit.upload())
    other = kit.upload()
    for op in ("upload", "delete", "cancel"):
        kit.sandbox.inject(op, "late", seconds=1)
    for call in (
        lambda: kit.upload_raw(b"late", "late.jsonl"),
        lambda: kit.http.delete(f"/files/{other}"),
        lambda: kit.http.post(f"/batches/{batch['id']}/cancel"),
    ):
        with pytest.raises(httpx.ReadTimeout):
            call()
    before = {file["filename"] for file in kit.get("/files")["data"]}
    kit.clock.advance(1)
    after = {file["filename"] for file in kit.get("/files")["data"]}
    assert (before, after) == ({"in.jsonl", "in (1).jsonl"}, {"in.jsonl", "late.jsonl"})
    assert kit.get(f"/batches/{batch['id']}")["status"] == "cancelling"


def test_a_lost_answer_loses_a_refusal_too(kit):
    kit.sandbox.inject("create", "answer_lost")
    with pytest.raises(httpx.ReadTimeout):
        kit.create_raw("file_none")


def test_injections_may_wait_repeat_and_be_looked_at(kit):
    kit.sandbox.inject("list", "unavailable", times=2, skip=1)
    (ordered,) = kit.sandbox.injections()
    assert (ordered.op, ordered.fault, ordered.times) == ("list", Fault.UNAVAILABLE, 2)
    codes = [kit.http.get("/batches").status_code for _ in range(4)]
    assert codes == [200, 503, 503, 200]
    assert kit.http.get("/files").status_code == 200


@pytest.mark.parametrize(
    ("op", "fault", "times", "why"),
    [
        ("nothing", "late", 1, "can't inject into nothing"),
        ("list", "late", 0, "into list 0 times"),
        ("list", "hiccup", 1, "'hiccup' is not a valid Fault"),
    ],
)
def test_an_injection_that_makes_no_sense_is_refused(kit, op, fault, times, why):
    with pytest.raises(ValueError, match=why):
        kit.sandbox.inject(op, fault, times=times)


def test_rated_faults_strike_at_about_their_rate_and_the_same_way_each_time(make_kit):
    def story(seed: int) -> list[int]:
        kit = make_kit(Temper(calls=Calls(unavailable=0.2, overloaded=0.1)), seed=seed)
        return [kit.http.get("/batches").status_code for _ in range(400)]

    codes = story(1)
    assert 50 < codes.count(503) < 110
    assert 20 < codes.count(429) < 60
    assert codes == story(1) != story(2)


def test_the_bad_preset_shows_every_rated_fault_in_time(make_kit):
    kit = make_kit(BAD)
    seen = set()
    for _ in range(600):
        struck = kit.sandbox.strike("list")
        seen.add(struck and struck.fault)
    assert {None, *(fault for fault in Fault if getattr(BAD.calls, fault, 0))} == seen
