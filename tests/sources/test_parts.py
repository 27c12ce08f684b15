"""Several files as one source."""

import pyarrow as pa
import pytest
from pyarrow import parquet

from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.domain.intake import BadRow
from orchestrator.domain.shape import Column
from orchestrator.sources.port import Opening
from orchestrator.sources.registry import open_source


def write(folder, **files):
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)


def test_a_pattern_reads_its_files_by_name_and_tells_which_row_is_from_where(tmp_path):
    write(tmp_path, b_jsonl='{"x":3}\nbad\n', a_jsonl='\n{"x":1}\n{"x":2}\n')
    source = open_source("*.jsonl", opening=Opening(cwd=tmp_path))
    rows = list(source.records())
    assert [row.data["x"] for row in rows if not isinstance(row, BadRow)] == [1, 2, 3]
    places = [source.shape().place(row.position) for row in rows]
    assert places == [
        "line 2 of a.jsonl",
        "line 3 of a.jsonl",
        "line 1 of b.jsonl",
        "line 2 of b.jsonl",
    ]
    assert source.blank_rows == 1
    assert sorted(row.position for row in rows) == [row.position for row in rows]


def test_a_list_keeps_its_order_and_files_of_one_name_are_told_apart(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path, a_csv="x\n1\n")
    write(tmp_path / "sub", a_csv="x\n2\n")
    source = open_source("sub/a.csv\na.csv\n", opening=Opening(cwd=tmp_path))
    assert [row.data["x"] for row in source.records()] == ["2", "1"]
    assert source.shape().parts == ("sub/a.csv", "a.csv")
    assert source.name == "2 files"


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    (tmp_path / "a[1].csv").write_text("x\n1\n")
    (tmp_path / "a1.csv").write_text("x\n2\n")
    source = open_source("a[1].csv", opening=Opening(cwd=tmp_path))
    assert [row.data["x"] for row in source.records()] == ["1"]


def test_the_digest_changes_with_each_file_and_with_their_order(tmp_path):
    write(tmp_path, a_csv="x\n1\n", b_csv="x\n2\n")

    def digest(location):
        source = open_source(location, opening=Opening(cwd=tmp_path))
        list(source.records())
        return source.digest()

    found = {
        digest("a.csv\nb.csv"),
        digest("b.csv\na.csv"),
        digest("a.csv"),
        digest("a.csv\na.csv"),
    }
    assert len(found) == 4
    assert digest("*.csv") == digest("a.csv\nb.csv")


def test_typed_columns_that_differ_become_the_wider_type(tmp_path):
    parquet.write_table(
        pa.table({"n": pa.array([1], pa.int32()), "s": ["a"]}), tmp_path / "a.parquet"
    )
    parquet.write_table(pa.table({"s": ["b"], "n": pa.array([2**40])}), tmp_path / "b.parquet")
    source = open_source("*.parquet", opening=Opening(cwd=tmp_path))
    assert source.shape().columns == (Column("n", "int64"), Column("s", "string"))
    assert source.shape().rows == 2
    assert [row.data for row in source.records()] == [{"n": 1, "s": "a"}, {"s": "b", "n": 2**40}]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (pa.table({"m": [1]}), 'no column "n", unlike'),
        (pa.table({"n": [1], "m": [1]}), 'a further column "m", unlike'),
        (pa.table({"n": ["text"]}), 'its column "n" is string, before it was int64'),
    ],
)
def test_files_that_do_not_go_together_are_refused_by_name(tmp_path, other, why):
    parquet.write_table(pa.table({"n": [1]}), tmp_path / "a.parquet")
    parquet.write_table(other, tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"b\.parquet does not go with") as caught:
        open_source("*.parquet", opening=Opening(cwd=tmp_path))
    assert caught.value.code == "ORC2040"
    assert why in caught.value.why


def test_json_lines_of_unlike_members_go_together(tmp_path):
    write(tmp_path, a_jsonl='{"x":1}\n', b_jsonl='{"y":2}\n')
    source = open_source("*.jsonl", opening=Opening(cwd=tmp_path))
    assert source.shape().names == ["x", "y"]


def test_a_pattern_that_fits_nothing_is_not_found(tmp_path):
    with pytest.raises(NotFound, match=r"no file fits \*\.csv") as caught:
        open_source("*.csv", opening=Opening(cwd=tmp_path))
    assert caught.value.code == "ORC2002"
