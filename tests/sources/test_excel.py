"""Sheets of workbooks as sources."""

import datetime as dt

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import SourceError
from orchestrator.domain.intake import BadRow
from orchestrator.domain.shape import Column
from orchestrator.sources.registry import open_source


def workbook(path, *sheets):
    """Write sheets, each a name and its rows."""
    book = xlsxwriter.Workbook(
        str(path), {"default_date_format": "yyyy-mm-dd hh:mm:ss", "strings_to_numbers": False}
    )
    for name, rows in sheets:
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            for place, cell in enumerate(row):
                if isinstance(cell, str):
                    sheet.write_string(number, place, cell)
                elif cell is not None:
                    sheet.write(number, place, cell)
    book.close()
    return str(path)


def test_a_sheet_is_read_with_the_row_numbers_that_it_shows(tmp_path):
    moment = dt.datetime(2024, 2, 29, 12, 30)  # noqa: DTZ001 - a sheet knows no zones
    rows = [
        [None, None],
        ["id", "when", "share", "yes", "note"],
        [1, moment, 0.5, True, "x"],
        [],
        [2, dt.datetime(2024, 3, 1), 2, False, None],  # noqa: DTZ001
    ]
    source = open_source(workbook(tmp_path / "a.xlsx", ("one", rows)))
    found = list(source.records())
    assert [row.position for row in found] == [3, 5]
    assert found[0].data == {
        "id": 1,
        "when": "2024-02-29T12:30:00",
        "share": 0.5,
        "yes": True,
        "note": "x",
    }
    assert found[1].data == {
        "id": 2,
        "when": "2024-03-01T00:00:00",
        "share": 2,
        "yes": False,
        "note": None,
    }
    assert source.blank_rows == 1
    assert source.shape().columns == (
        Column("id", "int64"),
        Column("when", "timestamp[us]"),
        Column("share", "double"),
        Column("yes", "bool"),
        Column("note", "string"),
    )
    assert source.shape().place(3) == "row 3"
    assert len(source.digest()) == 64


def test_the_option_sheet_chooses_one_by_its_name(tmp_path):
    file = workbook(tmp_path / "a.xlsx", ("one", [["a"], [1]]), ("two", [["b"], [2]]))
    assert [row.data for row in open_source(file).records()] == [{"a": 1}]
    second = open_source(file, options={"sheet": "two"})
    assert [row.data for row in second.records()] == [{"b": 2}]
    with pytest.raises(SourceError, match='no sheet "three"') as caught:
        open_source(file, options={"sheet": "three"})
    assert caught.value.code == "ORC2035"
    assert "one, two" in caught.value.why


def test_a_cell_beyond_the_header_is_a_bad_row_in_its_place(tmp_path):
    rows = [["a"], [1], [2, "what"], [3]]
    source = open_source(workbook(tmp_path / "a.xlsx", ("one", rows)))
    found = list(source.records())
    assert [row.position for row in found] == [2, 3, 4]
    assert isinstance(found[1], BadRow)


@pytest.mark.parametrize(
    ("rows", "code"),
    [([["a", "a"], [1, 2]], "ORC2007"), ([["a", None, "b"]], "ORC2007"), ([], "ORC2004")],
)
def test_a_header_that_is_not_usable_is_refused(tmp_path, rows, code):
    with pytest.raises(SourceError) as caught:
        open_source(workbook(tmp_path / "a.xlsx", ("one", rows)))
    assert caught.value.code == code


def test_what_is_no_workbook_is_refused(tmp_path):
    file = tmp_path / "a.xlsx"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(SourceError, match="can't be read as xlsx") as caught:
        open_source(str(file))
    assert caught.value.code == "ORC2033"


# What XML can't carry no sheet can: most control characters, and none of the halves of a pair.
TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1
).filter(lambda text: not text.startswith("_x"))
CELLS = st.none() | TEXTS | st.integers(-(2**53), 2**53) | st.booleans()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), CELLS), min_size=1, max_size=6))
def test_cells_come_out_as_they_went_in(tmp_path_factory, rows):
    file = workbook(tmp_path_factory.mktemp("x") / "a.xlsx", ("one", [["n", "v"], *rows]))
    found = [(row.data["n"], row.data["v"]) for row in open_source(file).records()]
    assert found == rows
    assert [type(v) for _, v in found] == [type(v) for _, v in rows]
