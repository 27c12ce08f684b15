from __future__ import annotations

import json
import re
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from fake_terminal import NOON, a_world

from orchestrator.cli.output import Console, OutputOptions
from orchestrator.cli.tables import Column, Share
from orchestrator.domain.errors import GuardError, UsageError
from orchestrator.domain.money import Money

COLUMNS = (
    Column("job", "id"),
    Column("state", "state"),
    Column("recorded", "count"),
    Column("share", "share"),
    Column("cost", "money"),
    Column("age", "time"),
    Column("took", "duration", shown=False),
    Column("note"),
)
ROWS = (
    {
        "job": "nightly-tags",
        "state": "held",
        "recorded": 59_420,
        "share": Share(59_420, 130_000),
        "cost": Money(Decimal("5.906"), "USD"),
        "age": NOON - timedelta(minutes=31),
        "took": timedelta(seconds=90),
        "note": "a\tb\x1b[31m and a text that goes on for longer than any terminal is wide",
    },
    {"job": "evals-b", "state": "in_flight", "recorded": 7},
)


def a_console(tmp_path, *, options=None, **how):
    world = a_world(tmp_path, **how)
    return Console(world, options or OutputOptions(), lambda: UTC), world


def written(tmp_path, *, options=None, **how):
    console, world = a_console(tmp_path, options=options, **how)
    count = console.table("jobs", iter(ROWS), COLUMNS)
    assert count == 2
    return world.stdout.getvalue()


def test_a_terminal_gets_an_aligned_table_that_fits(tmp_path):
    assert written(tmp_path, tty=True, env={"NO_COLOR": "1"}) == (
        "JOB           STATE        RECORDED   SHARE   COST  AGE         NOTE\n"
        "nightly-tags  ‖ held         59,420  45.7 %  $5.91  31 min ago  a\\tb\\x1b[31m an…\n"
        "evals-b       ◐ in flight         7       -      -  -           -\n"
    )


@pytest.mark.parametrize("kind", [list, iter])
@pytest.mark.parametrize("form", ["table", "tsv", "csv", "json", "jsonl", "id"])
def test_every_row_is_written_once_in_every_format(tmp_path, kind, form):
    console, world = a_console(tmp_path, options=OutputOptions(format=form))
    rows = kind([{"job": f"job-{number}"} for number in range(700)])
    assert console.table("jobs", rows, (Column("job", "id"),)) == 700
    text = world.stdout.getvalue()
    assert re.findall(r"job-\d+", text) == [f"job-{number}" for number in range(700)]


def test_a_terminal_without_unicode_gets_stand_ins(tmp_path):
    text = written(tmp_path, tty=True, encoding="ascii", env={"NO_COLOR": "1"})
    assert text.isascii()
    assert "p held" in text
    assert "..." in text


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_no_line_of_a_table_is_wider_than_the_terminal(tmp_path, columns):
    text = written(tmp_path, tty=True, columns=columns, env={"NO_COLOR": "1"})
    assert max(len(line) for line in text.splitlines()) <= columns


def test_a_pipe_gets_tabs_no_header_and_nothing_cut(tmp_path):
    assert written(tmp_path) == (
        "nightly-tags\theld\t59420\t0.457077\t5.906 USD\t2026-11-23T11:29:00Z\t"
        "a\\tb\x1b[31m and a text that goes on for longer than any terminal is wide\n"
        "evals-b\tin_flight\t7\t\t\t\t\n"
    )


def test_json_is_one_document_with_every_column(tmp_path):
    text = written(tmp_path, tty=True, options=OutputOptions(format="json"))
    document = json.loads(text)
    assert document["schema"] == "orchestrator.jobs/1"
    assert document["as_of"] == "2026-11-23T12:00:00Z"
    assert document["data"][0] == {
        "job": "nightly-tags",
        "state": "held",
        "recorded": 59420,
        "share": 0.457077,
        "cost": {"amount": "5.906", "currency": "USD"},
        "age": "2026-11-23T11:29:00Z",
        "took": 90,
        "note": "a\tb\x1b[31m and a text that goes on for longer than any terminal is wide",
    }
    assert document["data"][1]["cost"] is None


def test_json_lines_are_one_object_a_row(tmp_path):
    lines = written(tmp_path, options=OutputOptions(format="jsonl")).splitlines()
    assert [json.loads(line)["job"] for line in lines] == ["nightly-tags", "evals-b"]


def test_csv_has_a_header_and_quotes_what_needs_it(tmp_path):
    options = OutputOptions(format="csv", fields=("job", "took"))
    assert written(tmp_path, options=options) == "job,took\nnightly-tags,90\nevals-b,\n"


def test_the_id_format_gives_names_only(tmp_path):
    assert written(tmp_path, options=OutputOptions(format="id")) == "nightly-tags\nevals-b\n"


