"""Objects and files at a URL, over a real socket."""

import gzip

import pyarrow as pa
import pytest
from pyarrow import parquet
from support.object_store import serving

from orchestrator.domain.errors import NotFound, SourceError
from orchestrator.sources.registry import open_source

SECRET = "a-secret-of-the-environment"


@pytest.fixture
def objects():
    with serving() as objects:
        yield objects


@pytest.fixture
def s3(objects, monkeypatch):
    """The same server as an S3, with credentials in the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": objects.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "a-key-id",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    return objects


def parquet_bytes(count, **columns):
    out = pa.BufferOutputStream()
    table = pa.table({"n": range(count), "text": ["x" * 100 + str(n) for n in range(count)]})
    parquet.write_table(table, out, **columns)
    return out.getvalue().to_pybytes()


def test_text_is_read_from_a_web_server_that_serves_no_ranges(objects):
    objects.serves_ranges = False
    objects.held["data/a b.jsonl"] = b'{"a":1}\n{"a":2}\n'
    source = open_source(f"{objects.url}/data/a%20b.jsonl")
    assert [row.data["a"] for row in source.records()] == [1, 2]


def test_packed_text_is_unpacked_on_its_way(objects):
    objects.held["a.csv.gz"] = gzip.compress(b"a\n1\n" * 1)
    rows = open_source(f"{objects.url}/a.csv.gz").records()
    assert [row.data for row in rows] == [{"a": "1"}]


def test_parquet_is_read_from_a_web_server_by_ranges(objects):
    objects.held["a.parquet"] = parquet_bytes(50_000, row_group_size=5_000)
    source = open_source(f"{objects.url}/a.parquet")
    assert [row.data["n"] for row in source.records()] == list(range(50_000))
    assert source.shape().rows == 50_000
    assert {span is not None for method, _, span in objects.asked if method == "GET"} == {True}


def test_an_object_is_read_from_a_bucket_with_the_environments_credentials(s3):
    s3.held["bucket/in/a.parquet"] = parquet_bytes(10)
    source = open_source("s3://bucket/in/a.parquet")
    assert len(list(source.records())) == 10
    before = source.digest()
    s3.held["bucket/in/a.parquet"] = parquet_bytes(11)
    assert source.digest() != before


def test_an_object_that_is_replaced_while_it_is_read_is_noticed(s3):
    s3.held["bucket/a.parquet"] = parquet_bytes(10)
    rows = open_source("s3://bucket/a.parquet").records()
    next(rows)
    s3.held["bucket/a.parquet"] = parquet_bytes(11)
    with pytest.raises(SourceError, match="changed while it was read"):
        list(rows)


def test_a_pattern_in_a_bucket_lists_what_fits_by_name(s3):
    for name in ("b", "a", "sub/c"):
        s3.held[f"bucket/in/{name}.jsonl"] = b'{"x":"%s"}\n' % name.encode()
    s3.held["bucket/in/other.txt"] = b"no"
    source = open_source("s3://bucket/in/*.jsonl")
    assert [row.data["x"] for row in source.records()] == ["a", "b"]
    assert source.shape().parts == ("a.jsonl", "b.jsonl")
    deep = open_source("s3://bucket/in/**/*.jsonl")
    assert [row.data["x"] for row in deep.records()] == ["a", "b", "sub/c"]
    with pytest.raises(NotFound, match=r"no file fits s3://bucket/in/\*\.csv"):
        open_source("s3://bucket/in/*.csv")


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_an_object_that_is_not_there_is_not_found(s3, ending):
    with pytest.raises(NotFound, match="there is nothing at s3://bucket/none"):
        open_source(f"s3://bucket/none.{ending}")


def test_a_refusal_is_told_without_a_credential(s3):
    s3.status = 403
    with pytest.raises(SourceError, match=r"s3://bucket/a\.jsonl can't be read") as caught:
        open_source("s3://bucket/a.jsonl")
    assert caught.value.code == "ORC2039"
    assert "403" in caught.value.why
    assert SECRET not in str(caught.value.to_dict())


def test_parquet_from_a_server_without_ranges_is_refused_in_its_words(objects):
    objects.serves_ranges = False
    objects.held["a.parquet"] = parquet_bytes(10)
    with pytest.raises(SourceError, match=r"a\.parquet can't be read") as caught:
        open_source(f"{objects.url}/a.parquet")
    assert "ange" in caught.value.why


@pytest.mark.parametrize("location", ["https://host/a.csv?sig=hush", "https://me:hush@host/a.csv"])
def test_an_address_that_may_hold_a_credential_is_refused_and_not_shown(location):
    with pytest.raises(SourceError, match="is no plain address") as caught:
        open_source(location)
    assert "hush" not in str(caught.value.to_dict())
