import hashlib
import io

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.domain.intake import BadRow, Record
from orchestrator.sources import files
from orchestrator.sources.csv_file import CsvSource
from orchestrator.sources.jsonl import JsonlSource
from orchestrator.sources.registry import formats, open_source


def read(path, content, ending="jsonl", **options):
    file = path / f"a.{ending}"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    source = open_source(str(file), **options)
    return source, list(source.records())


BAD_JSON_LINES = [
    (b'{"a":1}\nnope\n', 2, "not JSON: invalid character (byte 4)"),
    (b'{"a":1\n', 1, "not JSON: input data was truncated"),
    (b"\n\n[1,2]\n", 3, "not an object: got `array`"),
    (b'"text"\n', 1, "not an object: got `str`"),
    (b'{"a":"\xff"}\n', 1, "not UTF-8: invalid start byte (byte 6)"),
    (b'{"a":1}\r\n{"\xc3":1}\r\n', 2, "not UTF-8: invalid continuation byte (byte 2)"),
    (b"\xff\xfe{\x00", 1, "not UTF-8: invalid start byte (byte 0)"),
    (b'{"a":NaN}\n', 1, "not usable: it holds NaN"),
    (b'{"a":"\\ud800"}\n', 1, "half a surrogate pair"),
    (b'{"a":1e999}\n', 1, "not usable: number out of range"),
    (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}\n", 1, "nested too deeply"),
    (b'{"a":1} {"a":2}\n', 1, "not JSON: trailing characters (byte 9)"),
]


@pytest.mark.parametrize(("content", "line", "reason"), BAD_JSON_LINES)
def test_a_bad_json_line_is_handed_out_with_its_number_and_reason(tmp_path, content, line, reason):
    _, rows = read(tmp_path, content + b'{"good":1}\n' if content[-1:] == b"\n" else content)
    (bad,) = [row for row in rows if isinstance(row, BadRow)]
    assert bad.position == line
    assert reason in bad.reason
    assert bad.code == "ORC2008"


def test_the_rows_after_a_bad_one_are_read(tmp_path):
    _, rows = read(tmp_path, 'x\n{"a":1}\n[]\n{"a":2}')
    assert [(row.position, type(row)) for row in rows] == [
        (1, BadRow),
        (2, Record),
        (3, BadRow),
        (4, Record),
    ]


def test_byte_order_mark_line_ends_and_blank_lines_do_not_matter(tmp_path):
    content = b'\xef\xbb\xbf{"a":1}\r\n\r\n   \n{"a":2}\n\n'
    source, rows = read(tmp_path, content)
    assert rows == [Record(1, {"a": 1}, b'{"a":1}'), Record(4, {"a": 2}, b'{"a":2}')]
    assert source.blank_rows == 3
    assert source.digest() == hashlib.sha256(content).hexdigest()


def test_numbers_and_the_order_of_members_survive(tmp_path):
    line = b'{"z":12345678901234567890123,"a":9007199254740993,"m":1.10}'
    _, (row,) = read(tmp_path, line)
    assert row.raw == line
    assert list(row.data) == ["z", "a", "m"]
    assert row.data["z"] == 12345678901234567890123
    assert row.data["a"] == 9007199254740993


def test_a_line_over_the_cap_is_passed_over_and_still_hashed(tmp_path):
    content = b'{"a":"' + b"x" * 300 + b'"}\n{"a":1}\n' + b"y" * 200
    source, rows = read(tmp_path, content, max_row_bytes=100)
    assert [(row.position, type(row)) for row in rows] == [(1, BadRow), (2, Record), (3, BadRow)]
    assert rows[0].reason == "the line has more than 100 bytes"
    assert source.digest() == hashlib.sha256(content).hexdigest()


def test_columns_are_those_of_the_first_objects_in_order(tmp_path):
    source, _ = read(tmp_path, '{"b":1,"a":2}\nbad\n{"c":3,"a":4}\n')
    assert source.shape().names == ["b", "a", "c"]


def test_a_source_can_be_read_again_from_its_first_row(tmp_path):
    source, rows = read(tmp_path, '{"a":1}\n\n{"a":2}\n')
    next(source.records())
    assert list(source.records()) == rows
    assert source.blank_rows == 1


BAD_CSV_ROWS = [
    ("a,b\n1,2\n3\n4,5\n", 3, "the row has 1 fields, the header 2"),
    ("a,b\n1,2,3\n", 2, "the row has 3 fields, the header 2"),
    ('a,b\n"x\ny",2\n3\n', 4, "the row has 1 fields"),
    ('a,b\n\n1,"never closed\n', 3, "not CSV: unexpected end of data"),
    ('a,b\n1,"x"y\n', 2, "not CSV: ',' expected after '\"'"),
    (b"a,b\n1,\xff\n", 2, "not UTF-8: invalid start byte (line 2, byte 2)"),
    (b'a,b\n1,"x\n\xfe"\n2,3\n', 2, "not UTF-8: invalid start byte (line 3, byte 0)"),
    ("a,b\n1," + "x" * 300 + "\n2,3\n", 2, "the row has more than 200 bytes"),
    ('a,b\n1,"' + "line\n" * 50, 2, "the row has more than 200 bytes"),
]


