"""The HTTP client: sent once or repeated, bounded, and silent about its key."""

import contextlib
import datetime
import hashlib
import json
import random
import resource
import tracemalloc
from types import SimpleNamespace

import httpx
import msgspec
import pytest

from orchestrator.domain.errors import (
    AuthError,
    ConfigError,
    GoneError,
    OrchestratorError,
    QuotaError,
    RejectedError,
    SpoolError,
    ThrottledError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.provider.client import HttpProvider, Patience, Timeouts
from orchestrator.provider.profiles import load_profile

KEY = "sk-very-secret-0123456789"
NOON = datetime.datetime(2026, 10, 21, 12, 0, 0, tzinfo=datetime.UTC)
BATCH = {"id": "b1", "status": "validating", "input_file_id": "f1"}
CREATE = {"endpoint": "/v1/chat/completions", "window": "24h", "idempotency_key": "t1"}


class Key:
    def reveal(self):
        return KEY

    def __repr__(self):
        return "Key(hidden)"


class Server(httpx.BaseTransport):
    """Answers each call with the next of `answers` (the last one for ever) and keeps the calls."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def handle_request(self, request):
        self.calls.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer


def reply(body=b"", status=200, **headers):
    """An answer that can be given again and again."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request: httpx.Response(status, content=content, headers=named)


def refusal(status, type_="invalid_request_error", message="no", **headers):
    return reply({"error": {"message": message, "type": type_}}, status, **headers)


@pytest.fixture
def connect():
    opened = []

    def connected(*answers, **options):
        world = SimpleNamespace(server=Server(*answers), waits=[], calls=[], now=0.0)
        profile = options.pop("profile", None) or load_profile("kimi")
        settings = {"key": Key(), "key_source": "env MOONSHOT_API_KEY", **options}
        world.provider = HttpProvider(
            name="kimi",
            profile=profile,
            now=lambda: NOON,
            monotonic=lambda: world.now,
            sleep=world.waits.append,
            rng=random.Random(7),
            transport=world.server,
            on_call=lambda *call: world.calls.append(call),
            **settings,
        )
        opened.append(world.provider)
        return world

    yield connected
    for provider in opened:
        provider.close()


@pytest.fixture
def input_file(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"custom_id":"a"}\n')
    return path


def profile_with(**quirks):
    kimi = load_profile("kimi")
    changed = msgspec.structs.replace(kimi.quirks, **quirks)
    return msgspec.structs.replace(kimi, quirks=changed)


# What is sent


def test_create_says_what_the_protocol_asks_for_and_nothing_more(connect):
    world = connect(reply(BATCH))
    batch = world.provider.create("f1", metadata={"token": "t1"}, **CREATE)
    assert batch.id == "b1"
    (request,) = world.server.calls
    assert (request.method, str(request.url)) == ("POST", "https://api.moonshot.ai/v1/batches")
    assert json.loads(request.content) == {
        "input_file_id": "f1",
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"token": "t1"},
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "idempotency-key" not in request.headers
    assert "kimi-api-version" not in request.headers


def test_an_idempotency_key_travels_only_where_the_profile_says_so(connect):
    world = connect(reply(BATCH), profile=profile_with(idempotent_create=True))
    world.provider.create("f1", metadata={}, **CREATE)
    assert world.server.calls[0].headers["idempotency-key"] == "t1"


def test_a_remote_id_stays_one_segment_of_the_path(connect):
    world = connect(reply({"id": "f"}))
    world.provider.file("../batches?x=1#y")
    assert world.server.calls[0].url.raw_path == b"/v1/files/..%2Fbatches%3Fx%3D1%23y"


@pytest.mark.parametrize("remote_id", ["", ".", ".."])
def test_an_id_that_is_none_is_never_asked_for(connect, remote_id):
    world = connect(reply({"data": []}))
    with pytest.raises(GoneError):
        world.provider.batch(remote_id)
    assert world.server.calls == []


def test_a_provider_without_a_key_sends_none_and_one_that_needs_it_sends_nothing(connect):
    world = connect(reply({"data": []}), key=None, profile=load_profile("sandbox"))
    assert world.provider.models() == []
    assert "authorization" not in world.server.calls[0].headers
    world = connect(reply({"data": []}), key=None)
    with pytest.raises(AuthError) as caught:
        world.provider.models()
    assert caught.value.code == "ORC3103"
    assert world.server.calls == []


@pytest.mark.parametrize("value", ["", "two words", "line\nbreak", "ключ", "nul\0"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_shown(connect, value):
    world = connect(reply({"data": []}), key=SimpleNamespace(reveal=lambda: value))
    with pytest.raises(AuthError) as caught:
        world.provider.models()
    assert world.server.calls == []
    assert not value or value not in json.dumps(caught.value.to_dict(), ensure_ascii=False)


def test_the_fingerprint_tells_accounts_apart_and_hides_the_key(connect):
    one = connect(reply()).provider
    same = connect(reply(), base_url="https://api.moonshot.ai/v1/").provider
    other = connect(reply(), base_url="https://api.moonshot.cn/v1").provider
    keyless = connect(reply(), key=None).provider
    assert one.fingerprint == same.fingerprint
    assert len({one.fingerprint, other.fingerprint, keyless.fingerprint}) == 3
    assert len(one.fingerprint) == 16
    assert KEY not in repr(one)


def test_a_broken_base_url_is_a_configuration_error(connect):
    with pytest.raises(ConfigError):
        connect(reply(), base_url="not a url")


# Sent once


NOT_SENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("full")]
LOST = [
    httpx.ReadTimeout("slow"),
    httpx.WriteTimeout("slow"),
    httpx.ReadError("reset"),
    httpx.WriteError("reset"),
    httpx.RemoteProtocolError("hung up"),
]
UNCLEAR = [
    reply(b"<html>bad gateway</html>", 502),
    reply(b"", 504),
    refusal(500, "server_error"),
    refusal(503, "server_unavailable"),
    refusal(409, "conflict_error"),
    refusal(408),
    reply(b"", 200),
    reply(b"<html>welcome</html>", 200),
    reply({"status": "validating"}, 200),
    reply(b'{"id":"b1","sta', 200),
    reply(b"", 302, location="/login"),
]


def creating(provider, _path):
    provider.create("f1", metadata={}, **CREATE)


def cancelling(provider, _path):
    provider.cancel("b1")


def uploading(provider, path):
    provider.upload(path, "orc-t1.jsonl")


@pytest.mark.parametrize("act", [creating, cancelling, uploading])
@pytest.mark.parametrize("answer", [*LOST, *UNCLEAR])
def test_a_call_with_an_effect_is_sent_once_even_when_the_answer_is_lost(
    connect, input_file, act, answer
):
    world = connect(answer)
    with pytest.raises(UnansweredError) as caught:
        act(world.provider, input_file)
    assert len(world.server.calls) == 1
    assert world.waits == []
    assert caught.value.code == "ORC3202"


@pytest.mark.parametrize("act", [creating, cancelling, uploading])
@pytest.mark.parametrize("answer", NOT_SENT)
def test_a_call_that_never_left_is_known_to_have_no_effect(connect, input_file, act, answer):
    world = connect(answer)
    with pytest.raises(UnavailableError) as caught:
        act(world.provider, input_file)
    assert caught.value.code == "ORC3201"
    assert len(world.server.calls) == 1


def test_a_refused_create_says_why_in_the_providers_words(connect):
    world = connect(refusal(400, message="window too short", msh_request_id="r-1"))
    with pytest.raises(RejectedError, match="POST /v1/batches") as caught:
        world.provider.create("f1", metadata={}, **CREATE)
    assert caught.value.why == '"window too short" (invalid_request_error)'
    assert caught.value.request_id == "r-1"


def test_a_create_over_an_unknown_file_is_gone(connect):
    world = connect(refusal(404, "resource_not_found_error"))
    with pytest.raises(GoneError):
        world.provider.create("f1", metadata={}, **CREATE)


def test_a_throttled_create_is_not_repeated_here(connect):
    world = connect(refusal(429, "rate_limit_reached_error", retry_after="1"))
    with pytest.raises(ThrottledError) as caught:
        world.provider.create("f1", metadata={}, **CREATE)
    assert caught.value.retry_after == 1.0
    assert len(world.server.calls) == 1


def test_a_batch_that_can_no_longer_be_cancelled_is_none(connect):
    assert connect(refusal(400)).provider.cancel("b1") is None
    assert connect(reply({**BATCH, "status": "cancelling"})).provider.cancel("b1").id == "b1"
    with pytest.raises(GoneError):
        connect(refusal(404)).provider.cancel("b1")


# Repeated


def test_a_read_is_repeated_with_growing_pauses_until_it_answers(connect):
    world = connect(httpx.ReadTimeout("slow"), refusal(500), reply(b"<html>"), reply(BATCH))
    assert world.provider.batch("b1").id == "b1"
    assert len(world.server.calls) == 4
    assert [0.5 <= world.waits[0] <= 1, 1 <= world.waits[1] <= 2, 2 <= world.waits[2] <= 4] == [
        True
    ] * 3


def test_a_read_gives_up_after_its_attempts_and_hands_up_the_sorted_error(connect):
    world = connect(refusal(503, "server_unavailable"))
    with pytest.raises(UnavailableError) as caught:
        world.provider.batch("b1")
    assert len(world.server.calls) == 4
    assert len(world.waits) == 3
    assert caught.value.status == 503


def test_retry_after_is_waited_for(connect):
    world = connect(refusal(429, "rate_limit_reached_error", retry_after="30"), reply(BATCH))
    world.provider.batch("b1")
    assert 30 <= world.waits[0] <= 31


def test_a_longer_retry_after_than_our_patience_is_left_to_a_later_tick(connect):
    world = connect(refusal(429, "rate_limit_reached_error", retry_after="600"))
    with pytest.raises(ThrottledError) as caught:
        world.provider.batch("b1")
    assert (caught.value.retry_after, len(world.server.calls)) == (600.0, 1)


def test_pauses_stay_below_their_cap(connect):
    world = connect(refusal(500), patience=Patience(attempts=12, longest_wait=5.0))
    with pytest.raises(UnavailableError):
        world.provider.batch("b1")
    assert len(world.waits) == 11
    assert max(world.waits) <= 5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(401, "invalid_authentication_error"), AuthError),
        (refusal(403, "permission_denied_error"), AuthError),
        (refusal(404), GoneError),
        (refusal(400), RejectedError),
        (refusal(429, "exceeded_current_quota_error"), QuotaError),
        (reply(b"<html>not here</html>", 404), UnavailableError),
    ],
)
def test_what_time_does_not_mend_is_not_repeated(connect, answer, kind):
    world = connect(answer)
    with pytest.raises(kind):
        world.provider.batch("b1")
    assert (len(world.server.calls), world.waits) == (1, [])


