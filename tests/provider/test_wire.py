"""Batches, files and lists: tolerant by shape, strict about ids."""

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.remote import Counts, RemoteBatch, RemoteStatus
from orchestrator.provider import wire

BATCH = {
    "id": "batch_1",
    "object": "batch",
    "endpoint": "/v1/chat/completions",
    "input_file_id": "file_1",
    "completion_window": "24h",
    "status": "completed",
    "created_at": 1700000000,
    "expires_at": 1700086400,
    "completed_at": 1700003600,
    "output_file_id": "file_2",
    "error_file_id": "",
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "metadata": {"token": "t1"},
}


def batch(**changes):
    return wire.read_batch(json.dumps({**BATCH, **changes}).encode())


def test_a_batch_is_read_whole():
    raw = json.dumps(BATCH)
    assert wire.read_batch(raw.encode()) == RemoteBatch(
        id="batch_1",
        status=RemoteStatus.COMPLETED,
        word="completed",
        input_file_id="file_1",
        output_file_id="file_2",
        error_file_id=None,
        counts=Counts(3, 2, 1),
        created_at=1700000000.0,
        expires_at=1700086400.0,
        ended_at=1700003600.0,
        metadata={"token": "t1"},
        raw=raw,
    )


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *[(status.value, status) for status in RemoteStatus],
        ("COMPLETED", RemoteStatus.COMPLETED),
        ("In-Progress", RemoteStatus.IN_PROGRESS),
        ("in progress", RemoteStatus.IN_PROGRESS),
        ("PROGRESS", RemoteStatus.IN_PROGRESS),
        ("canceled", RemoteStatus.CANCELLED),
        ("CANCELING", RemoteStatus.CANCELLING),
        ("scheduling", RemoteStatus.UNKNOWN),
        ("", RemoteStatus.UNKNOWN),
        (None, RemoteStatus.UNKNOWN),
        (7, RemoteStatus.UNKNOWN),
        (["completed"], RemoteStatus.UNKNOWN),
    ],
)
def test_a_status_word_is_ours_or_unknown_and_unknown_is_live(word, status):
    assert batch(status=word).status is status
    assert not RemoteStatus.UNKNOWN.terminal


def test_a_profile_may_teach_status_words():
    raw = json.dumps({**BATCH, "status": "Scheduling"}).encode()
    assert wire.read_batch(raw, {"scheduling": "validating"}).status is RemoteStatus.VALIDATING
    assert wire.read_batch(raw, {"scheduling": "nonsense"}).status is RemoteStatus.UNKNOWN


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"total": 3.0, "completed": 2.0, "failed": 1.0}, Counts(3, 2, 1)),
        ({"total": "3", "completed": "2", "failed": "1"}, Counts(3, 2, 1)),
        ({"total": 3, "completed": 2}, Counts(3, 2, 0)),
        ({"total": 3}, None),
        ({"total": None, "completed": None, "failed": None}, None),
        ({"total": -1, "completed": 0, "failed": 0}, None),
        ({"total": True, "completed": 0, "failed": 0}, None),
    ],
)
def test_counts_are_all_there_or_none(counts, expected):
    assert batch(request_counts=counts).counts == expected


def test_flat_counts_are_read_where_there_is_no_object():
    assert batch(request_counts=None, total=5, completed=5, failed=0).counts == Counts(5, 5, 0)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1700000000, 1700000000.0),
        (1700000000.5, 1700000000.5),
        ("1700000000", 1700000000.0),
        (1700000000123, 1700000000.123),
        ("2023-11-14T22:13:20Z", 1700000000.0),
        ("2023-11-14T22:13:20", 1700000000.0),
        ("2023-11-14T23:13:20+01:00", 1700000000.0),
        ("0001-01-01T00:00:00Z", None),
        (0, None),
        (-5, None),
        ("", None),
        ("soon", None),
        (True, None),
        (None, None),
        ({"seconds": 1}, None),
        (1e300, None),
    ],
)
def test_a_time_is_unix_seconds_however_it_is_written(time, expected):
    assert batch(created_at=time).created_at == expected


@pytest.mark.parametrize("value", ["", "  ", None, 7, [], {}, "a\nb", "x" * 600])
def test_an_id_that_is_none_counts_as_none(value):
    assert batch(output_file_id=value).output_file_id is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, {}),
        ([], {}),
        ("x", {}),
        ({"a": 1, "b": None, "c": ["x"]}, {"a": "1", "c": '["x"]'}),
        ({"token": "tök\n"}, {"token": "tök"}),
    ],
)
def test_metadata_is_text_or_not_there(metadata, expected):
    assert batch(metadata=metadata).metadata == expected


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        (None, ()),
        ({}, ()),
        ([], ()),
        ("", ()),
        ("it broke", ('"it broke"',)),
        ({"object": "list", "data": None}, ()),
        (
            {"data": [{"code": "c", "message": "m", "line": 3}, {"message": "n", "line": None}]},
            ('line 3: "m" (c)', '"n"'),
        ),
        ([{"message": "m"}, "n", 7], ('"m"', '"n"', '"7"')),
        ({"message": "m", "type": "t"}, ('"m" (t)',)),
    ],
)
def test_errors_of_a_batch_are_quoted_in_any_shape(errors, expected):
    assert batch(errors=errors).errors == expected


def test_the_end_of_an_expired_batch_is_its_latest_known_time():
    ended = batch(status="expired", completed_at=None, finalizing_at=1700001000)
    assert ended.ended_at == 1700001000.0
    assert batch(status="in_progress").ended_at is None


