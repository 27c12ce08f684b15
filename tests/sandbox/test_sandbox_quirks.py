"""Habits of servers that call themselves compatible: each can be switched on."""

import pytest

from orchestrator.domain.errors import ConfigError
from orchestrator.sandbox.temper import BAD, GOOD, Batches, Lines, Quirks, Temper, read_temper

SLOW = Batches(validating=(10, 10), running=(100, 100), finalizing=(10, 10))


@pytest.fixture
def with_quirks(make_kit):
    return lambda **quirks: make_kit(Temper(batches=SLOW, quirks=Quirks(**quirks)))


def test_a_new_batch_appears_in_the_list_only_after_the_lag(with_quirks):
    kit = with_quirks(list_lag=30, file_list_lag=10)
    batch = kit.create(kit.upload())
    assert kit.get("/batches")["data"] == kit.get("/files")["data"] == []
    assert kit.get(f"/batches/{batch['id']}")["id"] == batch["id"]
    kit.clock.advance(10)
    assert len(kit.get("/files")["data"]) == 1
    kit.clock.advance(20)
    assert len(kit.get("/batches")["data"]) == 1


def test_a_state_may_have_another_word(with_quirks):
    kit = with_quirks(status_words={"validating": "scheduling", "completed": "COMPLETED"})
    batch = kit.create(kit.upload())
    assert batch["status"] == "scheduling"
    assert kit.finish(batch)["status"] == "COMPLETED"


def test_counts_may_be_null_until_validated_and_on_failed_batches(with_quirks):
    kit = with_quirks(null_counts=True)
    batch = kit.create(kit.upload())
    assert batch["request_counts"] is None
    assert kit.finish(batch, 20)["request_counts"]["total"] == 3
    failed = kit.finish(kit.create(kit.upload_raw(b"no").json()["id"]))
    assert (failed["status"], failed["request_counts"]) == ("failed", None)


def test_missing_ids_may_be_empty_strings(with_quirks):
    kit = with_quirks(empty_ids=True)
    shown = kit.create(kit.upload())
    assert (shown["output_file_id"], shown["error_file_id"]) == ("", "")


def test_an_error_file_may_exist_though_nothing_failed(with_quirks):
    kit = with_quirks(empty_error_file=True)
    ended = kit.finish(kit.create(kit.upload()))
    assert kit.content(ended["error_file_id"]) == b""
    assert kit.get(f"/files/{ended['error_file_id']}")["bytes"] == 0


def test_ids_may_be_long(with_quirks):
    kit = with_quirks(id_length=95)
    ended = kit.finish(kit.create(kit.upload()))
    assert {len(ended[name]) for name in ("id", "input_file_id", "output_file_id")} == {95}


def test_a_batch_may_move_only_when_it_is_asked_for_by_id(with_quirks):
    kit = with_quirks(advance_when_asked=True)
    batch = kit.create(kit.upload())
    kit.clock.advance(86_400 * 2)
    assert kit.get("/batches")["data"][0]["status"] == "validating"
    assert kit.get(f"/batches/{batch['id']}")["status"] == "completed"
    assert kit.get("/batches")["data"][0]["status"] == "completed"


def test_a_list_may_ignore_after_and_never_end(with_quirks):
    kit = with_quirks(endless_list=True)
    ids = [kit.create(kit.upload())["id"] for _ in range(3)]
    for after in (None, *ids):
        page = kit.get("/batches", **({"after": after} if after else {}))
        assert [batch["id"] for batch in page["data"]] == ids[::-1]
        assert page["has_more"] is True


def test_there_may_be_no_list_of_files(with_quirks):
    kit = with_quirks(no_file_list=True)
    file_id = kit.upload()
    assert kit.http.get("/files").status_code == 404
    assert kit.get(f"/files/{file_id}")["id"] == file_id


def test_a_large_limit_may_count_as_the_largest_one(with_quirks):
    kit = with_quirks(max_limit=2)
    for _ in range(3):
        kit.create(kit.upload())
    page = kit.get("/batches", limit=1000)
    assert (len(page["data"]), page["has_more"]) == (2, True)


