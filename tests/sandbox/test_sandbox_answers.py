"""What the model says, and how output and error files are written."""

import json
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_kit import Kit

from orchestrator.sandbox.answers import Message, complete, say
from orchestrator.sandbox.draws import Draws
from orchestrator.sandbox.lines import Order, decode_line
from orchestrator.sandbox.temper import Bounds, Lines, Quirks, Temper


def said(prompt: str, draw: int = 0, system: str = "", response_format: object = None) -> str:
    messages = [Message(system), Message(prompt)] if system else [Message(prompt)]
    wanted = b"" if response_format is None else msgspec.json.encode(response_format)
    return say(messages, wanted, draw)


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("Answer with one of: red, green or blue. Text: x", {"red", "green", "blue"}),
        ('Reply "spam" or "ham": buy now', {"spam", "ham"}),
        ("Pick a label [low, mid, high] for this", {"low", "mid", "high"}),
        ("Is it so? (yes/no)", {"yes", "no"}),
        ("Answer yes or no.", {"yes", "no"}),
        ("Categories: A, B, C\nText: hello", {"A", "B", "C"}),
        ("Rate this from 1 to 5.", {"1", "2", "3", "4", "5"}),
        ("Capital of France, in one word please", {"capital", "word", "please"}),
    ],
)
def test_the_answer_is_one_of_the_options_and_each_comes_up(prompt, options):
    assert {said(prompt, draw) for draw in range(100)} == options


def test_options_in_the_system_message_win():
    system = "Classify. Answer with one of: good, bad"
    assert said("Which colour, 'red' or 'blue'?", 0, system) in {"good", "bad"}


def test_a_free_prompt_is_answered_with_a_sentence_of_its_words():
    text = said("Summarise: winter storms closed several mountain passes", 12345)
    assert text.startswith("In short, ")
    assert text.endswith(".")
    assert {"winter", "storms", "closed", "several", "mountain", "passes"} & set(text.split())


def test_parts_are_read_like_text_and_odd_content_is_survived(kit):
    def answer(messages: list) -> str:
        line = kit.line("a", body={"messages": messages})
        raw = msgspec.json.encode(line)
        return complete(decode_line(raw), raw, b"k", 1).choices[0].message.content

    parts = [{"type": "image_url"}, {"type": "text", "text": "Answer true or false"}]
    assert answer([{"role": "user", "content": parts}]) in {"true", "false"}
    assert answer([1, 2])
    assert answer([{"role": "user"}])


def test_a_json_object_has_the_keys_that_the_prompt_shows():
    text = said('Return {"mood": ..., "topic": ...}', 5, response_format={"type": "json_object"})
    assert set(json.loads(text)) == {"mood", "topic"}
    assert set(json.loads(said("As JSON", 1, response_format={"type": "json_object"}))) == {
        "answer"
    }