def test_a_refused_key_is_named_by_where_it_came_from(connect):
    with pytest.raises(AuthError) as caught:
        connect(refusal(401)).provider.models()
    assert caught.value.where == "key from env MOONSHOT_API_KEY"


def test_every_call_is_told_with_its_attempt_and_outcome(connect):
    world = connect(httpx.ReadTimeout("slow"), refusal(500), reply(BATCH))
    world.provider.batch("b1")
    assert [call[:2] + call[3:] for call in world.calls] == [
        ("batch", "ReadTimeout", 1),
        ("batch", 500, 2),
        ("batch", 200, 3),
    ]


# Deletion


def test_a_deletion_is_believed_only_on_the_providers_own_word(connect):
    assert connect(reply({"id": "f", "deleted": True})).provider.delete_file("f") is True
    assert connect(reply(b"", 204)).provider.delete_file("f") is True
    assert connect(refusal(404)).provider.delete_file("f") is False
    for answer in (
        reply(b"<html>ok</html>"),
        reply(b""),
        reply({"id": "f", "deleted": False}),
        reply(b"", 404),
        reply(b"", 302, location="/"),
        httpx.ReadTimeout("slow"),
    ):
        with pytest.raises(UnavailableError):
            connect(answer).provider.delete_file("f")


def test_a_deletion_whose_answer_was_lost_is_found_already_done(connect):
    world = connect(httpx.ReadError("reset"), refusal(404))
    assert world.provider.delete_file("f") is False
    assert len(world.server.calls) == 2


