import json

import msgspec
import pytest

from orchestrator.domain import rules
from orchestrator.domain.errors import ConfigError
from orchestrator.domain.intake import Record
from orchestrator.domain.profile import Window
from orchestrator.domain.spec import JobSpec
from orchestrator.domain.windows import broken_rule, parse_hours


def spec(**changes):
    fields = {"name": "j", "source": "a.jsonl", "provider": "kimi", "model": "kimi-k2.6"}
    return JobSpec(**fields | {"prompt": "{text}"} | changes)


def lines_spec(**changes):
    return spec(**{"prompt": None, "model": None, "lines": True} | changes)


JOB_RULES = [
    ({}, []),
    ({"prompt": None}, [("ORC2022", "it has none")]),
    ({"template": "x"}, [("ORC2022", "it has prompt and template")]),
    ({"lines": True, "prompt": "x"}, [("ORC2022", "it has prompt and lines")]),
    ({"model": None}, [("ORC2015", "no model is given; kimi has kimi-k2.6, kimi-k2.7-code")]),
    ({"model": "kimi-k3"}, [("ORC2015", '"kimi-k3" is not offered in batches')]),
    ({"model": "kimi-k2.5"}, [("ORC2015", "did you mean kimi-k2.")]),
    ({"body": {"temperature": 1}}, [("ORC2016", "body.temperature is not allowed in model")]),
    ({"body": {"stream": False}}, [("ORC2016", "body.stream is not allowed in batches of kimi")]),
    ({"body": {"messages": []}}, [("ORC2022", "body.messages is set by the job itself")]),
    ({"endpoint": "/v1/embeddings"}, [("ORC2021", "it has /v1/chat/completions")]),
    ({"window": "15m"}, [("ORC2019", '"15m" is not a completion window')]),
    ({"limit": 0}, [("ORC2022", "the limit is 0 records")]),
    ({"metadata": {str(n): "" for n in range(11)}}, []),
    ({"metadata": {str(n): "" for n in range(12)}}, [("ORC2020", "12 pairs; at most 11")]),
    ({"metadata": {"k" * 64: "v" * 512}}, []),
    ({"metadata": {"k" * 65: ""}}, [("ORC2020", "has 65 characters; 1 to 64")]),
    ({"metadata": {"": ""}}, [("ORC2020", "has 0 characters")]),
    ({"metadata": {"k": "v" * 513}}, [("ORC2020", "has 513 characters; at most 512")]),
    (
        {"model": "kimi-k3", "window": "9h", "body": {"stream": True}},
        [("ORC2019", "9 hours"), ("ORC2015", "kimi-k3"), ("ORC2016", "stream")],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), JOB_RULES)
def test_every_rule_of_the_job_as_a_whole_is_checked_at_position_0(kimi, changes, expected):
    wide = msgspec.structs.replace(kimi, window=Window(min_hours=12, max_hours=168))
    found = rules.job_violations(spec(**changes), wide)
    assert [violation.code for violation in found] == [code for code, _ in expected]
    for violation, (_, words) in zip(found, expected, strict=True):
        assert violation.position == 0
        assert words in violation.reason


@pytest.mark.parametrize(
    "changes",
    [{"system": "x"}, {"body": {"max_tokens": 1}}, {"key": "id"}],
)
def test_ready_lines_take_nothing_beside_them(kimi, changes):
    assert rules.job_violations(lines_spec(), kimi) == []
    (found,) = rules.job_violations(lines_spec(**changes), kimi)
    assert found.code == "ORC2022"


def test_only_ready_lines_can_be_for_an_endpoint_without_chat(kimi):
    profile = msgspec.structs.replace(kimi, endpoints=("/v1/embeddings",))
    assert rules.job_violations(lines_spec(endpoint="/v1/embeddings"), profile) == []
    (found,) = rules.job_violations(spec(endpoint="/v1/embeddings"), profile)
    assert found.code == "ORC2021"


def test_an_open_list_of_models_takes_unknown_ones(kimi):
    assert rules.model_reason("new-model", msgspec.structs.replace(kimi, models_closed=False)) == ""


KEYS = [
    ({"id": "a"}, "a"),
    ({"id": 42}, "42"),
    ({"id": 2**70}, str(2**70)),
    ({"id": "名前"}, "名前"),
    ({"id": " a b "}, " a b "),
    ({"id": "x" * 1024}, "x" * 1024),
    ({}, 'the record has no key column "id"'),
    ({"id": None}, "is blank"),
    ({"id": ""}, "is blank"),
    ({"id": " \t"}, "is blank"),
    ({"id": True}, "is true or false; it must be text or a whole number"),
    ({"id": 1.5}, "is a number; it must be text or a whole number"),
    ({"id": ["a"]}, "is a list"),
    ({"id": {}}, "is an empty object"),
    ({"id": "a\0b"}, "NUL"),
    ({"id": "\ud800"}, "half a surrogate pair"),
    ({"id": "é" * 513}, "has 1,026 bytes; at most 1,024"),
]


