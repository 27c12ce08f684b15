"""Lines of output and error files: every shape seen, each with its verdict."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.remote import Answer, OddLine
from orchestrator.provider.wire import chat_text, read_line, read_validation_errors

BODY = (
    b'{"id":"c1","created":1700000000,'
    b'"choices":[{"index":0,"message":{"content":"yes"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":11,"completion_tokens":5,"total_tokens":16,"cached_tokens":3}}'
)


def line(response=b"null", error=b"null", custom_id=b'"a"', more=b""):
    return b'{"id":"a","custom_id":%s,"response":%s,"error":%s%s}' % (
        custom_id,
        response,
        error,
        more,
    )


def ok(body=BODY, status=b"200", **kwargs):
    return line(b'{"status_code":%s,"request_id":"","body":%s}' % (status, body), **kwargs)


def test_a_success_keeps_the_body_byte_for_byte_and_its_numbers():
    odd_spacing = BODY.replace(b'"usage":', b'"usage" : ')
    assert read_line(ok(odd_spacing)) == Answer(
        custom_id="a",
        succeeded=True,
        status_code=200,
        body=odd_spacing,
        tokens_in=11,
        tokens_out=5,
        tokens_cached=3,
        finish_reason="stop",
        created_at=1700000000,
    )


SUCCESSES = {
    "plain": ok(),
    "crlf": ok() + b"\r\n",
    "bom": b"\xef\xbb\xbf" + ok(),
    "status as text": ok(status=b'"200"'),
    "status as float": ok(status=b"200.0"),
    "status 201": ok(status=b"201"),
    "status absent": line(b'{"body":%s}' % BODY),
    "status null": ok(status=b"null"),
    "error absent": b'{"custom_id":"a","response":{"status_code":200,"body":%s}}' % BODY,
    "error empty object": ok(error=b"{}"),
    "error empty text": ok(error=b'""'),
    "error false": ok(error=b"false"),
    "error of nulls": ok(error=b'{"code":null,"message":null}'),
    "unknown members": ok(more=b',"x":{"y":[1,2,{"z":null}]},"duration_ms":1.5'),
    "request id a number": line(b'{"status_code":200,"request_id":7,"body":%s}' % BODY),
    "body as JSON text": ok(json.dumps(BODY.decode()).encode()),
    "body error null": ok(BODY[:-1] + b',"error":null}'),
    "NaN in a number": ok(BODY[:-1] + b',"logprob":NaN,"low":-Infinity}'),
    "lone surrogate": ok(BODY.replace(b"yes", b"yes \\ud83d")),
    "broken UTF-8": ok(BODY.replace(b"yes", b"yes \xff\xfe")),
    "Chinese": ok(BODY.replace(b"yes", "好的".encode())),
    "escaped NUL": ok(BODY.replace(b"yes", b"y\\u0000s")),
    "huge unknown integer": ok(BODY[:-1] + b',"x":1' + b"0" * 5000 + b"}"),
    "huge token count": ok(BODY.replace(b"11", b"1" + b"0" * 400)),
    "usage of the wrong types": ok(BODY.replace(b"11", b'"many"').replace(b":5,", b":[5],")),
    "usage null": ok(b'{"choices":[],"usage":null}'),
    "choices of nulls": ok(b'{"choices":[null]}'),
    "choices no list": ok(b'{"choices":{"0":{}}}'),
    "finish reason a number": ok(BODY.replace(b'"stop"', b"7")),
    "created as float": ok(BODY.replace(b"1700000000", b"1700000000.25")),
    "created negative": ok(BODY.replace(b"1700000000", b"-5")),
    "deep body": ok(b'{"choices":' + b"[" * 100 + b"]" * 100 + b"}"),
}


@pytest.mark.parametrize("raw", SUCCESSES.values(), ids=SUCCESSES)
def test_these_lines_are_answers_that_were_paid_for(raw):
    answer = read_line(raw)
    assert isinstance(answer, Answer)
    assert answer.succeeded, answer
    assert answer.custom_id == "a"
    assert answer.status_code in {200, 201, None}
    assert answer.body is not None
    assert b"\xff" not in answer.body
    answer.body.decode()
    for number in (answer.tokens_in, answer.tokens_out, answer.tokens_cached, answer.created_at):
        assert number is None or 0 <= number <= 2**53


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (b'{"prompt_tokens":9,"completion_tokens":2,"cached_tokens":4}', (9, 2, 4)),
        (
            b'{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":5}}',
            (9, 2, 5),
        ),
        (
            b'{"input_tokens":9,"output_tokens":2,"input_tokens_details":{"cached_tokens":6}}',
            (9, 2, 6),
        ),
        (b'{"prompt_tokens":9,"total_tokens":9}', (9, None, None)),
        (b'{"prompt_tokens":9.0,"completion_tokens":"2","cached_tokens":null}', (9, 2, None)),
        (b'{"prompt_tokens":-9,"completion_tokens":true}', (None, None, None)),
        (b'{"prompt_tokens":18446744073709551616,"completion_tokens":2}', (None, 2, None)),
        (b'{"prompt_tokens":1,"prompt_tokens_details":[]}', (1, None, None)),
        (b"[]", (None, None, None)),
    ],
)
def test_token_counts_are_read_in_every_dialect(usage, expected):
    answer = read_line(ok(b'{"choices":[],"usage":%s}' % usage))
    assert (answer.tokens_in, answer.tokens_out, answer.tokens_cached) == expected


REFUSAL = b'{"error":{"message":"bad input","type":"invalid_request_error"}}'
FAILURES = {
    "OpenAI style": (ok(REFUSAL, b"400"), 400, "invalid_request_error", "bad input"),
    "in the output file with 500": (
        ok(b'{"error":{"message":"oops","type":"server_error"}}', b"500"),
        500,
        "server_error",
        "oops",
    ),
    "never ran": (
        line(error=b'{"code":"batch_expired","message":"too late"}'),
        None,
        "batch_expired",
        "too late",
    ),
    "DeepInfra": (
        line(error=b'{"code":"400","message":"no","type":null,"param":null}'),
        400,
        "400",
        "no",
    ),
    "code a number": (line(error=b'{"code":429,"message":"slow"}'), 429, "429", "slow"),
    "Together": (
        b'{"custom_id":"a","error":{"message":"no","code":"bad"}}',
        None,
        "bad",
        "no",
    ),
    "error is text": (line(error=b'"it broke"'), None, "", "it broke"),
    "error is a list": (line(error=b'[{"msg":"x"},{"msg":"y"}]'), None, "", "x; y"),
    "error nested": (line(error=b'{"error":{"message":"in","type":"t"}}'), None, "t", "in"),
    "error without known members": (line(error=b'{"text":"?"}'), None, "", '{"text": "?"}'),
    "error true": (line(error=b"true"), None, "", "true"),
    "error inside a 200": (ok(REFUSAL), 200, "invalid_request_error", "bad input"),
    "error text inside a 200": (ok(b'{"error":"nope"}'), 200, "", "nope"),
    "error beside a 200": (
        ok(error=b'{"code":"x","message":"late"}'),
        200,
        "x",
        "late",
    ),
    "body as JSON text with an error": (
        ok(json.dumps(REFUSAL.decode()).encode(), b"400"),
        400,
        "invalid_request_error",
        "bad input",
    ),
    "body plain text": (ok(b'"Bad Gateway"', b"502"), 502, "502", "Bad Gateway"),
    "body detail": (ok(b'{"detail":"not found"}', b"404"), 404, "404", "not found"),
    "body null with 500": (ok(b"null", b"500"), 500, "500", "status 500 without a reason"),
    "body null with 200": (
        ok(b"null"),
        200,
        "unexpected_output",
        "an answer without a usable body",
    ),
    "body empty with 200": (
        ok(b"{}"),
        200,
        "unexpected_output",
        "an answer without a usable body",
    ),
    "body a list": (ok(b"[1]"), 200, "unexpected_output", "an answer without a usable body"),
    "status as text": (ok(REFUSAL, b'"400"'), 400, "invalid_request_error", "bad input"),
    "response is text": (
        line(b'"boom"', error=b'{"message":"m","code":"c"}'),
        None,
        "c",
        "m",
    ),
    "type and numeric code": (
        line(error=b'{"code":429,"type":"rate_limit_reached_error","message":"slow"}'),
        429,
        "rate_limit_reached_error",
        "slow",
    ),
    "words with escapes and breaks": (
        line(error=b'{"code":"c","message":"a\\u001b[31m\\nb\\u0000c"}'),
        None,
        "c",
        "a [31m b c",
    ),
    "words with a key": (
        line(error=b'{"code":"c","message":"Incorrect API key sk-abcdefgh12345"}'),
        None,
        "c",
        "Incorrect API key [key]",
    ),
}


@pytest.mark.parametrize(("raw", "status", "code", "message"), FAILURES.values(), ids=FAILURES)
def test_these_lines_are_failures_with_the_providers_reason(raw, status, code, message):
    answer = read_line(raw)
    assert isinstance(answer, Answer)
    assert not answer.succeeded
    assert (answer.status_code, answer.error_code, answer.error_message) == (status, code, message)


def test_a_providers_words_are_cut_before_they_fill_a_column():
    answer = read_line(line(error=b'{"message":"%s"}' % (b"word " * 100_000)))
    assert len(answer.error_message) == 300
    assert answer.error_message.endswith("…")


ODD = {
    "empty": (b"", "empty line"),
    "blank": (b" \t\r\n", "empty line"),
    "NULs": (b"\0\0\0\0", "empty line"),
    "not JSON": (b"hello", "not JSON"),
    "HTML": (b"<html><title>502</title></html>", "HTML page"),
    "cut": (ok()[:-30], "not JSON"),
    "two on a line": (ok() + ok(), "not JSON"),
    "raw NUL in text": (ok(BODY.replace(b"yes", b"y\0s")), "not JSON"),
    "an array": (b"[1,2]", "no object"),
    "a number": (b"17", "no object"),
    "null": (b"null", "no object"),
    "no custom_id": (b'{"response":{"status_code":200,"body":%s}}' % BODY, "custom_id is missing"),
    "custom_id null": (ok(custom_id=b"null"), "custom_id is missing"),
    "custom_id a number": (ok(custom_id=b"7"), "no string"),
    "custom_id empty": (ok(custom_id=b'""'), "empty, too long"),
    "custom_id with a NUL": (ok(custom_id=b'"a\\u0000"'), "holds a NUL"),
    "custom_id without end": (ok(custom_id=b'"' + b"a" * 5000 + b'"'), "too long"),
    "nothing in it": (b'{"custom_id":"a"}', "neither an answer nor an error"),
    "all null": (line(), "neither an answer nor an error"),
    "empty response": (line(b"{}"), "neither an answer nor an error"),
    "nested without end": (b'{"custom_id":"a","x":' + b"[" * 100_000, "too deep"),
    "nested and closed": (
        b'{"custom_id":"a","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        "too deep",
    ),
    "lone surrogate and a number without end": (
        b'{"custom_id":"\\ud800","x":1' + b"0" * 5000 + b"}",
        "number too long",
    ),
    "UTF-16": (ok().decode().encode("utf-16"), "not JSON"),
}


@pytest.mark.parametrize(("raw", "reason"), ODD.values(), ids=ODD)
def test_these_lines_go_to_quarantine_with_a_reason(raw, reason):
    verdict = read_line(raw)
    assert isinstance(verdict, OddLine), verdict
    assert reason in verdict.reason


def test_a_lone_surrogate_is_replaced_where_it_stands_and_pairs_are_kept():
    answer = read_line(ok(BODY.replace(b"yes", b"\\ud83d\\ude00 \\ud83d")))
    assert chat_text(answer.body) == "\U0001f600 \N{REPLACEMENT CHARACTER}"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "custom_id", "response", "status_code", "body", "error", "usage", "choices",
                    "message", "code", "type", "detail", "data", "errors", "prompt_tokens",
                    "prompt_tokens_details", "created", "finish_reason", "content", "line",
                ]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_make_a_reader_of_lines_raise(raw):
    assert isinstance(read_line(raw), Answer | OddLine)
    assert isinstance(chat_text(raw), str)
    assert isinstance(read_validation_errors(raw), list)


@settings(deadline=None)
@given(JSON, JSON, JSON)
def test_no_json_makes_a_reader_of_lines_raise(response, error, body):
    for value in (
        response,
        {"custom_id": "a", "response": response, "error": error},
        {"custom_id": "a", "response": {"status_code": 200, "body": body}, "error": error},
    ):
        raw = json.dumps(value).encode()
        verdict = read_line(raw)
        assert isinstance(verdict, Answer | OddLine)
        if isinstance(verdict, Answer):
            assert verdict.custom_id == "a" or value is response
            assert len(verdict.error_message) <= 300
            assert verdict.error_message.isprintable()
        chat_text(json.dumps(body).encode())
        read_validation_errors(raw)


@settings(deadline=None)
@given(st.data())
def test_a_damaged_line_never_becomes_an_answer_for_another_request(data):
    raw = bytearray(ok(custom_id=b'"r-1"'))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    verdict = read_line(bytes(raw))
    assert isinstance(verdict, Answer | OddLine)
    if isinstance(verdict, Answer) and verdict.body is not None:
        verdict.body.decode()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (BODY, "yes"),
        (b'{"choices":[{"message":{"content":null,"tool_calls":[{}]}}]}', ""),
        (
            b'{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"text":"b"},7]}}]}',
            "ab",
        ),
        (b'{"choices":[]}', ""),
        (b'{"choices":[{"message":"x"}]}', ""),
        (b'{"choices":[{"message":{"content":"1"}},{"message":{"content":"2"}}]}', "1"),
        (b'{"output":[{"type":"reasoning"},{"content":[{"type":"output_text","text":"o"}]}]}', "o"),
        (b'{"data":[{"embedding":[0.1]}]}', ""),
        (b"not json", ""),
        (b"[]", ""),
        (b"", ""),
    ],
)
def test_the_text_of_an_answer_is_found_or_empty(body, text):
    assert chat_text(body) == text


VALIDATION = {
    "empty": (b"", []),
    "blank lines": (b"\n\n", []),
    "with custom_id": (
        b'{"custom_id":"a","error":{"code":"invalid","message":"bad"}}\n'
        + line(b'{"status_code":400,"body":{"error":{"message":"worse"}}}', custom_id=b'"b"'),
        [(None, "a", "invalid", "bad"), (None, "b", "", "worse")],
    ),
    "with line numbers": (
        b'{"line":3,"code":"invalid_json_line","message":"no JSON"}\n{"line":"4","message":"m"}\n',
        [(3, None, "invalid_json_line", "no JSON"), (4, None, "", "m")],
    ),
    "one document with errors.data": (
        b'{"errors":{"object":"list","data":[{"code":"c","message":"m","line":1}]}}',
        [(1, None, "c", "m")],
    ),
    "one document, an array": (
        b'[{"message":"m"},{"message":"n"}]',
        [(None, None, "", "m"), (None, None, "", "n")],
    ),
    "one pretty document": (
        b'{\n  "error": {\n    "message": "mixed models",\n    "type": "t"\n  }\n}',
        [(None, None, "t", "mixed models")],
    ),
    "plain text": (
        b"line 17: bad url\nfile refused",
        [(17, None, "", "line 17: bad url"), (None, None, "", "file refused")],
    ),
    "broken and good": (
        b'{"line":1,"message":"m"}\n{"line":2,"mes',
        [(1, None, "", "m"), (None, None, "", '{"line":2,"mes')],
    ),
    "detail list": (
        b'{"detail":[{"loc":["x"],"msg":"field required"}]}',
        [(None, None, "", "field required")],
    ),
    "binary": (b"\xff\xfe\x00", [(None, None, "", "\N{REPLACEMENT CHARACTER}" * 2)]),
}


@pytest.mark.parametrize(("raw", "expected"), VALIDATION.values(), ids=VALIDATION)
def test_the_reasons_of_a_failed_validation_are_read_in_any_shape(raw, expected):
    assert [tuple(fault) for fault in read_validation_errors(raw)] == expected


def test_a_file_of_validation_errors_without_end_is_read_up_to_ten_thousand():
    faults = read_validation_errors(b'{"line":1,"message":"m"}\n' * 12_000)
    assert len(faults) == 10_000
