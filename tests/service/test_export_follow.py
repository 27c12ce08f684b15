"""`export --follow`: the job is followed to its end before a row is written."""

from __future__ import annotations

import json


def test_an_export_that_follows_writes_every_outcome_of_a_job_nobody_worked_on(project):
    project.submit(30)
    ran = project.run("export", "labels", "-o", "-", "--follow")
    assert ran.status == 0
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert len(rows) == 30
    assert {row["outcome"] for row in rows} == {"succeeded"}


def test_an_export_that_does_not_follow_shows_what_is_open(project):
    project.submit(5)
    ran = project.run("export", "labels", "-o", "-")
    assert {json.loads(line)["outcome"] for line in ran.out.splitlines()} == {"open"}