def test_a_json_schema_gets_an_instance_of_itself():
    schema = {
        "type": "object",
        "properties": {
            "label": {"enum": ["a", "b"]},
            "score": {"type": "integer", "minimum": 3, "maximum": 4},
            "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 3},
            "tags": {"type": "array", "items": {"type": "string", "minLength": 9}, "minItems": 2},
            "when": {"type": "string", "format": "date"},
            "code": {"type": "string", "maxLength": 2},
            "sure": {"type": "boolean"},
            "none": {"type": ["null", "string"]},
            "kind": {"const": 7},
            "either": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/leaf"}]},
            "both": {"allOf": [{"properties": {"x": {"type": "integer"}}}]},
            "tree": {"$ref": "#/$defs/tree"},
        },
        "required": ["label"],
        "$defs": {
            "leaf": {"const": "leaf"},
            "tree": {
                "type": "object",
                "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
                "required": [],
            },
        },
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    for draw in range(50):
        made = json.loads(said("x", draw * 7919, response_format=wanted))
        assert set(made) == set(schema["properties"])
        assert made["label"] in {"a", "b"}
        assert made["score"] in {3, 4}
        assert made["share"] in {1, 2}
        assert len(made["tags"]) == 2
        assert all(len(tag) >= 9 for tag in made["tags"])
        assert made["when"] == "2026-01-01"
        assert len(made["code"]) <= 2
        assert made["sure"] in {True, False}
        assert (made["none"], made["kind"]) == (None, 7)
        assert made["either"] in {None, "leaf"}
        assert isinstance(made["both"]["x"], int)


def test_an_output_line_has_the_documented_shape(kit):
    ended = kit.finish(kit.batch_of([kit.line("r-1")]))
    (line,) = kit.lines(ended["output_file_id"])
    assert (line["id"], line["custom_id"], line["error"]) == ("r-1", "r-1", None)
    response = line["response"]
    assert (response["status_code"], response["request_id"]) == (200, "")
    body = response["body"]
    assert (body["object"], body["model"]) == ("chat.completion", "kimi-k2.6")
    assert ended["in_progress_at"] <= body["created"] <= ended["completed_at"]
    (choice,) = body["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["reasoning_content"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 <= usage["cached_tokens"] <= usage["prompt_tokens"]


@pytest.mark.parametrize(
    ("body", "thinks"),
    [
        ({}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": 1}, False),
        ({"model": "kimi-k2.7-code", "thinking": {"type": "disabled"}}, True),
        ({"model": "other"}, False),
    ],
)
def test_reasoning_stands_in_the_answers_of_thinking_models(make_kit, body, thinks):
    kit = make_kit(Temper(limits=Bounds(models=())))
    ended = kit.finish(kit.batch_of([kit.line("r-1", body=body)]))
    (line,) = kit.lines(ended["output_file_id"])
    message = line["response"]["body"]["choices"][0]["message"]
    assert ("reasoning_content" in message) is thinks


@pytest.mark.parametrize("word", ["max_tokens", "max_completion_tokens"])
def test_an_answer_longer_than_allowed_is_cut_and_says_so(kit, word):
    prompt = [{"role": "user", "content": "Describe winter storms over mountain passes"}]
    ended = kit.finish(kit.batch_of([kit.line("r-1", body={word: 2, "messages": prompt})]))
    (line,) = kit.lines(ended["output_file_id"])
    choice = line["response"]["body"]["choices"][0]
    assert choice["finish_reason"] == "length"
    assert len(choice["message"]["content"]) == 8


@given(total=st.integers(1, 400), name=st.text(max_size=5))
def test_the_running_order_is_a_permutation(total, name):
    order = Order(total, Draws(3), name)
    assert sorted(order[place] for place in range(total)) == list(range(total))


def test_output_order_differs_from_input_order_and_from_batch_to_batch(kit):
    file_id = kit.upload(50)
    orders = []
    for _ in range(2):
        ended = kit.finish(kit.create(file_id))
        orders.append([line["custom_id"] for line in kit.lines(ended["output_file_id"])])
    given_order = [f"r-{number}" for number in range(50)]
    assert orders[0] != given_order != orders[1] != orders[0]
    assert sorted(orders[0]) == sorted(orders[1]) == sorted(given_order)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_tells_the_same_story_byte_for_byte(make_kit, seed):
    bad = Temper(lines=Lines(overloaded=0.2, duplicated=0.2, garbage=0.2, content_filter=0.1))

    def story(seed):
        kit = make_kit(bad, seed=seed)
        ended = kit.finish(kit.create(kit.upload(40)))
        first = [kit.content(ended[f"{kind}_file_id"]) for kind in ("output", "error")]
        again = [kit.content(ended[f"{kind}_file_id"]) for kind in ("output", "error")]
        assert first == again
        return ended, first

    assert story(seed) == story(seed)
    assert story(seed) != story(seed + 10)


def ended_with(kit: Kit, count: int = 200) -> tuple[dict, list[bytes], list[dict]]:
    ended = kit.finish(kit.create(kit.upload(count)))
    output = ended["output_file_id"]
    return (
        ended,
        kit.content(output).splitlines() if output else [],
        kit.lines(ended["error_file_id"]),
    )


def test_a_share_of_lines_is_missing_without_a_trace_though_counted(make_kit):
    kit = make_kit(Temper(lines=Lines(missing=0.3)))
    ended, output, errors = ended_with(kit)
    assert ended["request_counts"] == {"total": 200, "completed": 200, "failed": 0}
    assert 100 < len(output) < 180
    assert errors == []
    assert sum(kit.sandbox.books().billed.values()) == len(output)


def test_duplicated_lines_are_billed_once(make_kit):
    kit = make_kit(Temper(lines=Lines(duplicated=0.3)))
    _, output, _ = ended_with(kit)
    assert len(output) > 220
    assert len(set(output)) == 200
    assert kit.sandbox.books().billed_twice() == {}


def test_garbage_stands_beside_good_answers(make_kit):
    kit = make_kit(Temper(lines=Lines(garbage=0.5)))
    _, output, _ = ended_with(kit)
    good = [line for line in output if b'"custom_id":"r-' in line]
    assert len(good) == len(set(good)) == 200
    assert len(set(output) - set(good)) >= 4


def test_a_mangled_answer_is_billed_all_the_same(make_kit):
    kit = make_kit(Temper(lines=Lines(mangled=1.0)))
    _, output, _ = ended_with(kit, 5)
    assert len(output) == 5
    for line in output:
        with pytest.raises(json.JSONDecodeError):
            json.loads(line)
    assert kit.sandbox.books().batches[0].billed == 5


def test_a_passing_failure_may_succeed_next_time_and_a_permanent_one_never(make_kit):
    kit = make_kit(Temper(lines=Lines(overloaded=0.3, server_error=0.2, content_filter=0.2)))
    seen: dict[str, list[int]] = {}
    for _ in range(6):
        _, output, errors = ended_with(kit, 100)
        for line in [*map(json.loads, output), *errors]:
            seen.setdefault(line["custom_id"], []).append(line["response"]["status_code"])
    assert all(len(codes) == 6 for codes in seen.values())
    kinds = Counter("400" if set(codes) == {400} else "other" for codes in seen.values())
    assert 5 < kinds["400"] < 40
    for codes in seen.values():
        assert set(codes) == {400} or 400 not in codes
    assert any({200, 429} <= set(codes) for codes in seen.values())
    assert any({200, 500} <= set(codes) for codes in seen.values())


@pytest.mark.parametrize("form", ["openai", "null_response", "no_response", "no_code", "mixed"])
def test_error_lines_come_in_every_form_that_was_seen(make_kit, form):
    kit = make_kit(Temper(lines=Lines(invalid=0.9), quirks=Quirks(error_line=form)))
    ended, _, errors = ended_with(kit, 40)
    assert len(errors) == ended["request_counts"]["failed"] > 20
    shapes = set()
    for line in errors:
        response, error = line.get("response"), line["error"]
        shapes.add((response is not None, "response" in line, bool(error and "code" in error)))
    expected = {
        "openai": {(True, True, False)},
        "null_response": {(False, True, True)},
        "no_response": {(False, False, True)},
        "no_code": {(False, False, False)},
    }
    assert shapes == (expected.get(form) or set().union(*expected.values()))


def test_failures_may_stand_in_the_output_file(make_kit):
    kit = make_kit(Temper(lines=Lines(invalid=0.5), quirks=Quirks(error_line="in_output")))
    ended, output, _ = ended_with(kit, 40)
    assert ended["error_file_id"] is None
    codes = Counter(json.loads(line)["response"]["status_code"] for line in output)
    assert codes[200] + codes[400] == 40
    assert codes[400] == ended["request_counts"]["failed"]


def test_a_batch_whose_every_line_failed_has_no_output_file(make_kit):
    kit = make_kit(Temper(lines=Lines(invalid=1.0)))
    ended, _, errors = ended_with(kit, 5)
    assert (ended["status"], ended["output_file_id"], len(errors)) == ("completed", None, 5)


def test_the_body_may_be_json_in_a_string(make_kit):
    kit = make_kit(Temper(quirks=Quirks(body_as_string=True)))
    _, output, _ = ended_with(kit, 1)
    body = json.loads(output[0])["response"]["body"]
    assert isinstance(body, str)
    assert json.loads(body)["object"] == "chat.completion"


def test_result_files_are_files_like_others(kit):
    ended, output, _ = ended_with(kit, 5)
    file_id = ended["output_file_id"]
    shown = kit.get(f"/files/{file_id}")
    assert shown["bytes"] == len(b"\n".join(output)) + 1
    assert shown["purpose"] == "batch_output"
    assert file_id in [file["id"] for file in kit.get("/files")["data"]]
    assert kit.http.delete(f"/files/{file_id}").json()["deleted"]
    assert kit.http.delete(f"/files/{file_id}").status_code == 404
    assert kit.http.get(f"/files/{file_id}/content").status_code == 404
    assert file_id not in [file["id"] for file in kit.get("/files")["data"]]
    assert kit.get(f"/batches/{ended['id']}")["output_file_id"] == file_id