def test_a_create_answer_wrapped_in_job_is_unwrapped():
    raw = json.dumps({"job": BATCH}).encode()
    assert wire.read_batch(raw).id == "batch_1"


ODD_ANSWERS = {
    "empty": b"",
    "html": b"<html></html>",
    "text": b"ok",
    "array": b"[]",
    "null": b"null",
    "no id": b"{}",
    "empty id": b'{"id":""}',
    "null id": b'{"id":null,"status":"completed"}',
    "number id": b'{"id":7}',
    "deep": b"[" * 100_000,
    "huge number": b'{"id":"a","n":1' + b"0" * 6000 + b"}",
    "cut": b'{"id":"batch_1","sta',
    "error": b'{"error":{"message":"no"}}',
}


@pytest.mark.parametrize("raw", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
def test_an_answer_without_an_id_is_never_a_batch_or_a_file(raw):
    with pytest.raises(wire.OddAnswer):
        wire.read_batch(raw)
    with pytest.raises(wire.OddAnswer):
        wire.read_file(raw)


def test_a_file_is_read_with_whatever_is_known_of_it():
    raw = (
        b'{"id":"f1","filename":"orc (1).jsonl","bytes":12.0,"purpose":null,'
        b'"created_at":"2023-11-14T22:13:20Z","status":"READY"}'
    )
    file = wire.read_file(raw)
    assert (file.id, file.name, file.size, file.purpose) == ("f1", "orc (1).jsonl", 12, "")
    assert (file.created_at, file.status) == (1700000000.0, "ready")


@pytest.mark.parametrize(
    ("raw", "ids", "more"),
    [
        (b'{"object":"list","data":[{"id":"a"},{"id":"b"}],"has_more":true}', ["a", "b"], True),
        (b'{"data":[{"id":"a"}],"has_more":false}', ["a"], False),
        (b'{"data":[{"id":"a"}]}', ["a"], None),
        (b'{"data":[{"id":"a"}],"has_more":null}', ["a"], None),
        (b'{"data":[{"id":"a"}],"has_more":"true"}', ["a"], True),
        (b'{"data":null}', [], None),
        (b'{"data":[]}', [], None),
        (b'[{"id":"a"}]', ["a"], None),
        (b'{"data":[{"id":""},null,7,"x",{"id":"b"}]}', ["b"], None),
        (b'{"data":[{"id":"a","name":"\\ud800"}]}', ["a"], None),
        (b'\xef\xbb\xbf{"data":[{"id":"a","x":NaN}]}', ["a"], None),
    ],
)
def test_a_page_is_read_and_its_odd_elements_left_out(raw, ids, more):
    page = wire.read_batch_page(raw)
    assert [item.id for item in page.items] == ids
    assert page.more is more


def test_odd_elements_of_a_page_are_counted():
    assert wire.read_file_page(b'{"data":[{"id":"a"},{},null]}').odd == 2


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"null", b"7", b'{"data":7}', b'{"data":{"id":"a"}}', b"<html>", b"[" * 9999],
)
def test_an_answer_without_a_list_is_refused(raw):
    with pytest.raises(wire.OddAnswer):
        wire.read_batch_page(raw)


def test_an_element_keeps_its_own_bytes():
    page = wire.read_batch_page(b'{"data":[{ "id":"a", "x" : 1.50 }]}')
    assert page.items[0].raw == '{ "id":"a", "x" : 1.50 }'


@pytest.mark.parametrize(
    ("raw", "amount"),
    [
        (b'{"code":0,"data":{"available_balance":49.58894,"cash_balance":1}}', "49.58894"),
        (b'{"data":{"available_balance":"12.50"}}', "12.50"),
        (b'{"data":{"available_balance":0}}', "0"),
        (b'{"data":{}}', None),
        (b'{"data":null}', None),
        (b'{"data":{"available_balance":true}}', None),
    ],
)
def test_a_balance_is_text_as_the_provider_gave_it(raw, amount):
    assert wire.read_balance(raw) == amount


def test_models_are_listed_by_id():
    assert wire.read_models(b'{"data":[{"id":"kimi-k2.6"},{"id":7},{"id":"m"}]}') == [
        "kimi-k2.6",
        "m",
    ]


def test_only_the_providers_own_word_is_a_deletion():
    assert wire.read_deletion(b'{"id":"f","deleted":true}')
    assert wire.read_deletion(b'{"id":"f"}')
    assert not wire.read_deletion(b'{"id":"f","deleted":false}')
    for raw in (b"", b"<html>ok</html>", b"OK", b"[]"):
        with pytest.raises(wire.OddAnswer):
            wire.read_deletion(raw)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*BATCH, "errors", "error", "job", "failed_at"]), VALUES))
def test_no_batch_object_makes_its_reader_raise_anything_but_odd_answer(changes):
    raw = json.dumps({**BATCH, **changes}).encode()
    try:
        read = wire.read_batch(raw)
    except wire.OddAnswer:
        return
    assert read.id
    assert all(error.isprintable() for error in read.errors)
    (listed,) = wire.read_batch_page(b'{"data":[%s]}' % raw).items
    # In a list, JSON that no database can hold is mended.
    assert replace(listed, raw="") == replace(read, raw="")


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_a_reader_raise_anything_but_odd_answer(raw):
    for read in (
        wire.read_batch,
        wire.read_file,
        wire.read_batch_page,
        wire.read_file_page,
        wire.read_models,
        wire.read_balance,
        wire.read_deletion,
    ):
        with contextlib.suppress(wire.OddAnswer):
            read(raw)