def test_a_deletion_is_never_redirected_into_a_read(connect):
    world = connect(reply(b"", 303, location="/v1/files"), reply({"data": []}))
    with pytest.raises(UnavailableError):
        world.provider.delete_file("f")
    assert {request.method for request in world.server.calls} == {"DELETE"}


# Lists


def page(*ids, **more):
    return reply({"data": [{"id": name, "status": "completed"} for name in ids], **more})


def params(world):
    return [dict(request.url.params) for request in world.server.calls]


def test_batches_are_listed_page_by_page_lazily(connect):
    world = connect(page("a", "b", has_more=True), page("c", has_more=False))
    batches = world.provider.list_batches()
    assert world.server.calls == []
    assert next(batches).id == "a"
    assert len(world.server.calls) == 1
    assert [batch.id for batch in batches] == ["b", "c"]
    assert params(world) == [{"limit": "100"}, {"limit": "100", "after": "b"}]


def test_a_server_that_ignores_after_does_not_make_us_loop(connect):
    world = connect(page("a", "b", has_more=True))
    assert [batch.id for batch in world.provider.list_batches()] == ["a", "b"]
    assert len(world.server.calls) == 2


def test_a_page_that_repeats_some_ids_goes_on_with_the_new_ones(connect):
    world = connect(page("a", "b", has_more=True), page("b", "b", "c", has_more=True), page())
    assert [batch.id for batch in world.provider.list_batches()] == ["a", "b", "c"]


