"""Sources of a job spec in the configuration."""

import pytest

from orchestrator.domain.errors import ConfigError, NotFound
from orchestrator.settings import job_spec

HEAD = "[defaults]\nprovider = 'kimi'\n[jobs.tags]\nprompt = '{text}'\n"


def spec_with(project, text):
    project.project.write_text(HEAD + text)
    return job_spec(project.load(), "tags")


def here(project, name):
    return str(project.project.parent / name)


def test_paths_and_patterns_are_meant_from_the_files_folder_and_urls_as_they_are(project):
    assert spec_with(project, "source = 'in/*.parquet'").source == here(project, "in/*.parquet")
    assert spec_with(project, "source = 's3://bucket/a.csv'").source == "s3://bucket/a.csv"
    several = spec_with(project, "source = { files = ['a.csv', 'https://host/b.csv'] }")
    assert several.source == f"{here(project, 'a.csv')}\nhttps://host/b.csv"


def test_a_database_is_read_by_a_table_a_query_or_a_file_with_one(project):
    table = spec_with(project, "source = { sql = 'warehouse', table = 'tickets', key = 'id' }")
    assert (table.source, table.source_options, table.key) == (
        "sql:warehouse",
        {"table": "tickets"},
        "id",
    )
    (project.project.parent / "open.sql").write_text("SELECT 1")
    for told in ("query = 'SELECT 1'", "query_file = 'open.sql'"):
        spec = spec_with(project, f"source = {{ sql = 'warehouse', {told} }}")
        assert spec.source_options == {"query": "SELECT 1"}


def test_a_sheet_a_condition_and_changes_only_are_taken_over(project):
    text = "source = { file = 'a.xlsx', sheet = 'May', where = 'n > 1' }\nchanged_only = true\n"
    spec = spec_with(project, text)
    assert (spec.source_options, spec.where) == ({"sheet": "May"}, "n > 1")
    assert (spec.changed_only, spec.series) == (True, "tags")


def test_a_query_file_that_is_not_there_is_not_found(project):
    with pytest.raises(NotFound, match=r"no file none\.sql") as caught:
        spec_with(project, "source = { sql = 'w', query_file = 'none.sql' }")
    assert "config explain jobs.tags.source.query_file" in caught.value.next


WRONG = [
    ("", "jobs.tags has no source"),
    ("source = { key = 'id' }", "jobs.tags has no source"),
    ("source = { file = 'a', sql = 'w', table = 't' }", "takes a file or a database"),
    ("source = { sql = 'w' }", "takes one of table, query and query_file; it has none of them"),
    ("source = { sql = 'w', table = 't', query = 'q' }", "it has table and query"),
    ("source = { file = 'a', table = 't' }", "table is for a source that is a database"),
    (
        "source = { sql = 'w', table = 't', sheet = 's' }",
        "sheet is for a source that is a workbook",
    ),
    ("source = { files = [] }", 'the setting "jobs.tags.source.files" is wrong'),
    ("source = { file = 1 }", 'the setting "jobs.tags.source.file" is wrong'),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_source_that_does_not_make_sense_is_told_with_its_setting(project, text, message):
    with pytest.raises(ConfigError) as caught:
        spec_with(project, text)
    told = [caught.value.message, caught.value.why, *caught.value.details]
    assert any(message in line for line in told)
