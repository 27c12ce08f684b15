"""Templates in TOML, pictures, overrides and schemas, as the command line takes them."""

from __future__ import annotations

import json

import pytest

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}},
    "required": ["label"],
    "additionalProperties": False,
}
JUDGE = 'user = "Verdict on {{ text }}?"\nsystem = "Terse."\n[answer]\nschema = "verdict.json"\n'
PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


@pytest.fixture
def reviews(offline):
    offline.folder.joinpath("reviews.csv").write_text("id,text,shot,room\n1,ok,a.png,9\n2,no,,\n")
    offline.folder.joinpath("verdict.json").write_text(json.dumps(SCHEMA))
    offline.folder.joinpath("judge.toml").write_text(JUDGE)
    offline.folder.joinpath("a.png").write_bytes(PNG)
    return offline


def samples(ran):
    return [sample["body"] for sample in ran.data()["samples"]]


def test_a_template_in_toml_brings_system_text_and_schema(reviews):
    ran = reviews.run("plan", "reviews.csv", "--template", "judge.toml", "--show", "1", "--json")
    (body,) = samples(ran)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == "Verdict on ok?"
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA


def test_flags_stand_before_what_the_template_says(reviews):
    flags = ("--system", "Kind.", "--model", "kimi-k2.7-code", "--set", "body.max_tokens=4")
    ran = reviews.run(
        "plan", "reviews.csv", "--template", "judge.toml", *flags, "--show", "1", "--json"
    )
    (body,) = samples(ran)
    assert body["messages"][0]["content"] == "Kind."
    assert (body["model"], body["max_tokens"]) == ("kimi-k2.7-code", 4)


def test_everything_can_be_said_with_flags_alone(reviews):
    flags = ("--image", "shot", "--override", "body.max_tokens=room", "--answer", "verdict.json")
    ran = reviews.run(
        "plan", "reviews.csv", "--prompt", "See {text}", *flags, "--show", "2", "--json"
    )
    first, second = samples(ran)
    assert first["messages"][0]["content"][1]["image_url"]["url"].startswith("data:image/png;")
    assert first["max_tokens"] == 9
    assert second["messages"][0]["content"] == "See no"
    assert "max_tokens" not in second
    assert "--image shot --answer verdict.json" in ran.data()["submit"].replace(
        "--override body.max_tokens=room ", ""
    )


def test_a_missing_picture_is_one_violation_with_its_line_and_column(reviews):
    (reviews.folder / "a.png").unlink()
    ran = reviews.run("plan", "reviews.csv", "--prompt", "See {text}", "--image", "shot")
    assert (ran.status, "[ORC2111]" in ran.err) == (65, True)
    assert 'line 2: the picture of column "shot" can\'t be used: "a.png"' in ran.err


def test_pictures_of_standard_input_lie_below_the_current_folder(reviews):
    records = '{"id": "1", "text": "ok", "shot": "a.png"}\n'
    flags = ("--prompt", "See {text}", "--image", "shot", "--show", "1", "--json")
    (body,) = samples(reviews.run("plan", "-", *flags, stdin=records))
    assert len(body["messages"][0]["content"]) == 2


def test_an_undefined_name_is_told_with_its_line(reviews):
    (reviews.folder / "judge.toml").write_text('user = "{{ txt }}"')
    ran = reviews.run("plan", "reviews.csv", "--template", "judge.toml")
    assert (ran.status, "[ORC2102]" in ran.err) == (65, True)
    assert 'line 2: the template fails at its line 1: `txt` is undefined; did you mean "text"?' in (
        ran.err
    )


@pytest.mark.parametrize("changed", ["judge.toml", "verdict.json", "a.png"])
def test_a_plan_is_refused_when_any_file_of_it_has_changed(reviews, changed):
    argv = ("reviews.csv", "--template", "judge.toml", "--image", "shot")
    assert reviews.run("plan", *argv, "-o", "plan.json").status == 0
    path = reviews.folder / changed
    before = path.read_bytes()
    path.write_bytes(before + (b"\n" if changed != "a.png" else bytes(8)))
    refused = reviews.run("submit", "--plan", "plan.json")
    assert (refused.status, "[ORC7003]" in refused.err) == (7, True)
    path.write_bytes(before)
    assert reviews.run("submit", "--plan", "plan.json").status == 0


def test_a_job_spec_says_the_same_and_stands_before_its_template(reviews):
    reviews.configure(
        """[jobs.judge]
source = "reviews.csv"
template = "judge.toml"
system = "Kind."
images = "shot"
overrides = { max_tokens = "room" }
answer = { schema = "verdict.json", repair = false, name = "verdict" }
"""
    )
    ran = reviews.run("plan", "judge", "--key", "id", "--show", "1", "--json")
    (body,) = samples(ran)
    assert body["messages"][0]["content"] == "Kind."
    assert len(body["messages"][1]["content"]) == 2
    assert body["max_tokens"] == 9
    assert body["response_format"]["json_schema"]["name"] == "verdict"


@pytest.mark.parametrize(
    ("argv", "status", "words"),
    [
        (("--override", "max_tokens=room"), 2, "not of the form body.NAME=COLUMN"),
        (("--override", "body.max_tokens=rom"), 65, 'did you mean "room"?'),
        (("--image", "sht"), 65, 'did you mean "shot"?'),
        (("--answer", "none.json"), 66, "[ORC2106]"),
        (("--answer", "reviews.csv"), 65, "[ORC2106]"),
        (("--template", "verdict.toml"), 66, "[ORC2104]"),
    ],
)
def test_a_wrong_flag_is_one_clear_message(reviews, argv, status, words):
    prompt = () if argv[0] == "--template" else ("--prompt", "{text}")
    ran = reviews.run("plan", "reviews.csv", *prompt, *argv)
    assert (ran.status, words in ran.err) == (status, True)