def test_a_list_without_has_more_goes_on_while_its_pages_may_be_full(connect):
    full = [f"b{number}" for number in range(20)]
    world = connect(page(*full), page("c"))
    assert len(list(world.provider.list_batches())) == 21
    assert len(world.server.calls) == 2
    world = connect(page("a"))
    assert len(list(world.provider.list_batches())) == 1
    assert len(world.server.calls) == 1


def test_a_server_that_refuses_the_limit_is_asked_without_it(connect):
    world = connect(refusal(400, message="limit too large"), page("a", has_more=True), page("b"))
    assert [batch.id for batch in world.provider.list_batches()] == ["a", "b"]
    assert params(world) == [{"limit": "100"}, {}, {"after": "a"}]


def test_a_list_that_never_ends_is_left(connect):
    numbers = iter(range(10_000))

    def another(request):
        return page(str(next(numbers)), has_more=True)(request)

    world = connect(another)
    with pytest.raises(UnavailableError, match="does not end after 2,000 pages"):
        list(world.provider.list_batches())


def test_a_list_that_breaks_off_is_an_error_and_no_shorter_list(connect):
    world = connect(page("a", has_more=True), refusal(500))
    with pytest.raises(UnavailableError):
        list(world.provider.list_batches())


def test_files_are_listed_without_parameters(connect):
    world = connect(reply({"data": [{"id": "f", "filename": "x (1).jsonl", "bytes": 3}]}))
    assert [file.name for file in world.provider.list_files()] == ["x (1).jsonl"]
    assert params(world) == [{}]


