"""Failed validations: each fixture of `validation.toml` ends as it says, on both databases."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest
from support.corpus import Fixture, fixtures
from support.corpus_files import content, versions
from support.databases import Databases
from support.forging import Forge
from support.world import World

from orchestrator.provider.wire_faults import read_validation_errors
from orchestrator.registry.session import Registry

FAILED = fixtures("validation")
SIZE = 4
WORDS = {"pending": "again", "assigned": "held"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def forge(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Forge]:
    registry = Registry(databases.fresh(request.param), sync=False)
    world = World(registry, tmp_path_factory.mktemp("forge"))
    yield Forge(world, count=len(FAILED), size=SIZE)
    registry.close()


@pytest.mark.fault("P07")
@pytest.mark.parametrize("fixture", FAILED, ids=lambda fixture: fixture.name)
def test_a_failed_validation_blames_only_whom_the_provider_names(
    forge: Forge, fixture: Fixture
) -> None:
    batch, members = forge.live()
    errors = {"errors": json.loads(fixture["errors"])} if "errors" in fixture.raw else None
    error = versions(fixture, "error", members)
    batch = forge.settle(forge.end(batch, status="failed", error=error, more=errors))
    assert batch.state == fixture["verdict"], batch.reason
    if "code" in fixture.raw:
        assert batch.code == fixture["code"]
    found = {WORDS.get(word, word): count for word, count in forge.states(members).items()}
    assert found == fixture["is"]
    if "told" in fixture.raw:
        reasons = [batch.reason or "", *forge.reasons_of_halves(batch)]
        assert any(fixture["told"] in reason for reason in reasons), reasons


@pytest.mark.fault("P07")
@pytest.mark.parametrize("fixture", [f for f in FAILED if "faults" in f.raw], ids=lambda f: f.name)
def test_the_faults_of_an_error_file_are_read_in_every_shape(fixture: Fixture) -> None:
    members = [f"r-{number}" for number in range(SIZE)]
    raw = content(fixture["error"], members)
    assert isinstance(raw, bytes)
    wanted = [
        (line, custom_id.replace("@", "r-"), code, message)
        for line, custom_id, code, message in fixture["faults"]
    ]
    found = read_validation_errors(raw)
    assert [(f.line or 0, f.custom_id or "", f.code, f.message) for f in found] == wanted


def test_the_books_of_the_job_add_up_after_all_of_them(forge: Forge) -> None:
    books, counted = forge.world.job().books, forge.all_states()
    assert books.balanced
    assert Counter(counted) == Counter(
        failed=books.failed, assigned=books.in_flight, pending=books.waiting
    )
