"""Template files: what they say of a job, and how a wrong one is told."""

from __future__ import annotations

import json

import pytest

from orchestrator.domain.errors import NotFound, TemplateError
from orchestrator.domain.spec import Answer, JobSpec
from orchestrator.settings.templates import changed_since, laid_over, read_answer, read_template

WHOLE = '''
model = "kimi-k2.6"
system = "You judge {{ product }}."
user = """
{{ text }}
Verdict?"""
images = ["photo"]
tool_choice = "auto"
tools = [{ type = "function", function = { name = "look" } }]

[answer]
schema = "verdict.json"
name = "verdict"
repair = false

[body]
max_completion_tokens = 64
thinking = { type = "disabled" }

[overrides]
max_completion_tokens = "room"
thinking.type = "mind"
'''
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "verdict.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "judge.toml").write_text(WHOLE)
    return tmp_path


def read(path):
    return read_template(path, help_line="check it")


def test_a_template_holds_all_of_a_request(folder):
    found = read(folder / "judge.toml")
    bare = JobSpec(name="j", source="x", provider="kimi", body={"stop": "x", "tool_choice": "none"})
    spec = laid_over(bare, found.changes)
    assert spec.template == "{{ text }}\nVerdict?"
    assert (spec.model, spec.system) == ("kimi-k2.6", "You judge {{ product }}.")
    assert spec.images == ("photo",)
    assert spec.answer == Answer(schema=SCHEMA, name="verdict", repair=False)
    assert spec.overrides == {"max_completion_tokens": "room", "thinking.type": "mind"}
    assert spec.body == {
        "stop": "x",
        "tool_choice": "auto",
        "tools": [{"type": "function", "function": {"name": "look"}}],
        "max_completion_tokens": 64,
        "thinking": {"type": "disabled"},
    }


def test_every_file_it_was_read_from_is_known_and_watched(folder):
    files = read(folder / "judge.toml").files
    assert set(files) == {str(folder / "judge.toml"), str(folder / "verdict.json")}
    assert changed_since(files) == ""
    (folder / "verdict.json").write_text(json.dumps({**SCHEMA, "required": ["label"]}))
    assert changed_since(files) == str(folder / "verdict.json")
    (folder / "judge.toml").unlink()
    assert changed_since(files) == str(folder / "judge.toml")


def test_a_schema_may_stand_in_the_template_itself(folder):
    text = 'user = "x"\n[answer.schema]\ntype = "object"\n[answer.schema.properties]\na = {}\n'
    (folder / "inline.toml").write_text(text)
    found = read(folder / "inline.toml")
    assert found.changes["answer"].schema == {"type": "object", "properties": {"a": {}}}
    assert len(found.files) == 1


def test_any_other_ending_is_a_prompt_in_jinja_syntax(folder):
    (folder / "ask.j2").write_text("\ufeffSay {{ text }}", encoding="utf-8")
    assert read(folder / "ask.j2").changes == {"template": "Say {{ text }}"}


@pytest.mark.parametrize(
    ("text", "why", "hint"),
    [
        ("user = ", "Invalid value", ""),
        ('usr = "x"', 'an unknown key "usr"', 'did you mean "user"?'),
        ('user = "x"\nzzzz = 1', 'an unknown key "zzzz"', "its keys are user"),
        ('system = "x"', "missing required field `user`", ""),
        ("user = 3", "Expected `str`", ""),
        ('user = "x"\ntools = "look"', "$.tools", ""),
        ('user = "x"\n[answer]\nname = "x"', "missing required field `schema`", ""),
        ('user = "x"\n[answer]\nschema = "verdict.json"\nstrict = true', "`strict`", ""),
        ('user = "x"\n[overrides]\na.b = 3', "overrides.a.b takes the name of a column", ""),
    ],
)
def test_toml_that_is_no_template_is_refused_with_the_reason(folder, text, why, hint):
    (folder / "bad.toml").write_text(text)
    with pytest.raises(TemplateError) as caught:
        read(folder / "bad.toml")
    assert (caught.value.code, caught.value.exit_code) == ("ORC2105", 65)
    assert why in caught.value.why
    assert hint in caught.value.next


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'"x"', b" " * 1_000_001])
def test_a_schema_file_that_holds_no_object_is_refused(folder, content):
    (folder / "verdict.json").write_bytes(content)
    with pytest.raises(TemplateError) as caught:
        read(folder / "judge.toml")
    assert caught.value.code == "ORC2106"
    assert caught.value.where == str(folder / "verdict.json")


def test_files_that_are_not_there_are_told_apart(folder):
    with pytest.raises(NotFound) as caught:
        read(folder / "none.toml")
    assert caught.value.code == "ORC2104"
    with pytest.raises(NotFound) as caught:
        read_answer(folder / "none.json")
    assert caught.value.code == "ORC2106"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 1_000_001])
def test_a_template_that_can_not_be_read_says_why(folder, content):
    (folder / "ask.j2").write_bytes(content)
    with pytest.raises(TemplateError) as caught:
        read(folder / "ask.j2")
    assert caught.value.code == "ORC2103"
