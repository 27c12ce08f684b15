from __future__ import annotations

import json
import sqlite3

import pytest

PROMPT = "Positive or negative? {text}"

GOLDEN_PLAN = """\
plan for job "reviews"                                        nothing has been sent
source     reviews.csv            3 rows, key "id" unique, 0 blank
requests   3                      2 have a prompt identical to another
dedup      1 fewer                each asked once, about <$0.01 less, with --dedup
batches    1 file, 488 B          3 lines   limits: 100 MB a file, 1,000 files
tokens     about 23 in (18 to 28), up to 24 out
finish     unknown: no history with this model yet; the window ends 24h after creation
cost       up to <$0.01           online price <$0.01, you save <$0.01 (40 %)
submit     orchestrator submit reviews.csv --prompt 'Positive? {text}' --set body.max_tokens=8
"""


@pytest.fixture
def reviews(offline):
    text = "id,text\n1,good\n2,good\n3,bad\n"
    (offline.folder / "reviews.csv").write_text(text)
    return offline


def plan(project, *more, **how):
    argv = ("plan", "reviews.csv", "--prompt", "Positive? {text}", "--set", "body.max_tokens=8")
    return project.run(*argv, *more, **how)


def test_a_plan_shows_rows_batches_tokens_and_money(reviews):
    ran = plan(reviews)
    assert (ran.status, ran.out, ran.err) == (0, GOLDEN_PLAN, "")


def test_a_plan_on_a_terminal_says_the_same_but_cuts_long_lines(reviews):
    ran = plan(reviews, tty=True, columns=60)
    assert ran.out.splitlines()[1] == GOLDEN_PLAN.splitlines()[1][:59] + "…"
    assert ran.out.splitlines()[-1] == GOLDEN_PLAN.splitlines()[-1]


def test_a_plan_stores_and_sends_nothing(reviews):
    assert plan(reviews, "--show", "2").status == 0
    assert sorted(path.name for path in reviews.folder.iterdir()) == [
        "orchestrator.toml",
        "reviews.csv",
    ]


def test_a_plan_renders_the_first_requests_as_they_would_be_sent(reviews):
    data = plan(reviews, "--show", "1", "--json").data()
    (sample,) = data["samples"]
    assert sample["custom_id"] == "1"
    assert sample["body"] == {
        "model": "kimi-k2.6",
        "messages": [{"role": "user", "content": "Positive? good"}],
        "max_tokens": 8,
    }
    assert sample["tokens_in"] == 8
    assert '"content": "Positive? good"' in plan(reviews, "--show", "1").out


def test_without_a_bound_on_answers_the_cost_is_a_least_one(reviews):
    ran = reviews.run("plan", "reviews.csv", "--prompt", "{text}")
    assert "at least <$0.01" in ran.out
    assert "out unknown" in ran.out


def test_what_was_planned_is_what_is_submitted_or_it_is_refused(reviews):
    ran = plan(reviews, "-o", "plan.json")
    assert "submit     orchestrator submit --plan plan.json" in ran.out
    (reviews.folder / "reviews.csv").write_text("id,text\n1,better\n")
    changed = reviews.run("submit", "--plan", "plan.json")
    assert (changed.status, "[ORC7003]" in changed.err) == (7, True)
    (reviews.folder / "reviews.csv").write_text("id,text\n1,good\n2,good\n3,bad\n")
    data = reviews.run("submit", "--plan", "plan.json", "--name", "other", "--json").data()
    assert (data["job"], data["records"], data["status"]) == ("other", 3, "submitted")


@pytest.mark.parametrize("by", ["flag", "spec"])
@pytest.mark.parametrize("change", ["other", "longer", "gone"])
def test_a_plan_is_refused_when_the_file_of_its_template_has_changed(reviews, by, change):
    template = reviews.folder / "ask.j2"
    template.write_text("\ufeffSay {{ text }}", encoding="utf-8")
    argv = ("reviews.csv", "--template", "ask.j2")
    if by == "spec":
        reviews.configure('[jobs.ask]\nsource = "reviews.csv"\nkey = "id"\ntemplate = "ask.j2"\n')
        argv = ("ask",)
    assert reviews.run("plan", *argv, "-o", "plan.json").status == 0
    if change == "gone":
        template.unlink()
    else:
        template.write_text("Shout {{ text }}" if change == "other" else "Say {{ text }}!")
    refused = reviews.run("submit", "--plan", "plan.json")
    assert (refused.status, "[ORC7003]" in refused.err, "ask.j2" in refused.err) == (7, True, True)
    template.write_text("Say {{ text }}")
    assert reviews.run("submit", "--plan", "plan.json").status == 0