@pytest.mark.parametrize("answer", [refusal(404), refusal(405), reply(b"", 405), refusal(501)])
def test_a_server_that_cannot_list_files_says_so_with_its_own_code(connect, answer):
    with pytest.raises(UnavailableError) as caught:
        list(connect(answer).provider.list_files())
    assert caught.value.code == "ORC3205"


def test_a_profile_without_lists_is_not_asked_for_them(connect):
    world = connect(page(), profile=profile_with(list_files=False, list_batches=False))
    for listing in (world.provider.list_files, world.provider.list_batches):
        with pytest.raises(UnavailableError) as caught:
            list(listing())
        assert caught.value.code == "ORC3205"
    assert world.server.calls == []


# Upload


def test_an_upload_carries_purpose_and_a_name_that_ends_in_jsonl(connect, input_file):
    bodies = []

    def taking(request):
        bodies.append(request.read())
        return httpx.Response(200, json={"id": "f1"})

    world = connect(taking)
    assert world.provider.upload(input_file, "orc-t1").id == "f1"
    (body,) = bodies
    assert b'name="purpose"\r\n\r\nbatch\r\n' in body
    assert b'filename="orc-t1.jsonl"' in body
    assert b'{"custom_id":"a"}\n' in body


def test_an_upload_of_any_size_takes_constant_memory(connect, tmp_path):
    path = tmp_path / "big.jsonl"
    with path.open("wb") as file:
        file.truncate(50 << 20)
    seen = []

    def swallow(request):
        seen.append(sum(len(chunk) for chunk in request.stream))
        seen.append(int(request.headers["content-length"]))
        return httpx.Response(200, json={"id": "f1"})

    world = connect(swallow)
    tracemalloc.start()
    world.provider.upload(path, "big.jsonl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen[0] == seen[1] > 50 << 20
    assert peak < 4 << 20


def test_a_missing_input_file_is_ours_to_mend_and_nothing_is_sent(connect, tmp_path):
    world = connect(reply({"id": "f1"}))
    with pytest.raises(SpoolError):
        world.provider.upload(tmp_path / "none", "x")
    assert world.server.calls == []


def test_an_upload_past_its_deadline_is_broken_off_and_its_effect_unknown(connect, input_file):
    def slow(request):
        world.now += 4000.0
        for _chunk in request.stream:
            pass
        return httpx.Response(200, json={"id": "f1"})

    world = connect(slow)
    with pytest.raises(UnansweredError) as caught:
        world.provider.upload(input_file, "x")
    assert caught.value.why == "not done within 3,600 s"


# Bounds


class Endless(httpx.SyncByteStream):
    def __init__(self, chunk, before=lambda: None):
        self.chunk = chunk
        self.before = before

    def __iter__(self):
        while True:
            self.before()
            yield self.chunk


def test_an_answer_without_end_is_left_at_its_cap(connect):
    world = connect(lambda _request: httpx.Response(200, stream=Endless(b"x" * (1 << 20))))
    with pytest.raises(UnavailableError) as caught:
        world.provider.batch("b1")
    assert "longer than 67,108,864 bytes" in caught.value.why


def test_an_error_page_without_end_is_cut_and_sorted(connect):
    world = connect(lambda _request: httpx.Response(500, stream=Endless(b"x" * (1 << 16))))
    with pytest.raises(UnansweredError):
        world.provider.create("f1", metadata={}, **CREATE)


def test_a_dripping_answer_meets_the_deadline_of_the_whole_call(connect):
    def drip():
        world.now += 50.0

    world = connect(
        lambda _request: httpx.Response(200, stream=Endless(b" ", drip)),
        timeouts=Timeouts(answer=120.0),
        patience=Patience(attempts=1),
    )
    with pytest.raises(UnavailableError) as caught:
        world.provider.batch("b1")
    assert caught.value.why == "not done within 120 s"


# The account


def test_the_balance_is_asked_for_where_the_profile_knows_it(connect):
    world = connect(reply({"code": 0, "data": {"available_balance": 4.2}}))
    assert world.provider.balance() == "4.2"
    assert world.server.calls[0].url.path == "/v1/users/me/balance"
    world = connect(reply(), profile=load_profile("openai"))
    assert world.provider.balance() is None
    assert world.server.calls == []


@pytest.mark.parametrize(
    ("date", "skew"),
    [
        ("Wed, 21 Oct 2026 11:59:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 12:01:00 GMT", -60.0),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_skew_of_our_clock_is_read_from_the_providers_date(connect, date, skew):
    world = connect(reply({"data": []}, date=date))
    assert world.provider.clock_skew() == skew


# Downloads

LINES = b'{"custom_id":"a","response":null,"error":{"code":"x"}}\n' * 3


def fetch(world, path, max_bytes=1 << 20):
    return world.provider.download("f2", path, max_bytes=max_bytes)


def stream(*chunks, headers=None, fails=None):
    class Body(httpx.SyncByteStream):
        def __iter__(self):
            yield from chunks
            if fails:
                raise fails

    return lambda _request: httpx.Response(200, stream=Body(), headers=headers or {})


def test_a_download_is_whole_private_and_hashed(connect, tmp_path):
    world = connect(reply(LINES))
    to = tmp_path / "out.jsonl"
    found = fetch(world, to)
    assert to.read_bytes() == LINES
    assert (found.size, found.sha256) == (len(LINES), hashlib.sha256(LINES).hexdigest())
    assert to.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [to]
    assert world.server.calls[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"plain words of a failed validation",
        b'{"line":1,"code":"c","message":"m","error":"x"}',
        b'{"custom_id":"a","error":{"message":"m"}}\n',
        b'[{"message":"m"}]',
        b'{"errors":{"data":[{"message":"m"}]}}',
        b'\xef\xbb\xbf{"custom_id":"a"}\r\n',
    ],
)
def test_these_files_are_legal(connect, tmp_path, body):
    to = tmp_path / "out"
    assert fetch(connect(reply(body)), to).size == len(body)
    assert to.read_bytes() == body


UNFIT = {
    "html type": (reply(b"hello", content_type="text/html; charset=utf-8"), "ORC3211"),
    "html body": (reply(b"\r\n <!DOCTYPE html><html>"), "ORC3211"),
    "error document": (
        reply({"error": {"message": "try later", "type": "server_error"}}),
        "ORC3211",
    ),
    "detail document": (reply({"detail": "not ready"}), "ORC3211"),
    "announced too large": (reply(b"x" * 200_000), "ORC3210"),
    "too large": (lambda _request: httpx.Response(200, stream=Endless(b"{}\n" * 999)), "ORC3210"),
    "too short": (stream(LINES, headers={"content-length": "999"}), "ORC3206"),
    "too long": (stream(LINES, headers={"content-length": "9"}), "ORC3206"),
    "cut without length": (stream(LINES, b'{"custom_id":"b'), "ORC3206"),
    "connection lost": (stream(LINES, fails=httpx.ReadError("reset")), "ORC3203"),
    "protocol": (stream(LINES, fails=httpx.RemoteProtocolError("incomplete")), "ORC3203"),
}


@pytest.mark.parametrize(("answer", "code"), UNFIT.values(), ids=UNFIT)
def test_an_unfit_download_leaves_nothing_behind(connect, tmp_path, answer, code):
    to = tmp_path / "out.jsonl"
    with pytest.raises(UnavailableError) as caught:
        fetch(connect(answer), to, max_bytes=100_000)
    assert caught.value.code == code
    assert list(tmp_path.iterdir()) == []


def test_an_error_document_in_place_of_a_file_is_quoted(connect, tmp_path):
    world = connect(reply({"error": {"message": "try later", "type": "server_error"}}))
    with pytest.raises(UnavailableError) as caught:
        fetch(world, tmp_path / "out")
    assert '"try later" (server_error)' in caught.value.why


def test_a_truncated_download_is_repeated_whole(connect, tmp_path):
    world = connect(stream(LINES[:40], headers={"content-length": "165"}), reply(LINES))
    to = tmp_path / "out"
    assert fetch(world, to).size == len(LINES)
    assert to.read_bytes() == LINES
    assert len(world.server.calls) == 2


def test_a_new_download_takes_the_place_of_an_old_one(connect, tmp_path):
    to = tmp_path / "out"
    to.write_bytes(b"old")
    fetch(connect(reply(LINES)), to)
    assert to.read_bytes() == LINES


def test_a_redirected_download_is_followed_without_the_key(connect, tmp_path):
    world = connect(reply(b"", 302, location="https://store.example/x"), reply(LINES))
    fetch(world, tmp_path / "out")
    first, second = world.server.calls
    assert first.headers["authorization"]
    assert second.url.host == "store.example"
    assert "authorization" not in second.headers


def test_a_file_that_is_gone_is_gone(connect, tmp_path):
    with pytest.raises(GoneError):
        fetch(connect(refusal(404)), tmp_path / "out")


def test_a_download_to_a_place_that_cannot_be_written_is_a_spool_error(connect, tmp_path):
    world = connect(reply(LINES))
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError):
        fetch(world, tmp_path / "file" / "out")
    assert len(world.server.calls) == 1


def test_a_full_disk_is_a_spool_error_and_leaves_nothing_behind(connect, tmp_path):
    world = connect(reply(LINES * 1000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(SpoolError) as caught:
            fetch(world, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 74
    assert list(tmp_path.iterdir()) == []


def test_a_download_of_any_size_takes_constant_memory(connect, tmp_path):
    chunk = b'{"custom_id":"a"}\n' * 3700
    chunks = (chunk for _ in range(800))
    world = connect(lambda _request: httpx.Response(200, stream=Chunks(chunks)))
    tracemalloc.start()
    found = fetch(world, tmp_path / "out", max_bytes=1 << 30)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.size == 800 * len(chunk) > 50 << 20
    assert peak < 4 << 20


class Chunks(httpx.SyncByteStream):
    def __init__(self, chunks):
        self.chunks = chunks

    def __iter__(self):
        return self.chunks


# The key


EVERYTHING = [
    lambda p, d: p.upload(d / "in.jsonl", "x"),
    lambda p, d: list(p.list_files()),
    lambda p, d: p.file("f"),
    lambda p, d: p.delete_file("f"),
    lambda p, d: p.download("f", d / "out", max_bytes=1000),
    lambda p, d: p.create("f", metadata={}, **CREATE),
    lambda p, d: list(p.list_batches()),
    lambda p, d: p.batch("b"),
    lambda p, d: p.cancel("b"),
    lambda p, d: p.models(),
    lambda p, d: p.balance(),
]


@pytest.mark.parametrize("act", EVERYTHING)
@pytest.mark.parametrize(
    "answer",
    [
        refusal(401, message=f"bad key {KEY}, sk-other-98765"),
        refusal(400, message=f"Authorization: Bearer {KEY}"),
        reply(f"<html><title>{KEY}</title></html>".encode(), 502),
        reply(f"oops {KEY}".encode(), 404),
        httpx.ReadError(f"header Bearer {KEY}"),
    ],
)
def test_the_key_is_in_no_error_whatever_the_provider_says(
    connect, input_file, tmp_path, caplog, act, answer
):
    world = connect(answer, patience=Patience(attempts=1))
    caught = None
    with contextlib.suppress(OrchestratorError):
        try:
            act(world.provider, tmp_path)
        except OrchestratorError as exc:
            caught = exc
            raise
    told = f"{caught!r} {caught} {caught and caught.to_dict()} {caplog.text} {world.calls}"
    assert KEY not in told
    assert "sk-other" not in told
