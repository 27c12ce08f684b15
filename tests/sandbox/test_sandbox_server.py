"""The sandbox behind a real socket, used by the vendor's own SDK and by a bare client."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import openai
import pytest
from sandbox_kit import ENDPOINT, KEY

from orchestrator.domain.errors import ConfigError
from orchestrator.sandbox.blobs import DiskBlobs
from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.server import running_sandbox, serve
from orchestrator.sandbox.temper import GOOD


@pytest.fixture
def served(kit):
    with (
        running_sandbox(kit.sandbox) as url,
        httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as http,
    ):
        kit.http.close()
        kit.http = http
        yield kit


def test_the_sdk_of_openai_works_unchanged(kit):
    with (
        running_sandbox(kit.sandbox) as url,
        openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client,
    ):
        data = kit.jsonl(kit.line(f"r-{number}") for number in range(30))
        file = client.files.create(file=("in.jsonl", data), purpose="batch")
        assert (file.filename, file.bytes) == ("in.jsonl", len(data))
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint=ENDPOINT,
            completion_window="24h",
            metadata={"token": "t"},
        )
        assert (batch.status, batch.metadata) == ("validating", {"token": "t"})
        other = client.batches.create(
            input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h"
        )
        assert client.batches.cancel(other.id).status == "cancelling"
        kit.clock.advance(86_400)
        assert [item.id for item in client.batches.list(limit=1)] == [other.id, batch.id]
        ended = client.batches.retrieve(batch.id)
        assert ended.status == "completed"
        assert ended.request_counts.completed == 30
        assert client.files.content(ended.output_file_id).text.count("\n") == 30
        assert file.id in [item.id for item in client.files.list()]
        assert client.files.retrieve(file.id).id == file.id
        assert client.files.delete(file.id).deleted
        with pytest.raises(openai.NotFoundError, match="not found"):
            client.files.retrieve(file.id)
        with pytest.raises(openai.BadRequestError, match="completed"):
            client.batches.cancel(batch.id)
        assert "kimi-k2.6" in [model.id for model in client.models.list()]
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").models.list()


@pytest.mark.parametrize("fault", ["dropped", "answer_lost", "late"])
def test_a_broken_connection_really_breaks(served, fault):
    file_id = served.upload()
    served.sandbox.inject("create", fault)
    with pytest.raises(httpx.TransportError):
        served.create_raw(file_id)
    happened = len(served.get("/batches")["data"])
    assert happened == (1 if fault == "answer_lost" else 0)


def test_an_upload_may_be_dropped_on_the_way(served):
    served.sandbox.inject("upload", "dropped")
    with pytest.raises(httpx.TransportError):
        served.upload_raw(b"x" * 5_000_000)
    assert served.get("/files")["data"] == []


def test_a_truncated_body_ends_before_its_length(served):
    file_id = served.upload(2000)
    whole = served.content(file_id)
    served.sandbox.inject("content", "truncated")
    got: list[bytes] = []
    with served.http.stream("GET", f"/files/{file_id}/content") as reply:
        assert int(reply.headers["content-length"]) == len(whole)
        with pytest.raises(httpx.RemoteProtocolError):
            got.extend(reply.iter_bytes())
    assert b"".join(got) == whole[: len(whole) // 2]


def test_a_refused_upload_is_answered_though_its_body_is_large(served):
    served.sandbox.inject("upload", "throttled")
    assert served.upload_raw(b"x" * 20_000_000).status_code == 429
    assert served.upload_raw(b"x" * 20_000_000, "in.txt").status_code == 400


HALF_AN_UPLOAD = (
    b"POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-test\r\n"
    b"content-type: multipart/form-data; boundary=b\r\ncontent-length: 5000\r\n\r\n--b\r\n"
)


def test_a_client_that_hangs_up_while_it_sends_leaves_nothing_behind(served):
    host, port = served.http.base_url.host, served.http.base_url.port
    with socket.create_connection((host, port)) as connection:
        connection.sendall(HALF_AN_UPLOAD)
    assert served.get("/files")["data"] == []


def test_the_server_stops_although_a_client_never_ends_its_upload(kit):
    with socket.socket() as connection:
        with running_sandbox(kit.sandbox) as url:
            at = httpx.URL(url)
            connection.connect((at.host, at.port))
            connection.sendall(HALF_AN_UPLOAD)
            assert httpx.get(f"{url}/models").status_code == 401
        assert not [thread for thread in threading.enumerate() if "sandbox" in thread.name]


def test_a_content_that_is_deleted_while_it_is_sent_is_never_taken_for_whole(kit):
    file_id = kit.upload(2000)
    with kit.http.stream("GET", f"/files/{file_id}/content") as reply:
        kit.http.delete(f"/files/{file_id}")
        with pytest.raises(httpx.RemoteProtocolError):
            reply.read()


def test_many_clients_are_served_at_once(served):
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(served.upload())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 20
    names = [file["filename"] for file in served.get("/files")["data"]]
    assert len(set(names)) == 20


def test_large_uploads_and_contents_stay_out_of_memory(tmp_path):
    clock = SandboxClock(lambda: 1e9, speed=0)
    sandbox = Sandbox(clock, temper=GOOD, blobs=DiskBlobs(tmp_path))
    size = 90_000_000

    class Zeros:
        left = size

        def read(self, wanted: int = -1) -> bytes:
            taken = min(self.left, 1 << 18 if wanted < 0 else wanted)
            self.left -= taken
            return b"0" * taken

        def __iter__(self):
            while chunk := self.read():
                yield chunk

    head = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
    )

    def body():
        yield head
        yield from Zeros()
        yield b"\r\n--b--\r\n"

    headers = {
        "authorization": f"Bearer {KEY}",
        "content-type": "multipart/form-data; boundary=b",
    }
    with (
        running_sandbox(sandbox) as url,
        httpx.Client(base_url=url, headers=headers, timeout=60) as http,
    ):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        file = http.post("/files", content=body()).json()
        assert file["bytes"] == size
        with http.stream("GET", f"/files/{file['id']}/content") as reply:
            assert sum(len(chunk) for chunk in reply.iter_bytes()) == size
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 40_000, f"memory grew by {grown} KiB"


def test_an_address_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1 port {port}") as caught:
            serve(port=port)
    assert caught.value.code == "ORC3803"


SERVE = """
import sys
from pathlib import Path
from orchestrator.sandbox.server import serve
serve(port=0, state_dir=Path(sys.argv[1]), speed=3600, key="sk-own",
      ready=lambda url: print(url, flush=True))
