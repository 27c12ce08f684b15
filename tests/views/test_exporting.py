from __future__ import annotations

import csv
import errno
import io
import json
import sys
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from support.outputs import Kept

from orchestrator import api
from orchestrator.api.verifying import verify
from orchestrator.domain.cost import actual
from orchestrator.domain.errors import IntegrityError, RegistryError, SinkError
from orchestrator.domain.filters import RECORD_FIELDS, parse_filter
from orchestrator.engine import blocks, source_columns
from orchestrator.engine.outcome_rows import Rows
from orchestrator.provider.profiles import load_profile
from orchestrator.registry import jobs
from orchestrator.registry.joined import joined_range
from orchestrator.registry.outcomes import span
from orchestrator.sinks.files import OutputFile, OutputStream, SinkFull
from orchestrator.sinks.port import COLUMNS

SCHEMAS = Path(__file__).parents[2] / "config" / "schemas"


def price(provider, model):
    found = load_profile(provider).models.get(model)
    return found.price if found else None


def exported(world, name="labels", kind="jsonl", **how):
    kept = Kept()
    job = api.find_job(world.registry, name)
    done = api.export(world.registry, job, kept, kind=kind, prices=price, **how)
    assert kept.closed
    return done, kept.bytes.decode()


def test_every_record_has_one_row_in_source_order_with_its_outcome(shared):
    job = shared.job("done")
    done, text = exported(shared, "done")
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["id"] for row in rows] == [f"r-{n:05d}" for n in range(200)]
    assert list(rows[0]) == ["id", "text", "outcome", "answer_text", *COLUMNS[2:]]
    counts = {word: sum(row["outcome"] == word for row in rows) for word in ("succeeded", "failed")}
    assert counts == {"succeeded": job.books.succeeded, "failed": job.books.failed}
    assert counts["failed"]
    for row in rows:
        assert (row["answer_text"] is not None) == (row["outcome"] == "succeeded")
        assert bool(row["error_message"]) == (row["outcome"] == "failed")
        assert row["attempts"] >= 1
        assert row["batch"].startswith("b")
    assert (done.rows, done.open, done.renamed) == (200, 0, (("text", "answer_text"),))
    costs = [Decimal(str(row["cost"])) for row in rows if row["cost"] is not None]
    known = price("sandbox", "kimi-k2.6")
    whole = actual(job.tokens_in, job.tokens_out, job.tokens_cached, known)
    assert sum(costs) == whole.amount


def test_open_records_are_exported_as_open(world):
    world.submit(120)
    world.tick()
    done, text = exported(world)
    rows = [json.loads(line) for line in text.splitlines()]
    assert {row["outcome"] for row in rows} == {"open"}
    assert {row["batch"] for row in rows} == {"b01", "b02", "b03"}
    assert done.open == 120


def test_a_filter_exports_only_what_matches_still_in_order(shared):
    job = shared.job("done")
    where = parse_filter("state:failed", RECORD_FIELDS, now=shared.clock.now())
    done, text = exported(shared, "done", where=where)
    rows = [json.loads(line) for line in text.splitlines()]
    assert done.rows == len(rows) == job.books.failed
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)


@pytest.mark.parametrize("name", ["done", "labels"])
def test_records_read_joined_are_those_read_one_by_one(shared, name, monkeypatch):
    monkeypatch.setattr(blocks, "ODD_SHARE", 1)
    monkeypatch.setattr(blocks, "FIRST", 150)
    every = parse_filter("key:r-*", RECORD_FIELDS, now=shared.clock.now())
    job = shared.job(name)
    joined = [row for chunk in Rows(shared.registry, job, (), price) for row in chunk]
    single = [row for chunk in Rows(shared.registry, job, every, price) for row in chunk]
    assert joined == single
    assert len(single) == job.books.records
    assert len({(row.outcome, row.attempts) for row in single}) > 2 or name == "labels"


def test_a_chunk_of_odd_records_is_read_one_by_one(shared):
    job = shared.job("labels")
    first, last = span(job.id, 0, 100)
    with shared.registry.read() as db:
        joined = joined_range(db, first, last)
    assert blocks.usable(joined, first, last) is None
    assert blocks.usable(joined._replace(odd="[]"), first, last) == []
    for wrong in (
        joined._replace(odd="[]", last_model="other"),
        joined._replace(odd="[]", ids="[1]"),
    ):
        assert blocks.usable(wrong, first, last) is None


@pytest.mark.parametrize("name", ["done", "labels"])
def test_a_chunk_too_large_to_be_joined_is_read_one_by_one(shared, name, monkeypatch):
    job = shared.job(name)
    whole = [row for chunk in Rows(shared.registry, job, (), price) for row in chunk]

    def too_large(*_):
        raise RegistryError("string or blob too big")

    monkeypatch.setattr(blocks, "joined_range", too_large)
    assert [row for chunk in Rows(shared.registry, job, (), price) for row in chunk] == whole