@pytest.mark.parametrize(("data", "expected"), KEYS)
def test_a_key_is_text_or_a_whole_number(kimi, data, expected):
    found = rules.RecordRules(spec(key="id"), kimi).key(Record(9, data))
    if isinstance(found, str):
        assert found == expected
    else:
        assert expected in found.reason
        assert (found.position, found.code) == (9, "ORC2010")


def test_without_a_key_column_the_position_is_the_key(kimi):
    assert rules.RecordRules(spec(), kimi).key(Record(9, {})) == "9"


@pytest.mark.parametrize("custom_id", ["", " ", "x" * 65, "é", "a\n", " a", None, 7, ["a"]])
def test_a_ready_line_needs_a_legal_custom_id(kimi, custom_id):
    checks = rules.RecordRules(lines_spec(), kimi)
    found = checks.key(Record(3, {"custom_id": custom_id}))
    assert (found.position, found.code) == (3, "ORC2012")
    assert checks.key(Record(3, {"custom_id": "x" * 64})) == "x" * 64


def ready(**changes):
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "x"}]}
    body |= changes.pop("body", {})
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return line | changes


READY_LINES = [
    (ready(), []),
    (ready(method="GET"), [("ORC2013", 'method is "GET"; it must be POST')]),
    (ready(url="/v1/embeddings"), [("ORC2013", 'url is "/v1/embeddings"; the job')]),
    (ready() | {"body": "text"}, [("ORC2014", 'body is "text"; it must be an object')]),
    (ready() | {"body": []}, [("ORC2014", "body is an empty list")]),
    (ready(body={"model": None}), [("ORC2015", "body.model is null")]),
    (ready(body={"model": "gpt-5"}), [("ORC2015", 'kimi has no model "gpt-5" in batches')]),
    (ready(body={"model": "kimi-k3"}), [("ORC2015", "not offered in batches")]),
    (ready(body={"stream": True}), [("ORC2016", "body.stream")]),
    (ready(body={"temperature": 0, "top_p": 1}), [("ORC2016", "temp"), ("ORC2016", "top_p")]),
    (ready(body={"messages": []}), [("ORC2014", "body.messages is an empty list")]),
    ({"custom_id": "a"}, [("ORC2013", "missing"), ("ORC2013", "missing"), ("ORC2014", "missing")]),
]


@pytest.mark.parametrize(("line", "expected"), READY_LINES)
def test_every_rule_of_a_ready_line_is_checked(kimi, line, expected):
    checks = rules.RecordRules(lines_spec(), kimi)
    for _ in range(2):
        found = checks.line(Record(4, json.loads(json.dumps(line))))
        assert [(each.position, each.code) for each in found] == [(4, code) for code, _ in expected]
        for violation, (_, words) in zip(found, expected, strict=True):
            assert words in violation.reason


def test_a_ready_line_has_the_model_that_the_job_names(kimi):
    checks = rules.RecordRules(lines_spec(model="kimi-k2.7-code"), kimi)
    (found,) = checks.line(Record(1, ready()))
    assert found.reason == 'body.model is "kimi-k2.6"; the job asks for "kimi-k2.7-code"'


@pytest.mark.parametrize(("window", "hours"), [("24h", 24), ("1d", 24), ("7d", 168), ("168h", 168)])
def test_a_window_is_whole_hours_or_whole_days(window, hours):
    assert parse_hours(window) == hours


@pytest.mark.parametrize(
    "window",
    [
        "",
        "24",
        "h",
        "15m",
        "1.5h",
        "1d12h",
        "24H",
        "0h",
        "-1d",
        "+1d",
        "024h",
        " 24h",
        "24h\n",
        "٢h",
    ],
)
def test_anything_else_is_not_a_window(window):
    with pytest.raises(ConfigError, match="is not a completion window") as caught:
        parse_hours(window)
    assert caught.value.code == "ORC2019"


@pytest.mark.parametrize(
    ("window", "allowed", "reason"),
    [
        ("12h", Window(min_hours=12, max_hours=168), ""),
        ("7d", Window(min_hours=12, max_hours=168), ""),
        ("11h", Window(min_hours=12, max_hours=168), "is 11 hours; the provider takes 12 to 168"),
        ("8d", Window(min_hours=12, max_hours=168), "is 192 hours"),
        ("24h", Window(choices=("24h",)), ""),
        ("1d", Window(choices=("24h",)), "write 24h, which is as long"),
        ("2d", Window(choices=("24h",)), "is not offered; the provider takes 24h"),
    ],
)
def test_a_window_is_in_the_range_of_the_provider(window, allowed, reason):
    found = broken_rule(window, allowed)
    assert reason in found if reason else found == ""
