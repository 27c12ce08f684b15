import datetime
from pathlib import Path

import msgspec
import pytest

from orchestrator.domain.profile import Limits, Model, Profile
from orchestrator.domain.spec import JobSpec
from orchestrator.engine import intake
from orchestrator.sources.registry import open_source

KIMI = Profile(
    name="kimi",
    title="Kimi",
    base_url="https://api.example.test/v1",
    key_variables=("MOONSHOT_API_KEY",),
    as_of=datetime.date(2026, 8, 13),
    limits=Limits(max_file_bytes=100_000_000),
    models={
        "kimi-k2.6": Model(forbidden=("temperature", "top_p")),
        "kimi-k2.7-code": Model(),
        "kimi-k3": Model(batch=False),
    },
    models_closed=True,
)


class World:
    """One source file, one job over it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "source.jsonl"
        self.spec = JobSpec(
            name="job",
            source=str(self.path),
            key="id",
            prompt="Say {text}",
            provider="kimi",
            model="kimi-k2.6",
        )
        self.profile = KIMI
        self.scans = 0

    def write(self, content, ending="jsonl"):
        if not isinstance(content, bytes):
            content = content.encode()
        self.path = self.folder / f"source.{ending}"
        self.path.write_bytes(content)
        return self

    def rows(self, *rows):
        return self.write(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))

    def job(self, **changes):
        self.spec = msgspec.structs.replace(self.spec, **changes)
        return self

    def source(self):
        return open_source(str(self.path))

    def scan(self, **options):
        self.scans += 1
        workdir = self.folder / f"scan-{self.scans}"
        workdir.mkdir()
        return intake.scan(self.spec, self.profile, self.source(), workdir=workdir, **options)

    def requests(self, result=None, **options):
        result = result or self.scan()
        return list(intake.requests(self.spec, self.profile, self.source(), result, **options))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def kimi():
    return KIMI