def test_chunks_grow_by_and_by_and_shrink_at_once():
    assert [blocks.next_size(size, size * 10) for size in (64, 256, 1_024)] == [256, 1_024, 2_000]
    assert blocks.next_size(2_000, 2_000 * 100_000) == (8 << 20) // 100_000
    assert blocks.next_size(64, 64 * 10**7) == 16


def test_source_values_stay_as_they_were(world, write_lines):
    line = (
        '{"z": 9007199254740993, "id":"a", "f": 1.10, "n":null ,"u":"\\u00e9","o":{"b":1,"a":[]}}'
    )
    source = write_lines([line])
    world.submit(1, source=str(source), prompt="{id}")
    world.run()
    _, text = exported(world)
    assert text.startswith(line[:-1] + ',"outcome":"succeeded","text":')
    assert list(json.loads(text))[:6] == ["z", "id", "f", "n", "u", "o"]


def test_a_table_has_the_columns_of_all_records_in_first_seen_order(world, write_lines):
    source = write_lines(
        ['{"id":"a","x":1}', '{"id":"b","y":"=1+1"}', '{"x":null,"id":"c","z":{"q":true},"y":-5}']
    )
    world.submit(1, source=str(source), prompt="{id}")
    world.run()
    _, text = exported(world, kind="csv")
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["id", "x", "y", "z", *COLUMNS]
    assert [row[:4] for row in rows[1:]] == [
        ["a", "1", "", ""],
        ["b", "", "'=1+1", ""],
        ["c", "", "-5", '{"q":true}'],
    ]
    _, raw = exported(world, kind="csv", raw=True)
    assert next(r for r in csv.reader(io.StringIO(raw)) if r[0] == "b")[2] == "=1+1"


