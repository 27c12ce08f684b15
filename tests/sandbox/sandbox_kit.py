"""A sandbox, its clock and a client over it in process."""

import json

import httpx

from orchestrator.sandbox.clock import SandboxClock
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.temper import GOOD, Temper
from orchestrator.sandbox.transport import SandboxTransport

ENDPOINT = "/v1/chat/completions"
KEY = "sk-test"
NOON = 1_800_000_000.0


class Kit:
    """One sandbox under a clock that stands still, and the calls a test makes again and again."""

    def __init__(self, temper: Temper = GOOD, seed: int = 7, **options) -> None:
        self.clock = SandboxClock(lambda: NOON, speed=0)
        self.sandbox = Sandbox(self.clock, seed=seed, temper=temper, **options)
        self.http = httpx.Client(
            transport=SandboxTransport(self.sandbox),
            base_url="http://sandbox.test/v1",
            headers={"authorization": f"Bearer {KEY}"},
        )

    def line(self, custom_id: str, **changes) -> dict:
        body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "Say yes or no"}]}
        body |= changes.pop("body", {})
        return {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body} | changes

    def jsonl(self, lines) -> bytes:
        return b"".join(json.dumps(line).encode() + b"\n" for line in lines)

    def upload_raw(
        self, data: bytes, name: str = "in.jsonl", purpose: str = "batch"
    ) -> httpx.Response:
        return self.http.post("/files", data={"purpose": purpose}, files={"file": (name, data)})

    def upload(self, count: int = 3, name: str = "in.jsonl") -> str:
        lines = self.jsonl(self.line(f"r-{number}") for number in range(count))
        return self.upload_raw(lines, name).raise_for_status().json()["id"]

    def create_raw(self, file_id: str, **changes) -> httpx.Response:
        fields = {"input_file_id": file_id, "endpoint": ENDPOINT, "completion_window": "24h"}
        return self.http.post("/batches", json=fields | changes)

    def create(self, file_id: str, **changes) -> dict:
        return self.create_raw(file_id, **changes).raise_for_status().json()

    def batch_of(self, lines) -> dict:
        return self.create(self.upload_raw(self.jsonl(lines)).raise_for_status().json()["id"])

    def get(self, path: str, **query) -> dict:
        return self.http.get(path, params=query).raise_for_status().json()

    def finish(self, batch: dict, seconds: float = 8 * 86_400) -> dict:
        self.clock.advance(seconds)
        return self.get(f"/batches/{batch['id']}")

    def content(self, file_id: str) -> bytes:
        return self.http.get(f"/files/{file_id}/content").raise_for_status().content

    def lines(self, file_id: str | None) -> list[dict]:
        return [json.loads(line) for line in self.content(file_id).splitlines()] if file_id else []
