"""What users see of equal requests, and of answers that earlier jobs had."""

from __future__ import annotations

import json

import pytest

from orchestrator.settings import job_spec, load

TEXTS = ("good", "bad", "good", "good")
ASK = ("--prompt", "Positive? {text}", "--set", "body.max_tokens=8")


@pytest.fixture
def reviews(project):
    rows = [json.dumps({"id": f"r{n}", "text": text}) for n, text in enumerate(TEXTS)]
    (project.folder / "reviews.jsonl").write_text("\n".join(rows) + "\n")
    return project


def submit(project, *more):
    ran = project.run("submit", "reviews.jsonl", *ASK, *more, "--watch")
    assert ran.status == 0, ran.err
    return ran


def test_a_job_that_shares_tells_who_was_asked(reviews):
    submit(reviews, "--dedup")
    data = reviews.run("jobs", "show", "reviews", "--json").data()
    assert (data["succeeded"], data["shared"], data["cached"]) == (4, 2, 0)
    shown = reviews.run("jobs", "show", "reviews").out
    assert "answered without being sent: 2 by an equal request" in shown
    traced = reviews.run("records", "show", "r2")
    assert "answered by the request of record r0, " in traced.out
    told = reviews.run("records", "show", "r2", "--json").data()
    assert (told["equal_to"]["job"], told["equal_to"]["key"]) == ("reviews", "r0")
    assert reviews.run("records", "show", "r0", "--json").data()["equal_to"] is None
    assert reviews.run("verify", "reviews").status == 0
    assert reviews.run("verify").status == 0


def test_copies_cost_nothing_in_an_export(reviews):
    submit(reviews, "--dedup")
    reviews.run("export", "reviews", "-o", "out.jsonl")
    rows = [json.loads(line) for line in (reviews.folder / "out.jsonl").read_text().splitlines()]
    assert len({row["answer_text"] for row in rows if row["text"] == "good"}) == 1
    assert [bool(row["tokens_in"]) for row in rows] == [True, True, False, False]
    assert [bool(row["cost"]) for row in rows] == [True, True, False, False]
    assert reviews.run("verify", "reviews", "--export", "out.jsonl").status == 0


def test_a_second_job_is_answered_from_the_first(reviews):
    submit(reviews, "--dedup", "--cache")
    submit(reviews, "--cache-max-age", "1h", "--name", "again")
    data = reviews.run("jobs", "show", "again", "--json").data()
    assert (data["succeeded"], data["cached"], data["tokens"]["in"]) == (4, 4, 0)
    assert "4 from earlier jobs" in reviews.run("jobs", "show", "again").out
    told = reviews.run("records", "show", "r1", "--job", "again").out
    assert "answered by the request of record r1 of job reviews, " in told
    assert reviews.run("verify").status == 0


def test_a_plan_says_what_need_not_be_sent(reviews):
    shown = reviews.run("plan", "reviews.jsonl", *ASK).out
    assert "dedup      2 fewer                each asked once, about <$0.01 less, with --dedup" in (
        shown
    )
    assert "cache" not in shown
    nothing = reviews.run("plan", "reviews.jsonl", *ASK, "--cache").out
    assert "cache      none fewer             no earlier job has an answer" in nothing
    assert not reviews.registry.exists()
    submit(reviews, "--cache")
    ran = reviews.run("plan", "reviews.jsonl", *ASK, "--dedup", "--cache-max-age", "7d", "--json")
    data = ran.data()
    assert (data["spare"], data["reuse"]["requests"]) == (2, 4)
    assert data["submit"].endswith("--dedup --cache-max-age 7d")
    shown = reviews.run("plan", "reviews.jsonl", *ASK, "--cache").out
    assert "cache      4 fewer                answered by earlier jobs " in shown


@pytest.mark.parametrize(
    ("written", "cache", "age"),
    [("true", True, None), ("false", False, None), ('"7d"', True, 7 * 86_400)],
)
def test_a_job_spec_says_whether_and_how_old(offline, written, cache, age):
    offline.configure(
        f'[jobs.tags]\nsource = "r.jsonl"\nprompt = "{{text}}"\ndedup = true\ncache = {written}\n'
    )
    environ = {"HOME": str(offline.folder), "ORCHESTRATOR_SYSTEM_CONFIG": "/nowhere"}
    spec = job_spec(load(environ=environ, cwd=offline.folder), "tags")
    assert (spec.dedup, spec.cache, spec.cache_max_age) == (True, cache, age)


@pytest.mark.parametrize("written", ["3", '"soon"', '"0s"'])
def test_an_age_that_is_none_is_refused(offline, written):
    offline.configure(f'[jobs.tags]\nsource = "r.jsonl"\nprompt = "x"\ncache = {written}\n')
    ran = offline.run("config", "check")
    assert (ran.status, "jobs.tags.cache" in ran.err + ran.out) == (78, True)
