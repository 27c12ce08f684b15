"""Requests beyond a plain prompt: pictures, fields from columns, answers asked for by a schema."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
import os
from pathlib import Path

import msgspec
import pytest

from orchestrator.domain.errors import TemplateError
from orchestrator.domain.intake import Record
from orchestrator.domain.rendering import Renderer
from orchestrator.domain.rules import job_violations
from orchestrator.domain.spec import Answer, JobSpec
from orchestrator.engine.pictures import PictureFolder, folder_of
from orchestrator.provider.profiles import load_profile

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
KIMI, OPENAI = load_profile("kimi"), load_profile("openai")
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}


def spec(**changes):
    values = {"name": "j", "source": "x.jsonl", "provider": "kimi", "model": "kimi-k2.6"}
    return JobSpec(**(values | {"template": "See {{ text }}"} | changes))


def render(data, profile=KIMI, columns=None, folder=None, raw=b"", **changes):
    load = {"load": PictureFolder(folder, 1_000).load} if folder else {}
    renderer = Renderer(spec(**changes), columns, profile=profile, **load)
    return renderer.render(Record(1, {"text": "it", **data}, raw))


def body(*args, **changes):
    return json.loads(render(*args, **changes).body)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "a b.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    return tmp_path / "shots"


def test_a_picture_stands_behind_the_text_as_a_data_url(folder):
    content = body({"shot": "a b.png"}, folder=folder, images=("shot",))["messages"][0]["content"]
    assert content[0] == {"type": "text", "text": "See it"}
    url = content[1]["image_url"]["url"]
    assert url == "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert content[1]["type"] == "image_url"


@pytest.mark.parametrize("value", [None, "", []])
def test_a_record_without_a_picture_is_plain_text(folder, value):
    messages = body({"shot": value}, folder=folder, images=("shot",))["messages"]
    assert messages == [{"role": "user", "content": "See it"}]


def test_several_pictures_keep_their_order(folder):
    data = {"one": ["ms://file-1", "a b.png"], "two": "data:image/png;base64,AA=="}
    content = body(data, folder=folder, images=("two", "one"))["messages"][0]["content"]
    urls = [part["image_url"]["url"][:16] for part in content[1:]]
    assert urls == ["data:image/png;b", "ms://file-1", "data:image/png;b"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("none.png", "no such file"),
        ("../secret.png", "is not below"),
        ("/etc/hostname", "is not below"),
        ("file:///etc/hostname", "is not below"),
        ("sub/../../secret.png", "is not below"),
        (".", "is a directory"),
        ("pipe", "is no file"),
        ("large.png", "has 2,000 bytes; one line holds a picture of at most 1,000"),
        ("words.png", "it is no PNG"),
        ("a\0b", "can't be read"),
        (17, "neither a path nor a URL"),
        ("https://example.com/a.png", "takes no https: address, only data, ms"),
        ("ftp://example.com/a.png", "takes no ftp: address"),
    ],
)
def test_what_is_no_picture_is_told_with_its_column(folder, path, why):
    (folder / "large.png").write_bytes(bytes(2_000))
    (folder / "words.png").write_text("root:x:0:0")
    os.mkfifo(folder / "pipe")
    with pytest.raises(TemplateError) as caught:
        render({"shot": path}, folder=folder, images=("shot",))
    assert caught.value.code == "ORC2111"
    assert 'the picture of column "shot"' in caught.value.message
    assert why in caught.value.message


def test_a_link_in_the_folder_is_the_users_own_word(folder):
    (folder / "elsewhere").symlink_to(folder.parent)
    assert render({"shot": "elsewhere/secret.png"}, folder=folder, images=("shot",)).body


def test_addresses_on_the_web_pass_where_the_provider_takes_them():
    data = {"shot": "HTTPS://example.com/a.png"}
    content = body(data, OPENAI, images=("shot",), model="m")["messages"][0]["content"]
    assert content[1]["image_url"]["url"] == data["shot"]


def test_paths_start_where_the_source_lies(tmp_path):
    (tmp_path / "in").mkdir()
    assert folder_of(str(tmp_path / "in" / "x.csv")) == tmp_path / "in"
    assert folder_of(str(tmp_path / "in" / "*.csv")) == tmp_path / "in"
    assert folder_of(str(tmp_path / "*" / "x.csv")) == tmp_path
    for other in ("sql:shop", "job:first", "s3://bucket/x.csv"):
        assert folder_of(other) == Path.cwd()


def test_a_column_of_pictures_that_is_not_there_is_refused_before_any_record():
    with pytest.raises(TemplateError) as caught:
        Renderer(spec(images=("shto",)), ["text", "shot"], profile=KIMI)
    assert caught.value.code == "ORC2111"
    assert 'did you mean "shot"?' in caught.value.next


def test_fields_come_from_columns_where_these_are_not_null():
    overrides = {"max_tokens": "room", "thinking.type": "mind", "model": "which"}
    given = {"max_tokens": 9, "thinking": {"type": "enabled", "keep": "all"}}
    data = {"room": 5, "mind": "disabled", "which": "kimi-k2.7-code"}
    made = body(data, overrides=overrides, body=given)
    assert made["max_tokens"] == 5
    assert made["thinking"] == {"type": "disabled", "keep": "all"}
    assert made["model"] == "kimi-k2.7-code"
    assert given["thinking"]["type"] == "enabled"
    rendered = render({"room": None}, overrides=overrides, body=given)
    assert (rendered.model, rendered.max_out) == ("kimi-k2.6", 9)
    assert json.loads(rendered.body)["thinking"] == given["thinking"]


@pytest.mark.parametrize(
    ("value", "raw", "found"),
    [("5", b"", 5), ("5", b"{}", "5"), ("true", b"", True), ("high", b"", "high"), ("", b"", None)],
)
def test_text_is_json_only_where_the_source_has_no_types(value, raw, found):
    made = body({"x": value}, raw=raw, overrides={"stop": "x"})
    assert made.get("stop") == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (decimal.Decimal("0.70"), 0.7),
        (decimal.Decimal("5.00"), 5),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ([1, None], [1, None]),
    ],
)
def test_values_of_typed_sources_become_those_of_json(value, found):
    made = body({"x": value}, overrides={"stop": "x"})["stop"]
    assert (made, type(made)) == (found, type(found))


@pytest.mark.parametrize(
    ("overrides", "code", "hint"),
    [
        ({"max_tokens": "rom"}, "ORC2112", 'did you mean "room"?'),
        ({"messages": "room"}, "ORC2112", "--override"),
        ({"model.x": "room"}, "ORC2112", "--override"),
        ({"a..b": "room"}, "ORC2112", "--override"),
    ],
)
def test_a_wrong_override_is_refused_before_any_record(overrides, code, hint):
    with pytest.raises(TemplateError) as caught:
        Renderer(spec(overrides=overrides), ["text", "room"], profile=KIMI)
    assert caught.value.code == code
    assert hint in caught.value.next


def test_a_record_may_name_no_model_that_is_not_for_batches():
    overrides = {"model": "which"}
    for which, why in (("kimi-k3", "not offered in batches"), ("kimi-k2.8", "has no model")):
        with pytest.raises(TemplateError, match=why) as caught:
            render({"which": which}, overrides=overrides)
        assert caught.value.code == "ORC2015"
    with pytest.raises(TemplateError, match="names no model"):
        render({}, overrides=overrides, model=None)


def test_a_field_that_the_model_refuses_is_refused_from_a_column_too():
    broken = job_violations(spec(overrides={"temperature": "t"}), KIMI)
    assert [found.code for found in broken] == ["ORC2016"]


def test_a_schema_goes_to_the_provider_where_it_knows_schemas():
    form = body({}, answer=Answer(schema=SCHEMA))["response_format"]
    expected = {"name": "answer", "schema": SCHEMA, "strict": False}
    assert form == {"type": "json_schema", "json_schema": expected}
    closed = {**SCHEMA, "additionalProperties": False}
    form = body({}, answer=Answer(schema=closed, name="verdict"))["response_format"]
    assert form["json_schema"]["strict"] is True
    assert form["json_schema"]["name"] == "verdict"


@pytest.mark.parametrize("known", ["json_object", "text"])
def test_else_the_system_text_tells_the_schema(known):
    quirks = msgspec.structs.replace(KIMI.quirks, response_format=known)
    profile = msgspec.structs.replace(KIMI, quirks=quirks)
    made = body({}, profile, answer=Answer(schema=SCHEMA), system="You judge {{ text }}.")
    assert made.get("response_format") == ({"type": known} if known != "text" else None)
    told = made["messages"][0]["content"]
    assert told.startswith("You judge it.\n\nAnswer with nothing but JSON")
    assert json.dumps(SCHEMA, separators=(",", ":")) in told
    alone = body({}, profile, answer=Answer(schema=SCHEMA))["messages"][0]
    assert alone["role"] == "system"


def test_native_decides_over_the_profile_and_a_field_of_the_users_own_over_both():
    made = body({}, answer=Answer(schema=SCHEMA, native=False))
    assert made["response_format"] == {"type": "json_object"}
    own = {"response_format": {"type": "text"}}
    made = body({}, answer=Answer(schema=SCHEMA), body=own)
    assert made["response_format"] == {"type": "text"}
    assert len(made["messages"]) == 1


def test_a_schema_that_is_none_is_refused_before_any_record():
    with pytest.raises(TemplateError) as caught:
        Renderer(spec(answer=Answer(schema={"type": "objekt"})), profile=KIMI)
    assert caught.value.code == "ORC2110"


@pytest.mark.parametrize("name", ["", "two words", "x" * 65])
def test_an_answer_is_called_as_providers_take_it(name):
    broken = job_violations(spec(answer=Answer(schema=SCHEMA, name=name)), KIMI)
    assert [found.code for found in broken] == ["ORC2022"]


def test_a_schema_that_kimi_may_refuse_is_told_in_words_unless_native_is_said():
    odd = {**SCHEMA, "properties": {"label": {"type": "string", "pattern": "^a"}}}
    made = body({}, answer=Answer(schema=odd))
    assert made["response_format"] == {"type": "json_object"}
    assert "pattern" in made["messages"][0]["content"]
    assert body({}, answer=Answer(schema=odd, native=True))["response_format"]["json_schema"]
    form = body({}, OPENAI, model="m", answer=Answer(schema=odd))["response_format"]
    assert form["json_schema"]["schema"] == odd


def test_the_draft_of_a_schema_is_not_the_providers_business():
    draft = {"$schema": "http://json-schema.org/draft-07/schema#"}
    form = body({}, answer=Answer(schema={**draft, **SCHEMA}))["response_format"]
    assert form["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ txet }}", '`txet` is undefined; did you mean "text"?'),
        ("a\n{% if txet %}x{% endif %}", 'its line 2: `txet` is undefined; did you mean "text"?'),
        ("{{ zzz }}", "`zzz` is undefined; the columns are text"),
        ("{{ row.nope }}", "`row.nope` is undefined"),
    ],
)
def test_an_undefined_name_is_told_with_the_column_that_may_be_meant(template, words):
    with pytest.raises(TemplateError) as caught:
        render({"row": {"a": 1}}, template=template)
    assert words in caught.value.message


def test_a_column_whose_name_is_no_word_is_reached_through_the_record():
    made = body({"two words": "both"}, template='{{ record["two words"] }} of {{ text }}')
    assert made["messages"][0]["content"] == "both of it"
    own = body({"record": "mine"}, template="{{ record }}", columns=["text", "record"])
    assert own["messages"][0]["content"] == "mine"


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ text.__class__.__mro__ }}",
        "{{ row.__class__ }}",
        "{{ row.get.__self__ }}",
        "{{ row.keys.__globals__ }}",
        "{{ day.replace(year=1) }}",
        "{{ price.as_tuple() }}",
        "{{ self }}",
        "{{ lipsum() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os }}",
        "{% extends 'base' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ 'x' * 1000000000 }}",
        "{{ range(10 ** 10) | join }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
    ],
)
def test_a_template_reaches_nothing_but_its_record(template):
    data = {"row": {"a": 1}, "day": datetime.date(2026, 1, 2), "price": decimal.Decimal("1.50")}
    with pytest.raises(TemplateError) as caught:
        render(data, template=template)
    assert caught.value.code == "ORC2102"


def test_a_template_changes_no_record():
    data = {"row": {"a": [1]}}
    render(data, template="{{ row.a.append(2) }}{{ row.clear() }}")
    assert data == {"row": {"a": [1]}}
