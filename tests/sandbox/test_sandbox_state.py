"""Books, blobs, the clock, and what survives the end of a process."""

import io
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sandbox_kit import NOON, Kit

from orchestrator.domain.errors import ConfigError
from orchestrator.sandbox.blobs import DiskBlobs, MemoryBlobs, read_range
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.forms import FormReader
from orchestrator.sandbox.journal import open_sandbox
from orchestrator.sandbox.refusals import Refusal
from orchestrator.sandbox.temper import BAD, GOOD, Batches, Lines, Quirks, Temper
from orchestrator.sandbox.transport import SandboxTransport


def test_the_books_tell_files_batches_and_who_was_billed(make_kit):
    kit = make_kit(Temper(lines=Lines(content_filter=0.3, missing=0.2)))
    file_id = kit.upload(100)
    kit.finish(kit.create(file_id, metadata={"token": "t1"}))
    kit.create(kit.upload(100), metadata={"token": "t1"})
    kit.http.delete(f"/files/{file_id}")
    books = kit.sandbox.books()
    assert (books.files[0].id, books.files[0].deleted) == (file_id, True)
    done, young = books.batches
    assert (done.status, done.total, young.status, young.total) == (
        "completed",
        100,
        "validating",
        0,
    )
    assert young.executed == 0
    assert 0 < done.billed < done.executed < 100
    assert sum(books.executed.values()) == done.executed
    assert sum(books.billed.values()) == done.billed
    assert books.batches_per_metadata("token") == {"t1": 2}
    assert books.batches_per_input()[file_id] == 1
    assert books.billed_twice() == {}


def test_a_line_answered_in_two_batches_is_billed_twice(kit):
    file_id = kit.upload(2)
    for _ in range(2):
        kit.finish(kit.create(file_id))
    assert kit.sandbox.books().billed_twice() == {"r-0": 2, "r-1": 2}


@pytest.fixture(params=["memory", "disk"])
def store(request, tmp_path):
    return MemoryBlobs() if request.param == "memory" else DiskBlobs(tmp_path / "blobs")


def test_a_blob_is_seen_only_when_committed_and_until_deleted(store):
    writer = store.writer()
    writer.write(b"one")
    writer.write(b"two")
    assert (writer.size, store.size("k")) == (6, None)
    writer.commit("k")
    writer.discard()
    with store.reader("k") as blob, store.reader("k", scattered=True) as scattered:
        assert blob.read() == b"onetwo"
        scattered.seek(3)
        assert scattered.read(2) == b"tw"
    assert b"".join(read_range(store, "k", 1, 4)) == b"net"
    assert b"".join(read_range(store, "k", 4, 99)) == b"wo"
    store.delete("k")
    store.delete("k")
    assert store.size("k") is None
    with pytest.raises(KeyError):
        store.reader("k")


def test_what_was_half_written_is_removed_at_the_next_start(tmp_path):
    writer = DiskBlobs(tmp_path).writer()
    writer.write(b"half")
    assert len(list(tmp_path.iterdir())) == 1
    DiskBlobs(tmp_path)
    assert list(tmp_path.iterdir()) == []
    writer.discard()


def test_the_clock_runs_at_its_speed_and_never_back():
    wall = [100.0]
    jumps = []
    clock = SandboxClock(lambda: wall[0], speed=60, origin=NOON, jumped=jumps.append)
    wall[0] += 2
    assert clock() == NOON + 120
    assert clock.advance(30) == NOON + 150
    wall[0] += 1
    assert clock() == NOON + 210
    wall[0] -= 50
    assert clock() == NOON + 210
    assert jumps == [NOON + 150]
    with pytest.raises(ValueError, match="can't go back"):
        clock.advance(-1)


@given(data=st.binary(max_size=3000), cuts=st.lists(st.integers(1, 500), max_size=20))
def test_any_bytes_come_through_a_form_however_it_is_cut(data, cuts):
    request = httpx.Request(
        "POST", "http://x", data={"purpose": "batch"}, files={"file": ("ä b.jsonl", data)}
    )
    body = io.BytesIO(request.read())

    class Cut:
        def read(self, size: int = -1) -> bytes:
            return body.read(cuts.pop() if cuts else size)

    store = MemoryBlobs()
    blob = store.writer()
    form = FormReader(request.headers["content-type"], blob, 10_000).read(Cut())
    blob.commit("k")
    assert (form.file_name, form.fields) == ("ä b.jsonl", {"purpose": "batch"})
    with store.reader("k") as kept:
        assert kept.read() == data


def test_a_form_that_breaks_its_grammar_is_refused():
    blob = MemoryBlobs().writer()
    reader = FormReader("multipart/form-data; boundary=b", blob, 10)
    with pytest.raises(Refusal, match="malformed multipart"):
        reader.read(io.BytesIO(b"no boundary here"))


