import csv
import hashlib
import io
import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import SourceError, TemplateError
from orchestrator.domain.intake import Record
from orchestrator.domain.profile import Limits
from orchestrator.domain.rendering import batch_line
from orchestrator.domain.shape import Column, Shape
from orchestrator.engine import intake
from orchestrator.engine.repeats import Keys


def row(key, text="x"):
    return {"id": key, "text": text}


def reasons(result):
    return [(violation.position, violation.code) for violation in result.violations]


def test_a_clean_source_is_counted_and_handed_out_in_order(world):
    world.rows(row("a", "é"), row("b"), row("c")).job(body={"max_tokens": 9})
    result = world.scan()
    requests = world.requests(result)
    assert (result.rows, result.requests, result.bad_rows, result.violations_total) == (3, 3, 0, 0)
    assert [(r.seq, r.position, r.key, r.custom_id) for r in requests] == [
        (0, 1, "a", "a"),
        (1, 2, "b", "b"),
        (2, 3, "c", "c"),
    ]
    assert requests[0].record == b'{"id":"a","text":"\xc3\xa9"}'
    assert json.loads(requests[0].body)["messages"][0]["content"] == "Say é"
    assert result.source_digest == hashlib.sha256(world.path.read_bytes()).hexdigest()
    (stats,) = result.models
    assert (stats.model, stats.first_position, stats.tokens_out_max) == ("kimi-k2.6", 1, 27)
    assert stats.tokens_in == -(-(3 * 16 + 3 * 5 + 1) // 4)


def test_sizes_are_those_of_the_lines_that_will_be_written(world):
    world.rows(row('quo"te'), row("名前"), row("c" * 70))
    result = world.scan()
    lines = [batch_line(r.custom_id, world.spec.endpoint, r.body) for r in world.requests(result)]
    assert [r.size for r in world.requests(result)] == [len(line) for line in lines]
    assert result.bytes == sum(map(len, lines))


@pytest.mark.fault("B02")
def test_every_broken_rule_of_every_record_is_found_at_its_line(world):
    world.write(
        '{"id":"a","text":"x"}\n'
        "\n"
        "not json\n"
        '{"id":"","text":"x"}\n'
        '{"id":"b"}\n'
        '{"text":"x"}\n'
        '{"id":"a","text":"x"}\n'
        '{"id":null}\n'
    ).job(window="1h")
    result = world.scan()
    assert reasons(result) == [
        (0, "ORC2019"),
        (3, "ORC2008"),
        (4, "ORC2010"),
        (5, "ORC2102"),
        (6, "ORC2010"),
        (7, "ORC2011"),
        (8, "ORC2010"),
        (8, "ORC2102"),
    ]
    assert (result.rows, result.blank_rows, result.bad_rows) == (7, 1, 5)
    assert result.violations_total == 8
    assert result.violations[5].reason == 'key "a" repeats the key of line 1'


def test_all_violations_are_refused_at_once(world):
    world.write("x\ny\n").job(window="1h")
    with pytest.raises(SourceError, match="breaks the rules in 3 places") as caught:
        intake.refuse(world.scan())
    error = caught.value
    assert (error.code, error.exit_code) == ("ORC2001", 65)
    assert [detail.split(":")[0] for detail in error.details[1:]] == ["line 1", "line 2"]
    assert error.safe == "nothing was registered, nothing was sent"


def test_one_kind_of_violation_is_refused_under_its_own_code(world):
    with pytest.raises(SourceError, match=r"in 1 place$") as caught:
        world.requests(world.write('{"id":"a","text":"x"}\nx\n').scan())
    assert caught.value.code == "ORC2008"


def test_many_violations_are_cut_for_display_with_the_total_said(world):
    result = world.write("x\n" * 250).scan(report_limit=120)
    assert len(result.violations) == 120
    assert result.violations_total == 250
    with pytest.raises(SourceError, match="in 250 places") as caught:
        intake.refuse(result)
    assert len(caught.value.details) == 101
    assert caught.value.details[-1] == "and 150 more"


def test_a_clean_scan_is_not_refused(world):
    result = world.rows(row("a")).scan()
    intake.refuse(result)
    assert result.violations == ()


@pytest.mark.parametrize("content", ["\n \n", "\n"])
def test_a_source_without_a_record_breaks_a_rule(world, content):
    assert reasons(world.write(content).job(prompt="x").scan()) == [(0, "ORC2004")]


def test_a_csv_file_with_a_header_alone_breaks_a_rule(world):
    assert reasons(world.write("id,text\n", "csv").scan()) == [(0, "ORC2004")]


def test_a_wrong_template_ends_the_scan_at_once(world):
    with pytest.raises(TemplateError, match="txet"):
        world.rows(row("a")).job(prompt="{txet}").scan()


def test_a_request_over_the_limit_of_a_line_is_named(world):
    world.profile = msgspec.structs.replace(
        world.profile, limits=Limits(max_file_bytes=1000, max_line_bytes=300)
    )
    result = world.rows(row("a"), row("b", "x" * 300)).scan()
    assert reasons(result) == [(2, "ORC2017")]
    assert 'request "b" is' in result.violations[0].reason
    assert "at most 300" in result.violations[0].reason


def test_a_suffix_never_makes_a_request_too_large(world):
    size = world.rows(row("a")).scan().bytes
    world.profile = msgspec.structs.replace(
        world.profile, limits=Limits(max_file_bytes=1000, max_line_bytes=size + 16)
    )
    result = world.rows(row("a"), row("a"), row("b", "xx")).job(on_duplicate="suffix").scan()
    assert reasons(result) == [(3, "ORC2017")]
    assert result.bytes == 2 * size + len("~2")


def test_the_files_are_planned_as_they_will_be_packed(world):
    world.profile = msgspec.structs.replace(
        world.profile, limits=Limits(max_file_bytes=100_000, max_requests=4)
    )
    result = world.rows(*(row(str(n)) for n in range(10))).scan()
    assert [file.requests for file in result.files] == [4, 4, 2]
    assert [file.requests for file in world.scan(requests_per_file=3).files] == [3, 3, 3, 1]
    assert sum(file.bytes for file in result.files) == result.bytes
    assert result.files_total == 3


def test_requests_that_ask_the_same_are_counted(world):
    result = world.rows(row("a"), row("b"), row("c", "y"), row("d")).scan()
    assert result.identical == 3


def test_the_limit_keeps_the_first_records(world):
    world.write('{"id":"a","text":"x"}\n\n{"id":"b","text":"x"}\nbroken\n').job(limit=2)
    result = world.scan()
    assert result.rows == result.requests == 2
    assert result.violations_total == 0
    assert [request.key for request in world.requests(result)] == ["a", "b"]


def test_csv_records_are_kept_as_objects_of_text(world):
    text = io.StringIO()
    csv.writer(text).writerows([["id", "text"], ["1", "a\nb"], ["2", '"']])
    (first, second) = world.write(text.getvalue(), "csv").requests()
    assert json.loads(first.record) == {"id": "1", "text": "a\nb"}
    assert (second.position, second.key) == (4, "2")


def ready(custom_id, model="kimi-k2.6", **extra):
    body = {"messages": [{"role": "user", "content": "é"}], "model": model, "n": 1} | extra
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def lines_job(world, *lines, **changes):
    return world.rows(*lines).job(lines=True, prompt=None, key=None, model=None, **changes)


def test_ready_lines_are_sent_with_the_body_they_have(world):
    lines_job(world, ready("a", max_tokens=5), ready("b"))
    result = world.scan()
    first, second = world.requests(result)
    assert list(json.loads(first.body)) == ["messages", "model", "n", "max_tokens"]
    assert (first.key, first.custom_id, first.model) == ("a", "a", "kimi-k2.6")
    assert json.loads(second.record) == ready("b")
    assert result.models[0].tokens_out_max is None
    assert result.models[0].unbounded == 1


def test_ready_lines_of_two_models_are_refused_naming_the_first_line_of_each(world):
    lines_job(world, ready("a"), ready("b"), ready("c", "kimi-k2.7-code"))
    (found,) = world.scan().violations
    assert (found.position, found.code) == (0, "ORC2018")
    assert '"kimi-k2.6" from line 1, "kimi-k2.7-code" from line 3' in found.reason


def test_two_models_may_be_split_into_files_of_their_own(world):
    lines = [ready("a"), ready("b", "kimi-k2.7-code"), ready("c")]
    result = lines_job(world, *lines, split_models=True).scan()
    assert result.violations_total == 0
    assert [(file.model, file.requests) for file in result.files] == [
        ("kimi-k2.6", 2),
        ("kimi-k2.7-code", 1),
    ]


def test_more_models_than_a_job_may_hold_are_refused(world):
    world.profile = msgspec.structs.replace(world.profile, models_closed=False)
    lines = [ready(str(n), f"m{n}") for n in range(102)]
    result = lines_job(world, *lines, split_models=True).scan()
    assert reasons(result) == [(101, "ORC2018"), (102, "ORC2018")]


def test_broken_ready_lines_are_violations_and_never_end_the_scan(world):
    lines_job(world, {"custom_id": 1}, {}, ready("a"), ready("a"), ready("b") | {"body": "x"})
    result = world.scan()
    assert result.rows == 5
    assert {position for position, _ in reasons(result)} == {1, 2, 4, 5}


def test_skipped_duplicates_leave_the_first_of_each_key(world):
    world.rows(row("a", "1"), row("b", "2"), row("a", "3"), row("c", "4"), row("b", "5"))
    result = world.job(on_duplicate="skip").scan()
    requests = world.requests(result)
    assert [(r.seq, r.key, r.position) for r in requests] == [(0, "a", 1), (1, "b", 2), (2, "c", 4)]
    assert (result.rows, result.repeated, result.skipped, result.requests) == (5, 2, 2, 3)
    assert result.bytes == sum(r.size for r in requests)
    assert result.violations_total == 0


def test_suffixed_duplicates_never_meet_a_key_that_is_there(world):
    keys = ["a", "a~3", "a", "a", "a~2", "a~2", "a~03", "~2", "a"]
    world.rows(*map(row, keys)).job(on_duplicate="suffix")
    result = world.scan()
    requests = world.requests(result)
    assert [r.key for r in requests] == [
        "a",
        "a~3",
        "a~4",
        "a~5",
        "a~2",
        "a~2~2",
        "a~03",
        "~2",
        "a~6",
    ]
    assert result.repeated == 4
    assert result.bytes == sum(r.size for r in requests)


def test_a_repeated_key_of_a_bad_record_does_not_upset_the_count(world):
    world.write(
        '{"id":"a","text":"x"}\n{"id":"a"}\n{"id":"a","text":"y"}\n{"id":"b","text":"z"}\n'
    ).job(on_duplicate="skip")
    result = world.scan()
    assert (result.requests, result.skipped, result.repeated) == (2, 1, 2)
    assert reasons(result) == [(2, "ORC2102")]


@pytest.mark.parametrize("policy", ["skip", "suffix"])
def test_an_interrupted_registration_resumes_at_any_request(world, policy):
    world.rows(*(row(f"k{n % 7}", str(n)) for n in range(20))).job(on_duplicate=policy)
    result = world.scan()
    requests = world.requests(result)
    for start in range(len(requests) + 1):
        assert world.requests(result, start_seq=start) == requests[start:]


CHANGES = [
    '{"id":"a","text":"x"}\n{"id":"b","text":"z"}\n',
    '{"id":"a","text":"x"}\n',
    '{"id":"a","text":"x"}\n{"id":"b","text":"y"}\n{"id":"c","text":"z"}\n',
    '{"id":"a","text":"x"}\nbroken\n',
    '{"id":"a","text":"x"}\n{"id":"","text":"y"}\n',
    '{"id":"a","text":"x"}\n{"id":"b"}\n',
    '{"id":"a","text":"x"}\n\n{"id":"b","text":"y"}\n',
]


@pytest.mark.parametrize("content", CHANGES)
def test_a_source_that_changed_after_the_scan_is_not_taken_for_complete(world, content):
    result = world.write('{"id":"a","text":"x"}\n{"id":"b","text":"y"}\n').scan()
    world.write(content)
    with pytest.raises(SourceError, match="changed while it was read") as caught:
        world.requests(result)
    assert (caught.value.code, caught.value.exit_code) == ("ORC2005", 65)


def found_repeats(folder, keys, policy, buffer_bytes):
    folder.mkdir()
    found = Keys(folder, id_limit=64, on_duplicate=policy, buffer_bytes=buffer_bytes)
    for position, key in enumerate(keys, 1):
        found.add(position, key)
    found.find()
    return list(found.repeats()), list(found.named()), found.repeated


KEY_LISTS = st.lists(st.sampled_from(["a", "b", "a~2", "a~3", "a~2~2", "é", "x" * 64, "名~2"]))


@settings(max_examples=40, deadline=None)
@given(KEY_LISTS, st.sampled_from(["error", "skip", "suffix"]))
def test_repeats_found_on_disk_are_those_found_in_memory(tmp_path_factory, keys, policy):
    folder = tmp_path_factory.mktemp("keys")
    in_memory = found_repeats(folder / "memory", keys, policy, 1_000_000)
    assert found_repeats(folder / "disk", keys, policy, 0) == in_memory
    assert not list((folder / "memory").iterdir())
    assert in_memory[2] == len(keys) - len(set(keys))


@settings(max_examples=40, deadline=None)
@given(KEY_LISTS)
def test_suffixed_keys_are_all_different(tmp_path_factory, keys):
    repeats, _, _ = found_repeats(tmp_path_factory.mktemp("keys") / "k", keys, "suffix", 200)
    ordinals = {repeat.position: repeat.ordinal for repeat in repeats}
    final = [f"{key}~{ordinals[n]}" if n in ordinals else key for n, key in enumerate(keys, 1)]
    assert len(set(final)) == len(keys)


def test_a_scan_on_disk_finds_what_a_scan_in_memory_finds(world):
    rows = [row(f"k{n % 90}", str(n % 50)) for n in range(300)]
    for policy in ("error", "skip", "suffix"):
        world.rows(*rows).job(on_duplicate=policy)
        in_memory, on_disk = world.scan(), world.scan(buffer_bytes=500)
        for name in ("requests", "bytes", "identical", "repeated", "files", "violations"):
            assert getattr(in_memory, name) == getattr(on_disk, name)
        if policy != "error":
            assert world.requests(in_memory) == world.requests(on_disk)


class Generated:
    """Records made on the spot, so that nothing but the scan itself takes memory."""

    name = "generated"
    blank_rows = 0

    def __init__(self, count):
        self.count = count

    def shape(self):
        return Shape(columns=tuple(map(Column, ["id", "text"])))

    def records(self):
        for number in range(1, self.count + 1):
            yield Record(number, {"id": f"key-{number % (self.count - 5):012}", "text": "x"})

    def digest(self):
        return str(self.count)


def peak(world, count, policy):
    folder = world.folder / f"{policy}-{count}"
    folder.mkdir()
    spec = msgspec.structs.replace(world.spec, on_duplicate=policy)
    source = Generated(count)
    tracemalloc.start()
    result = intake.scan(spec, world.profile, source, workdir=folder, buffer_bytes=100_000)
    if policy != "error":
        requests = intake.requests(spec, world.profile, source, result)
        assert sum(1 for _ in requests) == result.requests
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert result.repeated == 5
    return most


@pytest.mark.parametrize(("policy", "count"), [("error", 200_000), ("suffix", 50_000)])
def test_ten_times_the_records_take_hardly_more_memory(world, policy, count):
    small, large = peak(world, count // 10, policy), peak(world, count, policy)
    # What a run allocates once, whenever that is (regular expressions, type information), is a few
    # megabytes; ten times the keys alone would be thirty.
    assert large < small + 5_000_000
