"""Which source a location and its options lead to."""

import pytest

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import Record
from orchestrator.domain.shape import Column, Shape
from orchestrator.sources.port import Opening
from orchestrator.sources.registry import open_source


class ListSource:
    def __init__(self, name, options):
        self.name, self.options, self.blank_rows = name, options, 0

    def shape(self):
        return Shape(columns=(Column("a"),), unit="row")

    def records(self):
        yield Record(1, {"a": 1})

    def digest(self):
        return "d"


def test_the_outcomes_of_a_job_are_opened_by_whoever_holds_the_registry():
    opened = open_source("job:first", options={"outcomes": "all"}, opening=Opening(job=ListSource))
    assert (opened.name, opened.options) == ("first", {"outcomes": "all"})


def test_without_a_registry_there_are_no_outcomes_of_another_job():
    with pytest.raises(SourceError, match="job first are not available here") as caught:
        open_source("job:first")
    assert caught.value.code == "ORC2031"
    assert "orchestrator export first" in caught.value.next


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_an_option_of_another_kind_of_source_is_refused(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    file.write_text("a\n1\n" if ending == "csv" else '{"a":1}\n')
    with pytest.raises(SourceError, match=f'{ending} has no option "sheet"') as caught:
        open_source(str(file), options={"sheet": "two"})
    assert caught.value.code == "ORC2032"


def test_a_relative_path_starts_from_where_the_opening_says(tmp_path):
    (tmp_path / "a.csv").write_text("a\n1\n")
    source = open_source("a.csv", opening=Opening(cwd=tmp_path))
    assert [row.data for row in source.records()] == [{"a": "1"}]
