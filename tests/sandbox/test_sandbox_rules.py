"""Every documented rule of the protocol, and the words of the refusal."""

import httpx
import pytest

from orchestrator.sandbox.temper import Bounds, Temper


def refused(reply: httpx.Response, status: int, type_: str, words: str) -> None:
    error = reply.json()["error"]
    assert (reply.status_code, error["type"]) == (status, type_)
    assert words in error["message"]


@pytest.mark.parametrize(
    ("header", "type_"),
    [
        ({}, "invalid_authentication_error"),
        ({"authorization": "Basic abc"}, "invalid_authentication_error"),
        ({"authorization": "Bearer "}, "invalid_authentication_error"),
        ({"authorization": "Bearer nonsense"}, "incorrect_api_key_error"),
    ],
)
@pytest.mark.parametrize("path", ["/files", "/batches", "/models", "/users/me/balance"])
def test_a_call_without_a_good_key_is_refused_with_401(kit, path, header, type_):
    del kit.http.headers["authorization"]
    refused(kit.http.get(path, headers=header), 401, type_, "")


def test_a_configured_key_makes_every_other_one_wrong(make_kit):
    kit = make_kit(key="sk-only")
    refused(kit.http.get("/models"), 401, "incorrect_api_key_error", "Incorrect API key")
    assert kit.http.get("/models", headers={"authorization": "Bearer sk-only"}).is_success


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/files/file_none"),
        ("GET", "/files/file_none/content"),
        ("DELETE", "/files/file_none"),
        ("GET", "/batches/batch_none"),
        ("POST", "/batches/batch_none/cancel"),
        ("GET", "/nowhere"),
    ],
)
def test_what_is_not_there_is_404(kit, method, path):
    refused(kit.http.request(method, path), 404, "resource_not_found_error", "not found")


def test_a_wrong_method_is_405(kit):
    assert kit.http.put("/batches").status_code == 405


def test_the_version_header_of_the_other_dialect_is_refused_on_files(kit):
    reply = kit.http.get("/files", headers={"kimi-api-version": "2026-09-01-beta"})
    refused(reply, 400, "invalid_request_error", "kimi-api-version")


@pytest.mark.parametrize(
    ("data", "name", "purpose", "words"),
    [
        (b"{}", "in.jsonl", "fine-tune", "purpose must be one of"),
        (b"", "in.jsonl", "batch", "size is zero"),
        (b"{}", "in.json", "batch", "must end in .jsonl"),
    ],
)
def test_an_upload_that_breaks_a_rule_is_400(kit, data, name, purpose, words):
    refused(kit.upload_raw(data, name, purpose), 400, "invalid_request_error", words)
    assert kit.get("/files")["data"] == []


def test_a_file_of_the_largest_size_is_taken_and_one_byte_more_is_not(make_kit):
    kit = make_kit(Temper(limits=Bounds(max_file_bytes=1000)))
    assert kit.upload_raw(b"x" * 1000).is_success
    refused(kit.upload_raw(b"x" * 1001), 400, "invalid_request_error", "limit of 1000 bytes")


def test_an_upload_without_its_parts_is_400(kit):
    refused(kit.http.post("/files", json={}), 400, "invalid_request_error", "multipart")
    no_purpose = kit.http.post("/files", files={"file": ("in.jsonl", b"{}")})
    refused(no_purpose, 400, "invalid_request_error", "file and purpose")
    kind = {"content-type": "multipart/form-data; boundary=b"}
    cut = kit.http.post("/files", content=b"--b\r\nContent-Disp", headers=kind)
    refused(cut, 400, "invalid_request_error", "last boundary")


def test_the_quota_of_batch_files_is_a_400_with_its_own_words(make_kit):
    kit = make_kit(Temper(limits=Bounds(max_batch_files=2)))
    first, _ = kit.upload(), kit.upload()
    refused(kit.upload_raw(b"{}"), 400, "invalid_request_error", "Too many uploaded files")
    assert kit.upload_raw(b"text", "note.txt", "file-extract").is_success
    kit.http.delete(f"/files/{first}")
    assert kit.upload_raw(b"{}").is_success


def test_the_storage_quota_counts_bytes_of_all_files(make_kit):
    kit = make_kit(Temper(limits=Bounds(max_storage_bytes=1500)))
    assert kit.upload_raw(b"x" * 1000).is_success
    refused(kit.upload_raw(b"x" * 501), 400, "invalid_request_error", "Total size")
    assert kit.upload_raw(b"x" * 500).is_success


def test_results_count_in_the_quota_where_the_temper_says_so(make_kit):
    kit = make_kit(Temper(limits=Bounds(max_batch_files=1, max_files=2, outputs_count=True)))
    batch = kit.create(kit.upload())
    kit.finish(batch)
    refused(kit.upload_raw(b"x", "n.txt", "file-extract"), 400, "invalid_request_error", "Too many")