class Kept:
    """A sandbox in a folder that can be left and opened again, under a wall clock of its own."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.wall = NOON
        self.journal = None

    def open(self, temper: Temper = GOOD, **options) -> Kit:
        kit = Kit(temper)
        kit.http.close()
        options = {"seed": 7, "speed": 3600} | options
        kit.sandbox, kit.clock, self.journal = open_sandbox(
            self.folder, wall=lambda: self.wall, temper=temper, **options
        )
        kit.http = httpx.Client(
            transport=SandboxTransport(kit.sandbox),
            base_url="http://sandbox.test/v1",
            headers={"authorization": "Bearer sk-test"},
        )
        return kit

    def close(self, kit: Kit) -> None:
        kit.http.close()
        self.journal.close()


@pytest.fixture
def kept(tmp_path) -> Kept:
    return Kept(tmp_path / "state")


def shown(kit: Kit) -> tuple:
    batches, files = kit.get("/batches", limit=100)["data"], kit.get("/files")["data"]
    contents = {file["id"]: kit.content(file["id"]) for file in files}
    return batches, files, contents, kit.sandbox.books()


def test_a_sandbox_that_is_opened_again_goes_on_where_it_was(kept):
    temper = Temper(lines=Lines(overloaded=0.2), quirks=Quirks(advance_when_asked=True))
    kit = kept.open(temper)
    done, cancelled, deleted = (kit.create(kit.upload(20, f"{n}.jsonl")) for n in "abc")
    kit.http.post(f"/batches/{cancelled['id']}/cancel")
    kit.http.delete(f"/files/{deleted['input_file_id']}")
    kit.clock.advance(90_000)
    output = kit.get(f"/batches/{done['id']}")["output_file_id"]
    kit.http.delete(f"/files/{output}")
    before = shown(kit)
    kept.close(kit)

    kit = kept.open(temper, seed=99)
    assert shown(kit) == before
    assert kit.upload() not in before[2]
    kept.close(kit)


def test_time_goes_on_while_the_sandbox_is_away(kept):
    kit = kept.open(Temper(batches=Batches(validating=(10, 10), running=(7200, 7200))))
    batch = kit.create(kit.upload())
    now = kit.clock()
    kept.close(kit)
    kept.wall += 1
    kit = kept.open(speed=1)
    assert kit.clock() == now + 3600
    assert kit.get(f"/batches/{batch['id']}")["status"] == "in_progress"
    kept.close(kit)
    kept.wall += 3600 + 300
    kit = kept.open()
    assert kit.get(f"/batches/{batch['id']}")["status"] == "completed"
    kept.close(kit)


def test_a_late_effect_survives_the_end_of_the_process(kept):
    kit = kept.open()
    file_id = kit.upload()
    kit.sandbox.inject("create", "late", seconds=7200)
    with pytest.raises(httpx.ReadTimeout):
        kit.create_raw(file_id)
    kept.close(kit)
    kit = kept.open()
    assert kit.get("/batches")["data"] == []
    kept.wall += 2
    assert kit.get("/batches")["data"][0]["input_file_id"] == file_id
    kept.close(kit)


def test_a_batch_keeps_its_temper_over_a_restart(kept):
    kit = kept.open(Temper(lines=Lines(content_filter=1.0)))
    batch = kit.create(kit.upload(5))
    kept.close(kit)
    kept.wall += 24
    kit = kept.open(GOOD)
    assert kit.get(f"/batches/{batch['id']}")["request_counts"]["failed"] == 5
    fresh = kit.create(kit.upload(5))
    kept.wall += 24
    assert kit.get(f"/batches/{fresh['id']}")["request_counts"]["completed"] == 5
    kept.close(kit)


@pytest.mark.parametrize("cut", [1, 20])
def test_a_journal_whose_last_line_was_cut_off_goes_on_without_it(kept, cut):
    kit = kept.open()
    file_id = kit.upload()
    kit.create(file_id)
    kept.close(kit)
    path = kept.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    for _ in range(2):
        kit = kept.open()
        assert [file["id"] for file in kit.get("/files")["data"]] == [file_id]
        assert kit.get("/batches")["data"] == []
        kept.close(kit)
    kit = kept.open()
    kit.create(file_id)
    kept.close(kit)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_a_journal_damaged_in_its_middle_is_refused(kept):
    kit = kept.open()
    kit.upload()
    kept.close(kit)
    path = kept.folder / "journal.jsonl"
    path.write_bytes(b'{"op":"nonsense"}\n' + path.read_bytes())
    with pytest.raises(ConfigError, match="damaged at line 1") as caught:
        kept.open()
    assert caught.value.code == "ORC3802"


def test_a_folder_that_cannot_be_used_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't keep its state") as caught:
        Kept(tmp_path / "file" / "below").open()
    assert caught.value.code == "ORC3802"


@pytest.mark.parametrize("seed", range(5))
def test_a_bad_day_replays_to_the_same_account(kept, seed):
    kit = kept.open(BAD, seed=seed)
    for number in range(60):
        try:
            file_id = kit.upload_raw(kit.jsonl([kit.line("a"), kit.line("b")])).json()["id"]
            batch = kit.create_raw(file_id).json()["id"]
            if number % 3 == 0:
                kit.http.post(f"/batches/{batch}/cancel")
            if number % 4 == 0:
                kit.http.delete(f"/files/{file_id}")
        except (httpx.HTTPError, KeyError, json.JSONDecodeError):
            kept.wall += 0.01
    kit.clock.advance(40)
    before = kit.sandbox.books()
    assert len(before.batches) > 30
    kept.close(kit)
    kit = kept.open(BAD)
    assert kit.sandbox.books() == before
    kept.close(kit)