def test_an_unknown_field_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match='did you mean "recorded"'):
        written(tmp_path, options=OutputOptions(fields=("recordd",)))


def test_a_list_is_streamed_not_held(tmp_path):
    console, world = a_console(tmp_path, options=OutputOptions(format="jsonl"))
    seen = []

    def rows():
        for number in range(3):
            seen.append(world.stdout.getvalue().count("\n"))
            yield {"job": str(number)}

    console.table("jobs", rows(), (Column("job"),))
    assert seen == [0, 1, 2]


def test_an_empty_list_is_valid_json_and_a_note_for_people(tmp_path):
    console, world = a_console(tmp_path, options=OutputOptions(format="json"))
    console.table("jobs", [], COLUMNS)
    assert json.loads(world.stdout.getvalue())["data"] == []
    console, world = a_console(tmp_path, tty=True)
    console.table("jobs", [], COLUMNS, empty="no job yet")
    assert (world.stdout.getvalue(), world.stderr.getvalue()) == ("", "no job yet\n")


def test_quiet_keeps_results_and_drops_notes(tmp_path):
    console, world = a_console(tmp_path, options=OutputOptions(quiet=True))
    console.note("by the way")
    console.say("the result")
    assert (world.stdout.getvalue(), world.stderr.getvalue()) == ("the result\n", "")


def test_a_pipe_gets_the_name_and_a_person_the_sentence(tmp_path):
    console, world = a_console(tmp_path)
    console.result("submit", "submitted labels", {"job": "labels"}, piped="labels")
    assert (world.stdout.getvalue(), world.stderr.getvalue()) == ("labels\n", "submitted labels\n")


def test_json_mode_keeps_sentences_off_stdout(tmp_path):
    console, world = a_console(tmp_path, options=OutputOptions(format="json"))
    console.say("for people")
    console.result("pause", "paused labels", {"job": "labels"})
    assert json.loads(world.stdout.getvalue())["data"] == {"job": "labels"}


@pytest.mark.parametrize(
    ("env", "choice", "tty", "coloured"),
    [
        ({}, "auto", True, True),
        ({}, "auto", False, False),
        ({"NO_COLOR": "1"}, "auto", True, False),
        ({"TERM": "dumb"}, "auto", True, False),
        ({"FORCE_COLOR": "1"}, "auto", False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "auto", False, False),
        ({"NO_COLOR": "1"}, "always", False, True),
        ({"FORCE_COLOR": "1"}, "never", True, False),
    ],
)
def test_colour_is_decided_by_flag_then_environment_then_terminal(
    tmp_path, env, choice, tty, coloured
):
    console, _ = a_console(tmp_path, tty=tty, env=env, options=OutputOptions(colour=choice))
    assert ("\x1b[" in console.style("failed", "red")) == coloured
    assert "failed" in console.style("failed", "red")


def test_a_moderate_question_takes_yes_from_the_terminal_or_the_flag(tmp_path):
    console, world = a_console(tmp_path, tty=True, stdin="y\n")
    console.confirm("cancel labels/b07?", yes=False, facts=["8,402 requests go back"])
    assert world.stderr.getvalue() == "  8,402 requests go back\ncancel labels/b07? [y/N] "
    console, _ = a_console(tmp_path)
    console.confirm("cancel labels/b07?", yes=True)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_anything_but_yes_is_no(tmp_path, answer):
    console, _ = a_console(tmp_path, tty=True, stdin=answer)
    with pytest.raises(GuardError, match="not confirmed") as caught:
        console.confirm("cancel labels/b07?", yes=False)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("tty", "options"), [(False, OutputOptions()), (True, OutputOptions(no_input=True))]
)
def test_nobody_to_ask_is_a_refusal_that_names_the_flag(tmp_path, tty, options):
    console, _ = a_console(tmp_path, tty=tty, options=options, stdin="y\n")
    with pytest.raises(GuardError) as caught:
        console.confirm("cancel labels/b07?", yes=False)
    assert (caught.value.code, caught.value.exit_code) == ("ORC7005", 7)
    assert "--yes" in caught.value.next
    with pytest.raises(GuardError) as caught:
        console.confirm_name("cancel job labels?", "labels", given=None)
    assert "--confirm labels" in caught.value.next


def test_a_severe_question_needs_the_name(tmp_path):
    console, _ = a_console(tmp_path, tty=True, stdin="labels\n")
    console.confirm_name("cancel job labels?", "labels", given=None)
    console.confirm_name("cancel job labels?", "labels", given="labels")
    with pytest.raises(GuardError, match="not confirmed"):
        a_console(tmp_path, tty=True, stdin="y\n")[0].confirm_name("cancel?", "labels", given=None)
    with pytest.raises(GuardError, match='names "lables"'):
        console.confirm_name("cancel?", "labels", given="lables")
