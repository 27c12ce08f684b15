"""Where exports go: folders of parts and objects at addresses, each whole or not at all."""

from __future__ import annotations

import pyarrow.parquet
import pytest
from support.finished import completion, finished

from orchestrator import api
from orchestrator.api.verifying import can_be_verified, verify
from orchestrator.domain.errors import SinkError, UsageError
from orchestrator.engine import blocks
from orchestrator.sinks import folders
from orchestrator.sinks.files import OutputFile, SinkFull
from orchestrator.sinks.folders import OutputFolder
from orchestrator.sinks.places import open_place
from orchestrator.sinks.port import header_of
from orchestrator.sinks.remote_files import RemoteFile, is_url


def many(registry, count):
    return finished(registry, (f'{{"id":{n}}}' for n in range(count)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_gets_parts_that_are_one_table(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "PART_ROWS", 700)
    monkeypatch.setattr(blocks, "_MOST", 500)
    job = many(registry, 1_800)
    for kind in ("parquet", "jsonl"):
        api.export(registry, job, open_place("out/", kind, tmp_path), kind=kind)
        assert names(tmp_path / "out") == [f"part-0000{n}.{kind}" for n in (1, 2)]
        assert names(tmp_path) == ["out"]
    api.export(registry, job, open_place("out", "parquet", tmp_path), kind="parquet")
    table = pyarrow.parquet.read_table(tmp_path / "out")
    assert table.column("id").to_pylist() == list(range(1_800))


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SinkError, match="holds other files") as error:
        open_place(".", "parquet", tmp_path)
    assert (error.value.code, "mine.txt" in error.value.why) == ("ORC6002", True)
    assert names(tmp_path) == ["mine.txt"]


def test_a_folder_that_is_given_up_leaves_the_earlier_one(registry, tmp_path, monkeypatch):
    job = many(registry, 3)
    api.export(registry, job, OutputFolder(tmp_path / "out", "csv"), kind="csv")
    before = (tmp_path / "out" / "part-00001.csv").read_bytes()
    folder = OutputFolder(tmp_path / "out", "csv")
    monkeypatch.setattr(folder, "part", Full)
    with pytest.raises(SinkFull):
        api.export(registry, job, folder, kind="csv")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "part-00001.csv").read_bytes() == before


class Full:
    """A part on a disk without room."""

    def write(self, _data):
        raise SinkFull("no room")

    def abandon(self):
        pass


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather", "xlsx", "csv"])
def test_a_disk_that_fills_up_is_told_as_that_whatever_the_format(registry, kind):
    with pytest.raises(SinkFull):
        api.export(registry, many(registry, 3), Full(), kind=kind)


def test_an_object_appears_whole_or_not_at_all(registry, tmp_path):
    url = f"file://{tmp_path}/out.parquet"
    job = many(registry, 10)
    api.export(registry, job, open_place(url, "parquet", tmp_path), kind="parquet")
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").num_rows == 10
    whole = (tmp_path / "out.parquet").read_bytes()
    upload = RemoteFile(url)
    upload.write(b"x" * (9 << 20))
    upload.abandon()
    assert (tmp_path / "out.parquet").read_bytes() == whole
    assert names(tmp_path) == ["out.parquet"]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("https://example.org/out.parquet", "a web server takes no files"),
        ("s3://bucket/out.parquet?token=secret", "may be a credential"),
        ("s3://user:secret@bucket/out.parquet", "may be a credential"),
        ("s3://bucket/", "names no object"),
        ("s3://bucket", "names no object"),
    ],
)
def test_an_address_that_cannot_be_is_refused_without_its_secret(location, why, tmp_path):
    with pytest.raises(SinkError) as error:
        open_place(location, "parquet", tmp_path)
    assert error.value.code == "ORC6013"
    assert why in error.value.why
    assert "secret" not in str(error.value.to_dict())


def test_a_store_that_refuses_is_told_in_its_words(registry, tmp_path):
    (tmp_path / "file").write_text("")
    upload = open_place(f"file://{tmp_path}/file/out.csv", "csv", tmp_path)
    with pytest.raises(SinkError, match="can't be written") as error:
        api.export(registry, many(registry, 1), upload, kind="csv")
    assert (error.value.code, bool(error.value.why)) == ("ORC6013", True)


def test_what_is_an_address_and_what_a_path():
    assert is_url("s3://b/k")
    assert is_url("https://b/k")
    assert not is_url("C://b")
    assert not is_url("a/b.csv")


@pytest.mark.parametrize("kind", ["tsv", "parquet", "arrow", "feather"])
def test_a_typed_export_is_verified_row_by_row(registry, tmp_path, kind):
    records = ['{"id":"a","n":[1,null]}', '{"id":"b","n":null}', '{"id":"c","n":[]}']
    job = finished(registry, records, bodies=[completion("x"), completion("=y")])
    path = tmp_path / f"out.{kind}"
    api.export(registry, job, OutputFile(path), kind=kind)
    assert can_be_verified(path.name, kind, tmp_path)
    assert told(registry, job, path) == (True, True, True)
    other = finished(registry, records, bodies=[completion("x"), completion("z")])
    assert told(registry, other, path) == (True, True, False)
    fewer = finished(registry, ['{"id":"z","n":[2]}', *records[1:2]], bodies=[completion("x")])
    assert told(registry, fewer, path) == (False, False, False)


def told(registry, job, path):
    return tuple(equation.ok for equation in verify(registry, job, export=path)[-3:])


def test_a_workbook_is_not_verified_and_says_what_is(registry, tmp_path):
    job = many(registry, 1)
    with pytest.raises(UsageError, match="xlsx can't be verified"):
        verify(registry, job, export=tmp_path / "out.xlsx")
    assert not can_be_verified("out.xlsx", "xlsx", tmp_path)
    assert not can_be_verified("out/", "parquet", tmp_path)
    assert not can_be_verified("out.parquet", "csv", tmp_path)


def test_a_table_of_no_rows_has_its_columns(registry, tmp_path):
    job = finished(registry, [])
    for kind in ("parquet", "xlsx", "csv"):
        api.export(registry, job, OutputFile(tmp_path / f"out.{kind}"), kind=kind)
    schema = pyarrow.parquet.read_schema(tmp_path / "out.parquet")
    assert schema.names == [column.name for column in header_of(()).columns]
