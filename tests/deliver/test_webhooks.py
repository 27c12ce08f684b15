"""Outcomes posted to a server of the user's: signed, once or again with the same id."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from support.world import World

from orchestrator.api import control
from orchestrator.domain.model import Delivery, DeliveryState
from orchestrator.domain.spec import SinkSpec
from orchestrator.registry import deliveries
from orchestrator.sinks.chunks import SinkAway, SinkRefused
from orchestrator.sinks.port import Header
from orchestrator.sinks.webhook import Address, Webhook, sign

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()


class Receiver:
    """A server that keeps what it is sent and answers as it is told to."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.seen.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status, headers = outer.answers.pop(0) if outer.answers else (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/in/secret-path"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def outcomes(self) -> list[dict[str, Any]]:
        return [o for _, body in self.seen for o in json.loads(body)["outcomes"]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def hook(receiver: Receiver, *, stream: bool = False, **options: Any) -> SinkSpec:
    return SinkSpec(
        location=receiver.url,
        format="webhook",
        stream=stream,
        options={"allow_private": True, **options},
    )


def delivery(world: World) -> Delivery:
    with world.registry.read() as db:
        (found,) = deliveries.of_job(db, world.job().id)
    return found


def test_every_outcome_is_posted_signed(world: World, receiver: Receiver) -> None:
    object.__setattr__(world.context, "secret", lambda _reference, _what: SECRET)
    world.submit(25, sinks=(hook(receiver, size=10, secret={"env": "HOOK"}),))
    world.run()
    assert sorted(o["row"]["id"] for o in receiver.outcomes()) == [f"r-{n:05d}" for n in range(25)]
    assert {o["row"]["outcome"] for o in receiver.outcomes()} == {"succeeded"}
    for headers, body in receiver.seen:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        own = hmac.new(b"0123456789abcdef", signed, hashlib.sha256).digest()
        assert headers["webhook-signature"] == "v1," + base64.b64encode(own).decode()
        assert headers["idempotency-key"] == headers["webhook-id"]
    assert len({headers["webhook-id"] for headers, _ in receiver.seen}) == len(receiver.seen)


def test_a_busy_server_is_asked_again_when_it_says_with_the_same_id(
    world: World, receiver: Receiver
) -> None:
    receiver.answers = [(503, {"retry-after": "1800"}), (429, {})]
    world.submit(4, sinks=(hook(receiver),))
    world.run()
    assert delivery(world).code == "ORC6021"
    wait = delivery(world).due_at.timestamp() - world.job().finished_at.timestamp()  # type: ignore[union-attr]
    assert wait >= 1800
    while world.advance() and delivery(world).state is not DeliveryState.DONE:
        pass
    assert len({headers["webhook-id"] for headers, _ in receiver.seen[:3]}) == 1
    assert len({body for _, body in receiver.seen[:3]}) == 1


@pytest.mark.parametrize(("status", "why"), [(404, "it answers 404"), (302, "redirects are not")])
def test_a_real_no_is_left_to_a_person(
    world: World, receiver: Receiver, status: int, why: str
) -> None:
    receiver.answers = [(status, {"location": "http://127.0.0.1:1/elsewhere"})]
    world.submit(2, sinks=(hook(receiver),))
    world.run()
    held = delivery(world)
    assert held.state is DeliveryState.HELD
    assert (held.code, why in str(held.reason)) == ("ORC6027", True)
    assert str(held.reason).endswith("; mend the address or the server")
    assert "secret-path" not in f"{held.name} {held.reason}"
    control.resume(world.context, names=["labels"], providers=[])
    world.tick()
    assert delivery(world).state is DeliveryState.DONE


def test_one_outcome_a_post_on_demand(world: World, receiver: Receiver) -> None:
    world.submit(3, sinks=(hook(receiver, per="outcome"),))
    world.run()
    posted = [json.loads(body) for _, body in receiver.seen]
    assert [each["type"] for each in posted] == ["outcome"] * 3
    assert {each["outcome"]["row"]["id"] for each in posted} == {"r-00000", "r-00001", "r-00002"}


ADDRESS = Address(name="hook", url="https://hooks.example.org/x")
NOTHING = Header((), ())


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1%eth0", "192.168.0.7"]
)
def test_a_private_address_is_refused_whatever_its_name(address: str) -> None:
    with pytest.raises(SinkRefused) as refused:
        Webhook(ADDRESS, NOTHING, job="j", now=lambda: None, find=lambda _h, _p: [address])  # type: ignore[arg-type,return-value]
    assert refused.value.code == "ORC6028"


def test_the_address_that_was_looked_at_is_the_one_that_is_called() -> None:
    made = Webhook(
        ADDRESS, NOTHING, job="j", now=lambda: None, find=lambda _h, _p: ["93.184.216.34"]
    )  # type: ignore[arg-type,return-value]
    assert made._target.host == "93.184.216.34"
    assert made._extensions == {"sni_hostname": "hooks.example.org"}
    assert made._url.host == "hooks.example.org"
    made.close()


def test_a_host_that_is_not_found_is_tried_again() -> None:
    def find(_host: str, _port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(SinkAway):
        Webhook(ADDRESS, NOTHING, job="j", now=lambda: None, find=find)  # type: ignore[arg-type,return-value]


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's own libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    found = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