def test_a_prompt_in_place_of_the_template_of_a_spec_is_a_plan_without_its_file(reviews):
    (reviews.folder / "ask.j2").write_text("Say {{ text }}")
    reviews.configure('[jobs.ask]\nsource = "reviews.csv"\nkey = "id"\ntemplate = "ask.j2"\n')
    reviews.run("plan", "ask", "--prompt", "{text}", "-o", "plan.json")
    (reviews.folder / "ask.j2").unlink()
    assert reviews.run("submit", "--plan", "plan.json").status == 0


@pytest.mark.parametrize("schema", ["orchestrator.plan-file/2", "", 7, None])
def test_a_plan_file_of_another_schema_is_no_plan(reviews, schema):
    plan(reviews, "-o", "plan.json")
    kept = json.loads((reviews.folder / "plan.json").read_text())
    (reviews.folder / "plan.json").write_text(json.dumps({**kept, "schema": schema}))
    ran = reviews.run("submit", "--plan", "plan.json")
    assert (ran.status, "[ORC2301]" in ran.err) == (65, True)


def test_a_template_that_a_job_spec_names_in_vain_is_not_found(reviews):
    reviews.configure('[jobs.ask]\nsource = "reviews.csv"\nkey = "id"\ntemplate = "no.j2"\n')
    ran = reviews.run("plan", "ask")
    assert (ran.status, "[ORC2104]" in ran.err) == (66, True)


def test_a_flag_beside_a_plan_would_change_what_was_planned(reviews):
    plan(reviews, "-o", "plan.json")
    ran = reviews.run("submit", "--plan", "plan.json", "--model", "kimi-k2.5")
    assert (ran.status, "--model would change" in ran.err) == (2, True)


def test_a_submission_is_committed_and_the_pipe_gets_its_name(offline):
    ran = offline.submit(20)
    assert (ran.status, ran.out) == (0, "labels\n")
    assert "submitted labels: 20 records, to sandbox" in ran.err
    assert "nobody is at work on this registry" in ran.err
    with sqlite3.connect(offline.registry) as db:
        assert db.execute("SELECT state, records FROM jobs").fetchall() == [("running", 20)]
    db.close()


def test_the_same_again_is_the_same_job_and_other_content_is_refused(offline):
    offline.submit(20)
    again = offline.submit(20, "labels", "--json")
    assert (again.status, again.data()["status"]) == (0, "already_submitted")
    other = offline.submit(21)
    assert (other.status, "[ORC7004]" in other.err) == (7, True)


def test_standard_input_is_named_by_its_content_and_read_whole(offline):
    rows = "".join(f'{{"id": "{n}", "text": "t"}}\n' for n in range(5))
    first = offline.run("submit", "-", "--prompt", PROMPT, stdin=rows)
    assert (first.status, first.out.startswith("stdin-")) == (0, True)
    assert offline.run("submit", "-", "--prompt", PROMPT, stdin=rows).out == first.out
    csv = offline.run("submit", "-", "--prompt", PROMPT, "--name", "c", stdin="id,text\n1,a\n")
    assert (csv.status, csv.out) == (0, "c\n")
    assert not list((offline.folder / "spool").glob("stdin-*"))


def test_without_a_key_the_columns_are_listed(offline):
    (offline.folder / "a.csv").write_text("name,text\nx,y\n")
    none = offline.run("submit", "a.csv", "--prompt", "{text}")
    assert none.status == 65
    assert "[ORC2302]" in none.err
    assert "the columns are name, text" in none.err
    wrong = offline.run("submit", "a.csv", "--prompt", "{text}", "--key", "nam")
    assert 'no column "nam", did you mean "name"?' in wrong.err
    assert offline.run("submit", "a.csv", "--prompt", "{text}", "--key", "name").status == 0