"""


def served_process(folder) -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def ended(process: subprocess.Popen, number: signal.Signals) -> int:
    os.kill(process.pid, number)
    process.communicate(timeout=20)
    return process.returncode


def test_a_killed_server_goes_on_where_it_was_and_stops_politely_when_asked(tmp_path, kit):
    headers = {"authorization": "Bearer sk-own"}
    process, url = served_process(tmp_path)
    with httpx.Client(base_url=url, headers=headers) as kit.http:
        file_id = kit.upload(10)
        batch = kit.create(file_id)
    assert ended(process, signal.SIGKILL) == -signal.SIGKILL
    process, url = served_process(tmp_path)
    with httpx.Client(base_url=url, headers=headers) as kit.http:
        assert [file["id"] for file in kit.get("/files")["data"]][-1] == file_id
        assert kit.get(f"/batches/{batch['id']}")["created_at"] == batch["created_at"]
    assert ended(process, signal.SIGTERM) == 0


def test_an_answer_never_waits_for_the_acknowledgement_of_its_head(served):
    seconds = []
    for _ in range(21):
        began = time.perf_counter()
        served.http.get("/files")
        seconds.append(time.perf_counter() - began)
    assert sorted(seconds)[10] < 0.03, "a delayed ACK takes 40 ms"
