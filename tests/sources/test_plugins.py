"""Sources of somebody else's: an entry point of the group `orchestrator.sources`."""

import sys
import textwrap

import pytest

from orchestrator.sources.port import Opening
from orchestrator.sources.registry import formats, open_source

PLUGIN = '''
from orchestrator.domain.intake import Record
from orchestrator.domain.shape import Column, Shape


class Letters:
    """One record for each letter in the file's name."""

    blank_rows = 0

    def __init__(self, location, source_format, *, options, opening, max_row_bytes):
        self.name = location
        self.upper = options.get("upper", False)

    def shape(self):
        return Shape(columns=(Column("letter", "string"),), unit="row")

    def records(self):
        letters = self.name.split(".")[0]
        for place, letter in enumerate(letters.upper() if self.upper else letters, 1):
            yield Record(place, {"letter": letter})

    def digest(self):
        return self.name
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    facts = tmp_path / "letters-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: letters\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[orchestrator.sources]\nletters = letters_source:Letters\n"
    )
    (tmp_path / "letters_source.py").write_text(textwrap.dedent(PLUGIN))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("letters_source", None)


@pytest.mark.usefixtures("plugin")
def test_a_format_of_ones_own_is_found_by_its_ending_and_gets_its_options():
    source = open_source("abc.letters", options={"upper": True}, opening=Opening())
    assert [row.data["letter"] for row in source.records()] == ["A", "B", "C"]
    assert "letters" in formats()