def test_a_name_that_exists_gets_a_counter_before_its_suffix(kit):
    names = [kit.get(f"/files/{kit.upload(name='jobs.a.jsonl')}")["filename"] for _ in range(3)]
    assert names == ["jobs.a.jsonl", "jobs.a (1).jsonl", "jobs.a (2).jsonl"]


def test_a_file_is_listed_newest_first_read_back_and_deleted_once(kit):
    old = kit.upload(name="old.jsonl")
    kit.clock.advance(1)
    new = kit.upload(name="new.jsonl")
    assert [file["id"] for file in kit.get("/files")["data"]] == [new, old]
    assert kit.content(old).count(b"\n") == 3
    shown = kit.get(f"/files/{old}")
    assert shown["bytes"] == len(kit.content(old))
    assert (shown["object"], shown["purpose"], shown["status"]) == ("file", "batch", "ready")
    gone = kit.http.delete(f"/files/{old}")
    assert gone.json() == {"id": old, "object": "file", "deleted": True}
    refused(kit.http.delete(f"/files/{old}"), 404, "resource_not_found_error", old)
    refused(kit.http.get(f"/files/{old}/content"), 404, "resource_not_found_error", old)
    assert [file["id"] for file in kit.get("/files")["data"]] == [new]


def test_the_file_list_has_pages_when_asked_for_them(kit):
    ids = [kit.upload() for _ in range(5)][::-1]
    first = kit.get("/files", page_size=2)
    assert [file["id"] for file in first["data"]] == ids[:2]
    assert first["has_more"]
    last = kit.get("/files", page_size=3, page_token=first["last_id"])
    assert [file["id"] for file in last["data"]] == ids[2:]
    assert not last["has_more"]
    refused(
        kit.http.get("/files", params={"page_size": 1001}), 400, "invalid_request_error", "1000"
    )


@pytest.mark.parametrize("window", ["12h", "24h", "36h", "1d", "7d", "168h"])
def test_windows_within_the_range_are_taken_and_repeated(kit, window):
    batch = kit.create(kit.upload(), completion_window=window)
    assert batch["completion_window"] == window
    hours = int(window[:-1]) * (24 if window[-1] == "d" else 1)
    assert batch["expires_at"] - batch["created_at"] == hours * 3600


@pytest.mark.parametrize("window", ["11h", "8d", "169h", "0h", "1.5d", "1d12h", "24H", "90m", ""])
def test_other_windows_are_refused(kit, window):
    reply = kit.create_raw(kit.upload(), completion_window=window)
    refused(reply, 400, "invalid_request_error", "completion_window")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({str(n): "v" for n in range(17)}, "16 pairs"),
        ({"k" * 65: "v"}, "64 characters"),
        ({"k": "v" * 513}, "512 characters"),
        ({"k": 1}, "Expected `str`"),
        (["k"], "Expected `object | null`"),
    ],
)
def test_metadata_beyond_its_bounds_is_refused(kit, metadata, words):
    refused(kit.create_raw(kit.upload(), metadata=metadata), 400, "invalid_request_error", words)


def test_metadata_at_its_bounds_comes_back(kit):
    metadata = {f"{n:02}" + "k" * 62: "v" * 512 for n in range(16)}
    batch = kit.create(kit.upload(), metadata=metadata)
    assert kit.get(f"/batches/{batch['id']}")["metadata"] == metadata
    assert kit.create(kit.upload())["metadata"] is None


def test_create_refuses_what_no_batch_can_be_made_of(kit):
    file_id = kit.upload()
    note = kit.upload_raw(b"text", "note.txt", "file-extract").json()["id"]
    refused(
        kit.create_raw(file_id, endpoint="/v1/embeddings"), 400, "invalid_request_error", "endpoint"
    )
    refused(kit.create_raw("file_none"), 400, "invalid_request_error", "file_none not found")
    refused(kit.create_raw(note), 400, "invalid_request_error", "purpose file-extract")
    refused(kit.http.post("/batches", content=b"{"), 400, "invalid_request_error", "body")
    refused(kit.http.post("/batches", json={}), 400, "invalid_request_error", "input_file_id")
    huge = {"metadata": {"k": "x" * (1 << 20)}}
    refused(kit.http.post("/batches", json=huge), 400, "invalid_request_error", "1048576")
    kit.http.delete(f"/files/{file_id}")
    refused(kit.create_raw(file_id), 400, "invalid_request_error", "not found")
    assert kit.get("/batches")["data"] == []


BROKEN_LINES = {
    "invalid_json_line": [b"{not json"],
    "duplicate_custom_id": ["same", "same"],
    "invalid_custom_id": [""],
    "invalid_method": {"method": "GET"},
    "invalid_url": {"url": "/v1/embeddings"},
    "mixed_models": {"body": {"model": "kimi-k2.7-code"}},
    "model_not_found": {"body": {"model": "kimi-k3"}},
    "invalid_model": {"body": {"model": 3}},
    "invalid_request": {"body": {"messages": []}},
}


