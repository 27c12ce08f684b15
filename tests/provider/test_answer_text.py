"""The text of an answer, whatever shape it came in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.provider.answer_text import answer_text, answer_texts


def completion(message):
    return json.dumps({"choices": [{"index": 0, "message": message}]})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (completion({"role": "assistant", "content": "yes"}), "yes"),
        (completion({"content": [{"type": "text", "text": "a"}, {"text": "b"}]}), "ab"),
        (completion({"content": None}), ""),
        (completion({"content": ""}), ""),
        (
            completion({"content": None, "tool_calls": [{"id": "t"}]}),
            '{"content": null, "tool_calls": [{"id": "t"}]}',
        ),
        ('{"output":[{"content":[{"text":"r"}]}]}', "r"),
        ('{"data":[{"embedding":[1.50]}]}', '{"data":[{"embedding":[1.50]}]}'),
        ("not json", "not json"),
        ("[]", "[]"),
        ('{"choices":[]}', ""),
        ('{"choices":[{"message":{"content":"cut \\ud83d"}}]}', "cut \ufffd"),
    ],
)
def test_the_text_of_an_answer_is_found_in_every_shape(body, text):
    together = answer_texts(f"[{completion({'content': 'usual'})},null,{body}]")
    assert (
        together is None if text in {"not json", "cut \ufffd"} else together[::2] == ["usual", text]
    )
    assert answer_text(body) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_text_of_an_answer_never_raises(body):
    assert isinstance(answer_text(body), str)