@pytest.mark.parametrize(("content", "line", "reason"), BAD_CSV_ROWS)
def test_a_bad_csv_row_is_handed_out_with_the_line_where_it_begins(tmp_path, content, line, reason):
    _, rows = read(tmp_path, content, "csv", max_row_bytes=200)
    bad = next(row for row in rows if isinstance(row, BadRow))
    assert bad.position == line
    assert reason in bad.reason


def test_quoted_line_breaks_belong_to_the_row_that_begins_above_them(tmp_path):
    content = b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n2,"say ""hi"""\r\n'
    source, rows = read(tmp_path, content, "csv")
    assert rows == [Record(2, {"a": "1", "b": "x\r\ny"}), Record(5, {"a": "2", "b": 'say "hi"'})]
    assert source.shape().names == ["a", "b"]
    assert source.blank_rows == 1
    assert source.digest() == hashlib.sha256(content).hexdigest()


def test_a_field_longer_than_the_csv_modules_own_limit_is_read(tmp_path):
    _, (row,) = read(tmp_path, "a\n" + "x" * 400_000 + "\n", "csv")
    assert len(row.data["a"]) == 400_000


def test_tabs_part_the_fields_of_a_tsv_file(tmp_path):
    _, (row,) = read(tmp_path, "a\tb\n1,2\t3\n", "tsv")
    assert row.data == {"a": "1,2", "b": "3"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a,,b\n1,2,3\n", "column 2 has no name"),
        ("a,b,a\n1,2,3\n", '"a" names the columns 1 and 3'),
        (b"a,\xff\n1,2\n", "not UTF-8"),
        ('a,"b\n', "not CSV"),
    ],
)
def test_a_header_that_can_not_name_columns_is_refused(tmp_path, content, reason):
    with pytest.raises(SourceError, match=reason) as caught:
        read(tmp_path, content, "csv")
    assert caught.value.code == "ORC2007"
    assert caught.value.exit_code == 65


def test_a_csv_file_of_blank_lines_has_no_header(tmp_path):
    with pytest.raises(SourceError, match="has no header row"):
        read(tmp_path, "\n\n", "csv")


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "csv", "tsv"])
def test_an_empty_file_is_refused(tmp_path, ending):
    with pytest.raises(SourceError, match="is empty") as caught:
        read(tmp_path, b"", ending)
    assert caught.value.code == "ORC2004"


def test_a_missing_file_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="there is no file") as caught:
        open_source(str(tmp_path / "none.csv"))
    assert (caught.value.code, caught.value.exit_code) == ("ORC2002", 66)


def test_a_directory_can_not_be_read(tmp_path):
    folder = tmp_path / "folder.jsonl"
    folder.mkdir()
    with pytest.raises(SourceError, match="can't be read") as caught:
        open_source(str(folder))
    assert caught.value.code == "ORC2003"


@pytest.mark.parametrize(
    ("location", "source_format", "headline", "hint"),
    [
        ("a.jsnl", "auto", 'the ending ".jsnl"', "did you mean jsonl?"),
        ("a", "auto", "has no ending", "feather, ipc, jsonl, ndjson"),
        ("a.csv", "exel", 'no source format "exel"', "feather, ipc, jsonl, ndjson"),
        ("-", "jsonl", "only once", "write it to a file first"),
    ],
)
def test_an_unknown_format_names_the_known_ones(location, source_format, headline, hint):
    with pytest.raises(SourceError, match=headline) as caught:
        open_source(location, source_format)
    assert caught.value.code == "ORC2006"
    assert hint in caught.value.next


def test_the_formats_named_explicitly_win_over_the_ending(tmp_path):
    (tmp_path / "a.txt").write_text("a\tb\n1\t2\n")
    source = open_source(str(tmp_path / "a.txt"), "tsv")
    assert [row.data for row in source.records()] == [{"a": "1", "b": "2"}]
    assert {"csv", "jsonl", "ndjson", "tsv"} <= set(formats())


def test_standard_input_is_copied_to_a_file_once(tmp_path):
    target = tmp_path / "stdin.jsonl"
    assert files.spool_stream(io.BytesIO(b'{"a":1}\n'), target) == 8
    assert [row.data for row in open_source(str(target)).records()] == [{"a": 1}]
    with pytest.raises(SourceError, match="can't be copied"):
        files.spool_stream(io.BytesIO(b""), target)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))


@settings(deadline=None)
@given(st.lists(st.dictionaries(TEXT, TEXT | st.integers() | st.none()), min_size=1))
def test_json_lines_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("s") / "a.jsonl"
    path.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    assert [row.data for row in JsonlSource(str(path)).records()] == rows


@settings(deadline=None)
@given(st.lists(st.tuples(CELL, CELL), min_size=1))
def test_separated_values_come_back_as_they_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("s") / "a.csv"
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_bytes("\n".join(["a,b", *quoted]).encode())
    read_back = [(row.data["a"], row.data["b"]) for row in CsvSource(str(path)).records()]
    assert read_back == rows