@pytest.mark.parametrize("code", BROKEN_LINES)
def test_a_file_that_breaks_a_rule_fails_validation_with_line_code_and_message(kit, code):
    broken = BROKEN_LINES[code]
    lines = [kit.line("first")] if code not in {"model_not_found", "invalid_model"} else []
    if isinstance(broken, dict):
        data = kit.jsonl([*lines, kit.line("bad", **broken)])
    else:
        data = kit.jsonl(lines) + b"".join(
            item + b"\n" if isinstance(item, bytes) else kit.jsonl([kit.line(item)])
            for item in broken
        )
    batch = kit.create(kit.upload_raw(data).json()["id"])
    assert batch["status"] == "validating"
    failed = kit.finish(batch)
    assert failed["status"] == "failed"
    assert failed["output_file_id"] is None
    assert failed["request_counts"] == {"total": 0, "completed": 0, "failed": 0}
    (reason,) = kit.lines(failed["error_file_id"])
    assert reason["code"] == code
    assert reason["line"] == data.count(b"\n")
    assert reason["message"]


@pytest.mark.parametrize(
    "word",
    [
        "temperature",
        "top_p",
        "n",
        "presence_penalty",
        "frequency_penalty",
        "stream",
        "stream_options",
    ],
)
def test_a_forbidden_parameter_fails_the_file_and_is_named(kit, word):
    failed = kit.finish(kit.batch_of([kit.line("a"), kit.line("b", body={word: None})]))
    (reason,) = kit.lines(failed["error_file_id"])
    assert (reason["line"], reason["custom_id"]) == (2, "b")
    assert f"parameter {word} " in reason["message"]


def test_a_malformed_line_is_reported_with_its_custom_id_where_it_has_one(kit):
    line = kit.line("known") | {"body": "text"}
    failed = kit.finish(kit.batch_of([line]))
    (reason,) = kit.lines(failed["error_file_id"])
    assert (reason["custom_id"], reason["code"]) == ("known", "invalid_json_line")


def test_reasons_are_bounded_however_bad_the_file(kit):
    failed = kit.finish(kit.create(kit.upload_raw(b"no\n" * 5000).json()["id"]))
    assert len(kit.lines(failed["error_file_id"])) == 1000


def test_limits_of_other_providers_can_be_set(make_kit):
    kit = make_kit(Temper(limits=Bounds(max_requests=2, custom_id_max=4, models=())))
    failed = kit.finish(kit.batch_of([kit.line("a"), kit.line("b"), kit.line("c")]))
    assert kit.lines(failed["error_file_id"])[0]["code"] == "too_many_requests"
    failed = kit.finish(kit.batch_of([kit.line("five5")]))
    assert kit.lines(failed["error_file_id"])[0]["code"] == "invalid_custom_id"
    any_model = kit.finish(kit.batch_of([kit.line("a", body={"model": "any-model"})]))
    assert any_model["status"] == "completed"


def test_live_batches_have_a_limit_where_the_temper_sets_one(make_kit):
    kit = make_kit(Temper(limits=Bounds(live_batches=1)))
    batch = kit.create(kit.upload())
    refused(kit.create_raw(kit.upload()), 429, "rate_limit_reached_error", "at most 1")
    kit.finish(batch)
    assert kit.create_raw(kit.upload()).is_success


def test_a_file_with_media_has_no_readable_content(kit):
    image = kit.upload_raw(b"\x89PNG", "a.png", "image").json()["id"]
    refused(kit.http.get(f"/files/{image}/content"), 400, "failed_precondition_error", "content")


def test_the_helpers_answer_in_their_shapes(kit):
    models = {model["id"]: model for model in kit.get("/models")["data"]}
    assert set(models) == {"kimi-k2.6", "kimi-k2.7-code", "kimi-k3"}
    assert models["kimi-k2.6"]["context_length"] == 262_144
    assert kit.get("/users/me/balance")["data"]["available_balance"] == 100.0
    prompt = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "x" * 400}]}
    counted = kit.http.post("/tokenizers/estimate-token-count", json=prompt).json()
    assert counted["data"]["total_tokens"] > 100
    refused(
        kit.http.post("/tokenizers/estimate-token-count", json={}),
        400,
        "invalid_request_error",
        "body",
    )


def test_every_answer_has_an_id_of_its_own_and_its_length(kit):
    replies = [kit.http.get("/models") for _ in range(3)]
    assert len({reply.headers["msh-request-id"] for reply in replies}) == 3
    assert all(int(reply.headers["content-length"]) == len(reply.content) for reply in replies)
