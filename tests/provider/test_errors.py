"""Refused calls: each sorted into the class that says who must act."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import (
    AuthError,
    GoneError,
    ProviderError,
    QuotaError,
    RejectedError,
    ThrottledError,
    UnansweredError,
    UnavailableError,
)
from orchestrator.provider.wire import sort_error


def said(type_="invalid_request_error", message="no", **more):
    return json.dumps({"error": {"message": message, "type": type_, **more}}).encode()


def sort(status, body=b"", headers=None, *, effect=False):
    return sort_error("GET /v1/files", status, headers or {}, body, effect=effect)


# What is certain is certain for a call with an effect and for one without.
CERTAIN = {
    "key": (401, said("invalid_authentication_error"), AuthError, "ORC3101"),
    "key, other word": (401, said("incorrect_api_key_error"), AuthError, "ORC3101"),
    "key, OpenAI": (
        401,
        said("invalid_request_error", code="invalid_api_key"),
        AuthError,
        "ORC3101",
    ),
    "key, as 400": (400, said("authentication_error"), AuthError, "ORC3101"),
    "permission": (403, said("permission_denied_error"), AuthError, "ORC3102"),
    "not found": (404, said("resource_not_found_error"), GoneError, "ORC3208"),
    "not found, FastAPI": (404, b'{"detail":"Not Found"}', GoneError, "ORC3208"),
    "gone": (410, said("gone"), GoneError, "ORC3208"),
    "balance": (429, said("exceeded_current_quota_error"), QuotaError, "ORC3104"),
    "balance as 403": (403, said("exceeded_current_quota_error"), QuotaError, "ORC3104"),
    "balance, OpenAI": (429, said("x", code="insufficient_quota"), QuotaError, "ORC3104"),
    "payment": (402, b'{"message":"pay"}', QuotaError, "ORC3104"),
    "queue": (400, said("x", code="token_limit_exceeded"), QuotaError, "ORC3107"),
    "files": (400, said(message="Too many uploaded files, delete some"), QuotaError, "ORC3106"),
    "storage": (400, said(message="Storage limit reached"), QuotaError, "ORC3106"),
    "rate": (429, said("rate_limit_reached_error"), ThrottledError, "ORC3105"),
    "overload": (429, said("engine_overloaded_error"), ThrottledError, "ORC3105"),
    "429 of unknown type": (429, b'{"error":"slow down"}', ThrottledError, "ORC3105"),
    "malformed": (400, said(), RejectedError, "ORC3207"),
    "filter": (400, said("content_filter"), RejectedError, "ORC3207"),
    "unprocessable": (422, b'{"detail":[{"msg":"bad window"}]}', RejectedError, "ORC3207"),
    "unknown type": (400, said("quantum_error"), RejectedError, "ORC3207"),
    "string error": (400, b'{"error":"bad"}', RejectedError, "ORC3207"),
    "flat": (400, b'{"code":20012,"message":"bad"}', RejectedError, "ORC3207"),
    "a list": (400, b'[{"error":{"message":"bad"}}]', RejectedError, "ORC3207"),
    "a JSON text": (400, b'"bad"', RejectedError, "ORC3207"),
    "too large": (413, said(), RejectedError, "ORC3209"),
    "too large, gateway": (413, b"<html>413</html>", RejectedError, "ORC3209"),
    "too large, as 400": (400, said(message="File size exceeds 100MB"), RejectedError, "ORC3209"),
}


@pytest.mark.parametrize("effect", [False, True])
@pytest.mark.parametrize(("status", "body", "kind", "code"), CERTAIN.values(), ids=CERTAIN)
def test_a_parsed_no_is_certain_whatever_the_call(status, body, kind, code, effect):
    error = sort(status, body, effect=effect)
    assert type(error) is kind
    assert error.code == code
    assert error.status == status
    assert str(error).startswith("GET /v1/files: ")


HTML = b"<html><head><title>504 Gateway Time-out</title></head></html>"
UNCLEAR = {
    "500": (500, said("server_error"), "ORC3203"),
    "500 unexpected": (500, said("unexpected_output"), "ORC3203"),
    "503": (503, said("server_unavailable"), "ORC3203"),
    "504 HTML": (504, HTML, "ORC3203"),
    "502 empty": (502, b"", "ORC3203"),
    "408": (408, said(), "ORC3203"),
    "409": (409, said("conflict_error"), "ORC3203"),
    "425": (425, said(), "ORC3203"),
    "499": (499, said("client_closed_request"), "ORC3203"),
    "302": (302, b"", "ORC3212"),
    "404 HTML": (404, b"<html><title>nginx</title></html>", "ORC3212"),
    "404 empty": (404, b"", "ORC3212"),
    "400 empty object": (400, b"{}", "ORC3212"),
    "400 no error in it": (400, b'{"ok":false}', "ORC3212"),
    "400 a number": (400, b"17", "ORC3212"),
    "403 firewall": (403, b"<html>blocked</html>", "ORC3212"),
}


@pytest.mark.parametrize(("status", "body", "code"), UNCLEAR.values(), ids=UNCLEAR)
def test_everything_else_leaves_the_effect_unknown(status, body, code):
    read = sort(status, body)
    assert type(read) is UnavailableError
    assert read.code == code
    write = sort(status, body, effect=True)
    assert type(write) is UnansweredError
    assert write.code == "ORC3202"


@pytest.mark.parametrize(("status", "kind"), [(401, AuthError), (429, ThrottledError)])
def test_a_bare_401_or_429_is_clear_for_a_read_only(status, kind):
    assert type(sort(status, b"")) is kind
    assert type(sort(status, b"", effect=True)) is UnansweredError


def test_the_providers_words_type_and_request_id_are_quoted():
    error = sort(400, said("invalid_request_error", "bad window"), {"Msh-Request-Id": "r-7"})
    assert error.why == '"bad window" (invalid_request_error)'
    assert error.request_id == "r-7"
    assert error.provider_code == "invalid_request_error"


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"x-request-id": "r-1"}, said(), "r-1"),
        ({}, said(request_id="r-2"), "r-2"),
        ({}, b'{"error":{"message":"m"},"request_id":"r-3"}', "r-3"),
        ({"msh-request-id": ""}, b"<html>", ""),
    ],
)
def test_the_request_id_is_found_where_it_stands(headers, body, expected):
    assert sort(400, body, headers).request_id == expected


def test_an_html_page_is_named_by_its_title():
    assert sort(504, HTML).why == 'an HTML page: "504 Gateway Time-out"'


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "999999"}, 3600.0),
        ({"retry-after": "inf"}, 3600.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        (
            {
                "Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT",
                "Date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30.0,
        ),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_and_bounded(headers, seconds):
    assert sort(429, said("rate_limit_reached_error"), headers).retry_after == seconds


def test_keys_in_a_providers_words_are_blotted_out():
    error = sort(401, said("x", "Incorrect API key provided: sk-abc123DEF456. Bearer abcdefgh"))
    assert "abc123" not in json.dumps(error.to_dict())
    assert "abcdefgh" not in json.dumps(error.to_dict())


def test_a_long_message_is_cut():
    assert len(sort(400, said("t", "x" * 100_000)).why) < 320


KEYS = st.sampled_from(["error", "message", "type", "code", "detail", "request_id"])
BODIES = st.recursive(
    st.text() | st.none() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
    max_leaves=6,
).map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "x-request-id"]), st.text(max_size=20)
)


@settings(deadline=None)
@given(st.integers(100, 999), st.binary(max_size=200) | BODIES, HEADERS, st.booleans())
def test_no_answer_makes_the_sorting_raise(status, body, headers, effect):
    error = sort_error("POST /v1/batches", status, headers, body, effect=effect)
    assert isinstance(error, ProviderError)
    assert error.why.isprintable()
    assert len(error.why) < 500
    assert error.retry_after is None or 0 <= error.retry_after <= 3600
