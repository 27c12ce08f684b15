"""The client over a real socket: what the network does to a call, no stand-in between."""

import datetime
import random
import socket
import threading

import pytest

from orchestrator.domain.errors import UnansweredError, UnavailableError
from orchestrator.provider.client import HttpProvider, Patience
from orchestrator.provider.profiles import load_profile

CREATE = {
    "endpoint": "/v1/chat/completions",
    "window": "24h",
    "metadata": {},
    "idempotency_key": "",
}


class Line:
    """A listening socket that reads each call whole, says `answer`, and hangs up."""

    def __init__(self, answer):
        self.answer = answer
        self.received = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}/v1"

    def _serve(self):
        while True:
            try:
                connection, _address = self.socket.accept()
            except OSError:
                return
            with connection:
                self.received.append(_read_call(connection))
                connection.sendall(self.answer)

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join(5)


def _read_call(connection):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        ),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head.split(b"\r\n")[0], body


@pytest.fixture
def dial():
    opened = []

    def dialled(answer):
        line = Line(answer)
        provider = provider_at(line.url)
        opened.extend([provider, line])
        return line, provider

    yield dialled
    for thing in opened:
        thing.close()


def provider_at(url):
    return HttpProvider(
        name="here",
        profile=load_profile("sandbox"),
        key=None,
        base_url=url,
        now=lambda: datetime.datetime.now(datetime.UTC),
        monotonic=lambda: 0.0,
        sleep=lambda _seconds: None,
        rng=random.Random(1),
        patience=Patience(attempts=2),
    )


def test_a_closed_port_means_that_nothing_was_sent():
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    provider = provider_at(f"http://127.0.0.1:{port}/v1")
    with pytest.raises(UnavailableError) as caught:
        provider.create("f", **CREATE)
    provider.close()
    assert caught.value.code == "ORC3201"


def test_a_server_that_hangs_up_after_the_create_leaves_it_unanswered(dial):
    line, provider = dial(b"")
    with pytest.raises(UnansweredError):
        provider.create("f", **CREATE)
    assert [call for call, _body in line.received] == [b"POST /v1/batches HTTP/1.1"]


def test_a_server_that_speaks_no_http_leaves_a_create_unanswered(dial):
    _line, provider = dial(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    with pytest.raises(UnansweredError):
        provider.create("f", **CREATE)


def test_a_body_shorter_than_announced_is_never_taken_over(dial, tmp_path):
    line, provider = dial(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}\n")
    with pytest.raises(UnavailableError):
        provider.download("f", tmp_path / "out", max_bytes=1000)
    assert len(line.received) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_body_cut_by_hanging_up_is_never_taken_over(dial, tmp_path):
    _line, provider = dial(b'HTTP/1.0 200 OK\r\n\r\n{"custom_id":"a"}\n{"custom')
    with pytest.raises(UnavailableError) as caught:
        provider.download("f", tmp_path / "out", max_bytes=1000)
    assert caught.value.code == "ORC3206"
    assert list(tmp_path.iterdir()) == []


def test_an_upload_arrives_whole(dial, tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'{"custom_id":"a"}\n' * 50_000)
    line, provider = dial(b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"id":"f1"}')
    assert provider.upload(path, "x.jsonl").id == "f1"
    ((_call, body),) = line.received
    assert path.read_bytes() in body
