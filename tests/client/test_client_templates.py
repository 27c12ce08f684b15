"""Templates in files, as Python takes them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from client.conftest import a_spec

from orchestrator.domain.errors import PlanChanged

JUDGE = """
model = "kimi-k2.7-code"
system = "Terse."
user = "Verdict on {{ text }}?"
[body]
max_tokens = 9
stop = "x"
[answer.schema]
type = "object"
"""


def test_a_template_in_toml_says_what_python_does_not(lite, home):
    (home / "judge.toml").write_text(JUDGE)
    spec = a_spec(prompt=None, template=Path("judge.toml"), system="Kind.", body={"stop": "y"})
    body = msgspec.json.decode(lite.plan(spec, show=1).planned.samples[0].body)
    assert [message["content"] for message in body["messages"]] == [
        "Kind.",
        "Verdict on it is number 0?",
    ]
    assert (body["model"], body["max_tokens"], body["stop"]) == ("kimi-k2.7-code", 9, "y")
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_pictures_of_rows_in_memory_lie_below_the_current_folder(lite, home):
    (home / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(8))
    rows = [{"id": 1, "text": "it", "shot": "a.png"}, {"id": 2, "text": "it", "shot": None}]
    plan = lite.plan(a_spec(source=rows, images=["shot"]), show=2)
    first, second = (msgspec.json.decode(sample.body) for sample in plan.planned.samples)
    assert first["messages"][0]["content"][1]["type"] == "image_url"
    assert isinstance(second["messages"][0]["content"], str)


def test_a_plan_is_refused_when_its_template_has_changed(lite, home):
    (home / "judge.toml").write_text(JUDGE)
    plan = lite.plan(a_spec(prompt=None, template=Path("judge.toml")))
    (home / "judge.toml").write_text(JUDGE.replace("Terse", "Kind"))
    with pytest.raises(PlanChanged, match=r"judge\.toml"):
        lite.submit(plan)
