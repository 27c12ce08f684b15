import datetime
import decimal
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import TemplateError
from orchestrator.domain.intake import Record
from orchestrator.domain.prompt_text import as_text
from orchestrator.domain.rendering import Renderer, ascii_json, batch_line, text_json
from orchestrator.domain.spec import JobSpec


def spec(**changes):
    fields = {"name": "j", "source": "a.jsonl", "provider": "kimi", "model": "kimi-k2.6"}
    return JobSpec(**fields | changes)


def body(data, columns=None, **changes):
    record = Record(7, data)
    return json.loads(Renderer(spec(**changes), columns).render(record).body)


def user(data, columns=None, **changes):
    return body(data, columns, **changes)["messages"][-1]["content"]


def test_a_body_is_model_messages_and_what_the_job_adds():
    rendered = Renderer(
        spec(
            prompt="Say {text}",
            system="Be brief, é",
            body={"max_tokens": 9, "response_format": {"type": "json_object", "x": "é"}},
        )
    ).render(Record(1, {"text": 'a "b"\n'}))
    assert rendered.body == (
        b'{"model":"kimi-k2.6","messages":[{"role":"system","content":"Be brief, \\u00e9"},'
        b'{"role":"user","content":"Say a \\"b\\"\\n"}],'
        b'"max_tokens":9,"response_format":{"type":"json_object","x":"\\u00e9"}}'
    )
    assert rendered.model == "kimi-k2.6"
    assert rendered.max_out == 9


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("{a}", "1"),
        ("{{{a}}}", "{1}"),
        ('{{"label": "{a}"}}', '{"label": "1"}'),
        ("{{literal}} {b}", "{literal} x"),
        ("100 % of {a} %s %d %(a)s", "100 % of 1 %s %d %(a)s"),
        ("{a}{b}{a}", "1x1"),
        ("{two words}|{d.o:t!s[0]}", "w|odd"),
        ("none: {n}, list: {l}, yes: {t}", 'none: , list: [1,"é",null], yes: true'),
        ("{big} {half}", "12345678901234567890123 0.5"),
        ("no placeholder", "no placeholder"),
        ("", ""),
    ],
)
def test_placeholders_take_the_value_of_their_column(prompt, text):
    data = {"a": 1, "b": "x", "two words": "w", "d.o:t!s[0]": "odd", "n": None}
    data |= {"l": [1, "é", None], "t": True, "big": 12345678901234567890123, "half": 0.5}
    assert user(data, list(data), prompt=prompt) == text


@pytest.mark.parametrize(
    ("prompt", "message", "hint"),
    [
        ("Say {txet}", 'names the column "txet" at character 5', "did you mean {text}?"),
        ("{zzz}", 'the column "zzz" at character 1', "the source has id, text"),
        ("{text!r}", 'the column "text!r"', "write {text}: a placeholder is a column's plain name"),
        ("{ text }", 'the column " text "', "write {text}"),
        ("{text.upper}", 'the column "text.upper"', "write {text}"),
        ("{}", 'the column ""', "write {{ and }}"),
        ('{"a": 1}', 'the column ""a": 1"', "write {{ and }} for literal braces"),
        ("a { b", 'a single "{" at character 3', "write {{ and }}"),
        ("a } b", 'a single "}" at character 3', "write {{ and }}"),
        ("Say {{ text }}", 'has "{{ text }}" at character 5, which is Jinja', "--template"),
        ("Say {{text}}", 'has "{{text}}" at character 5, which is Jinja', "write {text}"),
        ("{% if text %}", 'has "{%" at character 1, which is Jinja', "--template"),
    ],
)
def test_a_wrong_prompt_is_refused_before_any_record(prompt, message, hint):
    with pytest.raises(TemplateError) as caught:
        Renderer(spec(prompt=prompt), ["id", "text"])
    assert message in caught.value.message
    assert hint in caught.value.next
    assert (caught.value.code, caught.value.exit_code) == ("ORC2101", 65)


def test_a_wrong_placeholder_in_the_system_text_is_refused_too():
    with pytest.raises(TemplateError, match='the system text names the column "who"'):
        Renderer(spec(prompt="{text}", system="You serve {who}"), ["text"])


def test_a_job_without_prompt_and_template_is_refused():
    with pytest.raises(TemplateError, match="neither prompt nor template"):
        Renderer(spec(), ["text"])