def test_ready_batch_lines_are_recognised(offline):
    line = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "hi"}]},
    }
    (offline.folder / "ready.jsonl").write_text(json.dumps(line) + "\n")
    ran = offline.run("submit", "ready.jsonl")
    assert (ran.status, ran.out) == (0, "ready\n")
    assert "ready batch lines" in ran.err


def test_a_job_spec_is_submitted_by_its_name_and_flags_win_over_it(offline):
    offline.write("r.jsonl", 9)
    offline.configure('[jobs.tags]\nsource = "r.jsonl"\nkey = "id"\nprompt = "{text}"\n')
    data = offline.run(
        "plan",
        "tags",
        "--limit",
        "3",
        "--metadata",
        "x=y",
        "--set",
        "body.a.b=[1]",
        "--show",
        "1",
        "--name",
        "three",
        "--json",
    ).data()
    assert (data["job"], data["requests"]) == ("three", 3)
    assert data["samples"][0]["body"]["a"] == {"b": [1]}
    assert offline.run("submit", "tags").out == "tags\n"


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (("submit",), 2, "one of them"),
        (("submit", "a.jsonl", "--plan", "p"), 2, "one of them"),
        (("submit", "--plan", "p"), 66, "there is no plan file"),
        (("submit", "labls"), 66, "there is no job spec"),
        (("submit", "nothing.csv"), 66, "there is no file nothing.csv"),
        (("submit", "a.jsonl"), 65, "neither prompt nor template"),
        (("submit", "a.jsonl", "--prompt", "{nope}"), 65, "nope"),
        (("submit", "a.jsonl", "--template", "no.j2"), 66, "[ORC2104]"),
        (("submit", "a.jsonl", "--prompt", "x", "--set", "max=3"), 2, "body.NAME=VALUE"),
        (("submit", "a.jsonl", "--prompt", "x", "--metadata", "x"), 2, "NAME=VALUE"),
        (("submit", "a.jsonl", "--prompt", "x", "--name", "a/b"), 2, "[ORC1302]"),
        (("submit", "a.jsonl", "--prompt", "x", "--provider", "kimmi"), 78, 'did you mean "kimi"?'),
        (("plan", "-", "-o", "p"), 2, "can't be kept"),
        (("plan", "a.jsonl", "--prompt", "x", "-o", "no/p"), 73, "can't be written"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_registered(offline, argv, status, says):
    offline.write("a.jsonl", 2)
    ran = offline.run(*argv)
    assert (ran.status, says in ran.err, ran.out) == (status, True, "")
    assert "Traceback" not in ran.err


def test_a_project_without_a_provider_says_how_to_name_one(offline):
    offline.write("a.jsonl", 2)
    (offline.folder / "orchestrator.toml").write_text("schema = 1\n")
    ran = offline.run("plan", "a.jsonl", "--prompt", "x")
    assert (ran.status, "--provider sandbox" in ran.err) == (78, True)


def test_long_registrations_show_progress_on_a_terminal_only(offline):
    offline.write("big.jsonl", 20_000)
    argv = ("submit", "big.jsonl", "--prompt", "x")
    ran = offline.run(*argv, "--name", "tty", tty=True)
    assert "registered 5,000 of 20,000 records  25.0 %" in ran.err
    assert "registered" not in offline.run(*argv, "--name", "pipe").err


def test_a_dry_run_says_what_would_be_registered_and_touches_no_registry(reviews):
    ran = reviews.run("submit", "reviews.csv", "--prompt", "Positive? {text}", "-n")
    assert ran.status == 0
    assert ran.out == "would submit reviews: 3 records, to sandbox; nothing was registered\n"
    assert not reviews.registry.exists()


def test_a_dry_run_refuses_what_submit_would_refuse(reviews):
    (reviews.folder / "reviews.csv").write_text("id,text\n1,good\n1,bad\n")
    ran = reviews.run("submit", "reviews.csv", "--prompt", "Positive? {text}", "--dry-run")
    assert ran.status == 65
    assert not reviews.registry.exists()
