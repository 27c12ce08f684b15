"""Rendering and checking, one record at a time, against what most people write.

    python bench/answers.py                       100,000 records of 1 KB

Ours and the plain way run in turns in one process; prints thousands a second of processor time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import jsonschema

from orchestrator.domain.answers import Checker
from orchestrator.domain.intake import Record
from orchestrator.domain.rendering import Renderer
from orchestrator.domain.spec import Answer, JobSpec

PROMPT = "Say one word about {text}"
SCHEMA = {
    "type": "object",
    "properties": {
        "label": {"enum": ["good", "bad"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "why": {"type": "string"},
    },
    "required": ["label", "score"],
}
ANSWER = json.dumps({"label": "good", "score": 0.5, "why": "because it is so " * 8})
RECORD = Record(1, {"id": "r1", "text": "word " * 200})


def main() -> None:
    """Measure each pair and print the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("records", nargs="?", type=int, default=100_000)
    count = parser.parse_args().records
    check = Checker(Answer(schema=SCHEMA)).check
    theirs = jsonschema.Draft202012Validator(SCHEMA)
    for what, ours, plain in (
        ("a prompt with placeholders", rendered(prompt=PROMPT), by_hand),
        (
            "a template in Jinja syntax",
            rendered(template=PROMPT.replace("{text}", "{{ text }}")),
            by_hand,
        ),
        (
            "an answer that is JSON",
            lambda: check(ANSWER),
            lambda: theirs.validate(json.loads(ANSWER)),
        ),
        (
            "an answer in a fence",
            lambda: check(f"Here:\n```json\n{ANSWER}\n```"),
            lambda: theirs.validate(json.loads(ANSWER)),
        ),
    ):
        mine, other = rate(ours, count), rate(plain, count // 10)
        ratio = f"plain {other / 1000:>6,.0f} k/s   {mine / other:>5.1f} x"
        print(f"{what:<28}{mine / 1000:>8,.0f} k/s   {ratio}")


def rendered(**how: str) -> Callable[[], object]:
    spec = JobSpec(name="j", source="x", provider="sandbox", model="kimi-k2.6", **how)
    render = Renderer(spec, ["id", "text"]).render
    return lambda: render(RECORD)


def by_hand() -> str:
    """Make the body as a loop of one's own does."""
    message = {"role": "user", "content": PROMPT.format(**RECORD.data)}
    return json.dumps({"model": "kimi-k2.6", "messages": [message]})


def rate(work: Callable[[], object], count: int) -> float:
    """Return how often `work` is done in a second of processor time, the best of three runs."""
    best = 0.0
    for _ in range(3):
        began = time.process_time()
        for _ in range(count // 3):
            work()
        best = max(best, (count // 3) / (time.process_time() - began))
    return best


if __name__ == "__main__":
    main()