@pytest.mark.parametrize("changes", [{"prompt": "{a} {text}"}, {"template": "{{ a }} {{ text }}"}])
def test_a_column_that_a_record_lacks_is_named(changes):
    renderer = Renderer(spec(**changes))
    with pytest.raises(TemplateError, match="text") as caught:
        renderer.render(Record(17, {"a": "secret words"}))
    assert caught.value.code == "ORC2102"
    assert "secret" not in str(caught.value)


def test_templates_speak_jinja_and_write_values_like_prompts_do():
    data = {"a": None, "b": [1, "é"], "c": True, "d": "<b>&", "e": {"k": 1}, "big": 10**22}
    template = (
        "{{ a }}|{{ b }}|{{ c }}|{{ d }}|{{ e.k }}|{{ big }}{% if x is defined %}!{% endif %}"
    )
    assert user(data, template=template) == f'|[1,"é"]|true|<b>&|1|{10**22}'


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ a", "the template does not compile: unexpected end of input"),
        ("{% for x in y %}", "the template does not compile"),
    ],
)
def test_a_template_that_does_not_compile_is_refused_before_any_record(template, message):
    with pytest.raises(TemplateError, match=message) as caught:
        Renderer(spec(template=template))
    assert caught.value.where == "template line 1"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ a.b.c }}", "`a.b` is undefined"),
        ("{{ 1 / 0 }}", "unable to calculate 1 / 0"),
        ("{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}", "fuel"),
        ("\n{% include 'other' %}", "fails at its line 2: tried to include"),
    ],
)
def test_a_template_that_fails_on_a_record_says_why(template, message):
    with pytest.raises(TemplateError, match=message):
        Renderer(spec(template=template)).render(Record(1, {"a": {}}))


def test_a_system_template_is_rendered_for_each_record():
    rendered = body({"a": "x", "b": "y"}, template="{{ a }}", system="for {{ b }}")
    assert [message["content"] for message in rendered["messages"]] == ["for y", "x"]


def test_values_of_typed_sources_are_written_without_quotes():
    assert as_text(datetime.date(2026, 1, 2)) == "2026-01-02"
    assert as_text(decimal.Decimal("1.50")) == "1.50"
    with pytest.raises(TemplateError, match="can't be written as text"):
        user({"text": object()}, prompt="{text}")


def test_a_ready_body_keeps_its_order_its_numbers_and_its_escapes():
    raw = (
        '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": { "z" : 1.10,'
        ' "model": "kimi-k2.6",\t"n": 12345678901234567890123,'
        ' "s": "\\u00e9\\/ é \\\\é \\"é\\" 😀"}}'
    ).encode()
    record = Record(1, msgspec.json.decode(raw), raw)
    rendered = Renderer(spec(lines=True)).render(record)
    assert rendered.body == (
        b'{"z":1.10,"model":"kimi-k2.6","n":12345678901234567890123,'
        b'"s":"\\u00e9\\/ \\u00e9 \\\\\\u00e9 \\"\\u00e9\\" \\ud83d\\ude00"}'
    )
    assert rendered.model == "kimi-k2.6"


def test_a_batch_line_is_compact_and_always_the_same():
    line = batch_line('a"b', "/v1/chat/completions", b'{"model":"m"}')
    assert line == (
        b'{"custom_id":"a\\"b","method":"POST","url":"/v1/chat/completions","body":{"model":"m"}}\n'
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text('aé\\"\u2028😀'), inner),
)


@settings(deadline=None)
@given(st.text())
def test_any_text_survives_the_escapes_even_half_a_surrogate_pair(text):
    escaped = text_json(text)
    assert escaped.isascii()
    assert json.loads(escaped) == text


@settings(deadline=None)
@given(JSON)
def test_any_json_survives_the_escapes(value):
    escaped = ascii_json(msgspec.json.encode(value))
    assert escaped.isascii()
    assert json.loads(escaped) == value


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_can_break_a_line(text):
    rendered = Renderer(spec(prompt="{text}")).render(Record(1, {"text": text}))
    line = batch_line("k", "/v1/chat/completions", rendered.body)
    assert line.decode().splitlines(keepends=True) == [line.decode()]
    assert json.loads(line)["body"]["messages"][0]["content"] == text