def test_ready_batch_lines_are_exported_with_the_columns_of_the_line(world, write_lines):
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "hi"}]}
    lines = [
        json.dumps(
            {"custom_id": f"c-{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        )
        for n in range(3)
    ]
    world.submit(1, source=str(write_lines(lines)), lines=True, prompt=None, key=None, model=None)
    world.run()
    _, text = exported(world)
    row = json.loads(text.splitlines()[2])
    assert (row["custom_id"], row["body"], row["outcome"]) == ("c-2", body, "succeeded")


def test_an_export_is_verified_row_by_row(shared, tmp_path):
    job = shared.job("done")
    for kind in ("jsonl", "csv"):
        path = tmp_path / f"out.{kind}"
        api.export(shared.registry, job, OutputFile(path), kind=kind, prices=price)
        assert all(e.ok for e in verify(shared.registry, job, export=path, prices=price))
        lines = path.read_text().splitlines(keepends=True)
        for broken in (
            lines[:-1],
            [*lines, lines[-1]],
            [*lines[:2], lines[3], lines[2], *lines[4:]],
            [*lines[:5], lines[5].replace("succeeded", "failed"), *lines[6:]],
        ):
            path.write_text("".join(broken))
            assert not all(e.ok for e in verify(shared.registry, job, export=path, prices=price))


def test_a_file_that_is_no_export_fails_the_check(world, tmp_path):
    world.submit(2)
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(IntegrityError, match="can't be read as an export"):
        verify(world.registry, world.job(), export=path)
    path = tmp_path / "other.jsonl"
    path.write_bytes(b"\xff\xfe not json\n[]\n")
    assert not all(e.ok for e in verify(world.registry, world.job(), export=path))


def test_every_equation_holds_at_any_time(bad_world):
    bad_world.submit(120)
    assert all(e.ok for e in verify(bad_world.registry, bad_world.job()))
    for _ in range(8):
        bad_world.clock.seconds += 240
        bad_world.tick()
        assert all(e.ok for e in verify(bad_world.registry, bad_world.job()))
    job = bad_world.run()
    assert job.books.open == 0
    assert all(e.ok for e in verify(bad_world.registry, job))


@pytest.mark.fault("T14")
def test_a_lost_response_and_a_wrong_counter_are_found(world, screen):
    world.submit(20)
    world.run()
    job = world.job()

    def damage(db):
        db.exec_driver_sql(f"DELETE FROM responses WHERE request_id = {job.id << 32}")
        jobs.count(db, job.id, tokens_in=1)

    world.registry.write(damage)
    wrong = {e.what for e in verify(world.registry, job) if not e.ok}
    assert "succeeded = succeeded requests with a response" in wrong
    assert "tokens in = sum over answers" in wrong
    ran = screen(world, "verify", "labels")
    assert ran.status == 6
    assert "WRONG" in ran.out
    assert json.loads(screen(world, "verify", "labels", "--json").out)["data"]["ok"] is False


def test_the_command_writes_a_file_and_says_which_column_gave_way(world, screen, tmp_path):
    world.submit(5)
    world.run()
    ran = screen(world, "export", "labels", "-o", "out.jsonl")
    assert (ran.status, ran.out) == (0, "out.jsonl\n")
    assert 'the source has a column "text"' in ran.err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5
    piped = screen(world, "export", "labels", "-o", "-", "--where", "key:r-00003")
    assert json.loads(piped.out)["id"] == "r-00003"
    data = json.loads(screen(world, "export", "labels", "-o", "a.csv", "--json").out)["data"]
    assert (data["rows"], data["format"], data["currency"]) == (5, "csv", "USD")


def test_the_command_writes_every_format_and_says_what_it_wrote(world, screen, tmp_path):
    world.submit(5)
    world.run()
    schema = json.loads((SCHEMAS / "export.schema.json").read_text(encoding="utf-8"))
    for target, argv, form in (
        ("a.parquet", (), "parquet"),
        ("a.arrow", (), "arrow"),
        ("a.feather", (), "feather"),
        ("a.xlsx", (), "xlsx"),
        ("a.tsv", (), "tsv"),
        ("parts/", (), "parquet"),
        ("parts", ("--format", "csv"), "csv"),
        (f"file://{tmp_path}/b.parquet", (), "parquet"),
    ):
        ran = screen(world, "export", "labels", "-o", target, *argv, "--json")
        document = json.loads(ran.out)
        jsonschema.validate(document, schema)
        assert (document["data"]["format"], document["data"]["rows"]) == (form, 5)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["part-00001.csv"]
    shown = screen(world, "export", "labels", "-o", "a.parquet", tty=True).err
    assert "check it: orchestrator verify labels --export a.parquet" in shown
    assert "check it" not in screen(world, "export", "labels", "-o", "a.xlsx", tty=True).err
    assert screen(world, "verify", "labels", "--export", "a.parquet").status == 0
    assert screen(world, "verify", "labels", "--export", "a.xlsx").status == 2


def test_a_package_that_is_not_there_is_named_with_the_way_to_it(world, screen, monkeypatch):
    world.submit(1)
    monkeypatch.delitem(sys.modules, "orchestrator.sinks.xlsx_file", raising=False)
    for package in ("xlsxwriter", "obstore"):
        monkeypatch.setitem(sys.modules, package, None)
    for target, words in (("a.xlsx", "[tables]"), ("s3://b/a.csv", "[objects]")):
        ran = screen(world, "export", "labels", "-o", target)
        assert (ran.status, "ORC6011" in ran.err, words in ran.err) == (78, True, True), ran.err


REFUSED = (
    (("-o", "nowhere/out.jsonl"), 73, "mkdir -p"),
    (("-o", "."), 73, "is a folder"),
    (("-o", "https://example.org/a.csv"), 73, "web server"),
    (("-o", "/dev/full"), 74, "make room"),
    (("-o", "out", "--format", "csvv"), 2, 'did you mean "csv"'),
    (("-o", "-", "--json"), 2, "both want stdout"),
)


def test_an_export_that_cannot_be_is_refused_with_what_to_do(world, screen, tmp_path):
    world.submit(3)
    for argv, status, words in REFUSED:
        ran = screen(world, "export", "labels", *argv)
        assert (ran.status, words in ran.err) == (status, True), argv
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_failed_export_leaves_the_older_file_as_it_was(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    output = OutputFile(path)
    output.write(b"new\n")
    output.abandon()
    assert path.read_text() == "old\n"
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]
    whole = OutputFile(path)
    whole.write(b"new\n")
    assert path.read_text() == "old\n"
    whole.close()
    assert path.read_text() == "new\n"


def test_a_full_disk_says_so_with_its_own_status(tmp_path):
    output = OutputFile(tmp_path / "out")
    full = OSError(errno.ENOSPC, "No space left on device")

    class Full:
        def write(self, _data):
            raise full

        def close(self):
            pass

    output._file.close()
    output._file = Full()
    with pytest.raises(SinkFull) as error:
        output.write(b"x")
    assert (error.value.exit_code, error.value.code) == (74, "ORC6004")
    output.abandon()


def test_a_broken_sink_is_abandoned(world):
    world.submit(3)

    class Broken(Kept):
        def write(self, data):
            raise SinkError("no")

    broken = Broken()
    with pytest.raises(SinkError):
        api.export(world.registry, world.job(), broken, kind="jsonl")
    assert broken.abandoned
    assert not broken.closed


def test_a_stream_gets_every_byte_and_is_left_open():
    got = []
    stream = OutputStream(got.append, lambda: got.append(b"flushed"))
    stream.write(b"a")
    stream.abandon()
    stream.close()
    assert got == [b"a", b"flushed"]


def test_too_many_columns_are_no_table(world, write_lines, monkeypatch):
    monkeypatch.setattr(source_columns, "MAX_COLUMNS", 3)
    source = write_lines(['{"id":"a","b":1,"c":2,"d":3}'])
    world.submit(1, source=str(source), prompt="{id}")
    with pytest.raises(SinkError, match="different columns"):
        exported(world, kind="csv")
    assert exported(world)[0].rows == 1