def test_the_list_may_hide_metadata(with_quirks):
    kit = with_quirks(metadata_in_list=False)
    batch = kit.create(kit.upload(), metadata={"token": "t"})
    assert kit.get("/batches")["data"][0]["metadata"] is None
    assert kit.get(f"/batches/{batch['id']}")["metadata"] == {"token": "t"}


@pytest.mark.parametrize(("asked", "part"), [("bytes=5-", (5, None)), ("bytes=2-4", (2, 5))])
def test_a_part_of_a_content_is_served_where_ranges_are_known(with_quirks, asked, part):
    kit = with_quirks(ranges=True)
    file_id = kit.upload()
    whole = kit.content(file_id)
    reply = kit.http.get(f"/files/{file_id}/content", headers={"range": asked})
    assert reply.status_code == 206
    assert reply.content == whole[slice(*part)]
    assert reply.headers["content-range"].endswith(f"/{len(whole)}")
    beyond = kit.http.get(f"/files/{file_id}/content", headers={"range": "bytes=99999-"})
    assert beyond.status_code == 416


def test_a_range_is_ignored_where_they_are_not(kit):
    file_id = kit.upload()
    reply = kit.http.get(f"/files/{file_id}/content", headers={"range": "bytes=5-"})
    assert (reply.status_code, reply.content) == (200, kit.content(file_id))


@pytest.mark.parametrize(("place", "has_errors"), [("errors", True), ("nowhere", False)])
def test_the_reasons_of_a_failed_validation_may_stand_elsewhere(with_quirks, place, has_errors):
    kit = with_quirks(validation_errors=place)
    failed = kit.finish(kit.create(kit.upload_raw(b"no").json()["id"]))
    assert (failed["status"], failed["error_file_id"]) == ("failed", None)
    reasons = failed["errors"]["data"] if has_errors else []
    assert [reason["line"] for reason in reasons] == ([1] if has_errors else [])


def test_a_deleted_input_may_still_be_taken_by_create(with_quirks):
    kit = with_quirks(create_over_deleted=True)
    file_id = kit.upload()
    kit.http.delete(f"/files/{file_id}")
    assert kit.finish(kit.create(file_id))["status"] == "completed"


def test_an_unknown_input_may_be_404(with_quirks):
    kit = with_quirks(missing_input_status=404)
    reply = kit.create_raw("file_none")
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "resource_not_found_error")


def test_a_batch_lives_under_the_temper_of_its_creation(kit):
    batch = kit.create(kit.upload(50))
    kit.sandbox.temper = Temper(lines=Lines(content_filter=1.0))
    assert kit.finish(batch)["request_counts"]["completed"] == 50
    assert kit.finish(kit.create(kit.upload(50)))["request_counts"]["failed"] == 50


def test_a_temper_is_a_preset_or_a_file_over_a_preset(tmp_path):
    assert read_temper("good") is GOOD
    assert read_temper("bad") is BAD
    path = tmp_path / "mine.toml"
    path.write_text('preset = "bad"\n[lines]\nmissing = 0.5\n[batches]\nrunning = [1, 2.5]\n')
    mine = read_temper(str(path))
    assert (mine.lines.missing, mine.lines.overloaded) == (0.5, BAD.lines.overloaded)
    assert mine.batches.running == (1.0, 2.5)
    assert mine.quirks == BAD.quirks
    path.write_text("[limits]\nmax_files = 3\n")
    assert read_temper(str(path)).limits.max_files == 3


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[lines]\nmissing = 1.5\n", "missing"),
        ("[lines]\nmising = 0.5\n", "mising"),
        ("[oddities]\n", "oddities"),
        ("lines = 3\n", "lines"),
        ('preset = "worst"\n', "preset"),
        ("not toml", "mine.toml"),
        (None, "mine.toml"),
    ],
)
def test_a_bad_temper_file_is_refused_with_the_reason(tmp_path, text, why):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=why) as caught:
        read_temper(str(path))
    assert caught.value.code == "ORC3801"
