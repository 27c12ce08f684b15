"""Whole result files: each fixture of `files.toml` through download and reconcile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import pytest
from support.corpus import Fixture, fixtures, success
from support.corpus_files import versions
from support.databases import Databases
from support.forging import Forge
from support.world import World

from orchestrator.api import control
from orchestrator.domain.model import Batch, BatchState
from orchestrator.engine.steps import reading, reconcile
from orchestrator.registry.session import Registry

FILES = fixtures("files")
SIZE = 4
WORDS = {"pending": "again", "assigned": "held"}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def forge(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Forge]:
    registry = Registry(databases.fresh(request.param), sync=False)
    world = World(registry, tmp_path_factory.mktemp("forge"))
    yield Forge(world, count=len(FILES), size=SIZE)
    registry.close()


def play(forge: Forge, fixture: Fixture, patch: pytest.MonkeyPatch) -> tuple[Batch, list[str]]:
    """Let a batch end as the fixture says, and do everything that follows by itself."""
    batch, members = forge.live()
    if "cap" in fixture.raw:
        patch.setattr(reading, "LINE_CAP", fixture["cap"])
    if "chunk" in fixture.raw:
        patch.setattr(reconcile, "CHUNK", fixture["chunk"])
    batch = forge.end(
        batch,
        status=fixture.get("status", "completed"),
        counts=fixture.get("counts"),
        output=versions(fixture, "output", members),
        error=versions(fixture, "error", members),
        appears=fixture.get("appears", False),
    )
    if fixture.get("stops"):
        forge.stop_after_one_chunk(batch)
    return forge.settle(batch, loses=fixture.get("loses", fixture.get("stops", False))), members


def assert_every_line_is_accounted_for(counts: Mapping[str, int]) -> None:
    kinds = ("blank", "answers", "repeated", "unreadable", "unknown_ids", "conflicting")
    assert counts["output_lines"] + counts["error_lines"] == sum(counts[kind] for kind in kinds)


@pytest.mark.fault(
    "P08", "P09", "P10", "P11", "P12", "D01", "D02", "D03", "D04", "D05", "D07",
    "R01", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R11",
)  # fmt: skip
@pytest.mark.parametrize("fixture", FILES, ids=lambda fixture: fixture.name)
def test_a_result_file_ends_as_its_fixture_says_and_each_line_is_accounted_for(
    forge: Forge, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, members = play(forge, fixture, monkeypatch)
    assert batch.state == fixture["verdict"], batch.reason
    if "code" in fixture.raw:
        assert batch.code == fixture["code"]
    odd = forge.odd(batch)
    found = Counter({WORDS.get(word, word): n for word, n in forge.states(members).items()})
    found.update(odd=len(odd), missing=batch.missing)
    assert dict(+found) == fixture["is"], odd
    recorded = forge.answers(members)
    for custom_id, body in recorded.items():
        assert f"of {custom_id}:" in body or f"yes {custom_id}" in body, "an answer of another"
    for index in fixture.get("first", []):
        assert '"another"' not in recorded[members[int(index[1:])]], "the first success stays"
    told = forge.told(batch, "odd_lines")
    assert len(told) == ("event" in fixture.raw), told
    for event in told:
        assert {name: event.get(name) for name in fixture["event"]} == fixture["event"], event
        assert_every_line_is_accounted_for(event)
        assert event["missing"] == batch.missing
        if not fixture.get("stops"):
            assert event["unreadable"] + event["unknown_ids"] + event["conflicting"] == len(odd)


def test_the_books_of_the_job_add_up_after_all_of_them(forge: Forge) -> None:
    books = forge.world.job().books
    assert books.balanced
    assert books.records == SIZE * len(FILES)
    counted = forge.all_states()
    assert books.succeeded == counted["succeeded"]
    assert books.failed == counted["failed"]
    assert books.in_flight == counted["assigned"]
    assert books.waiting == counted["pending"]


@pytest.mark.fault("R03", "P12")
def test_a_person_may_let_a_batch_go_on_whose_file_was_not_believed(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> None:
    registry = Registry(databases.fresh("sqlite"), sync=False)
    forge = Forge(World(registry, tmp_path_factory.mktemp("forge")), count=1, size=SIZE)
    batch, members = forge.live()
    lines = "".join(f"{success(f'stranger-{number}')}\n" for number in range(SIZE)).encode()
    batch = forge.settle(forge.end(batch, counts=(SIZE, SIZE, 0), output=[lines]))
    assert batch.state is BatchState.PARKED
    control.resume(forge.ctx, names=[forge.job.name], providers=[])
    batch = forge.settle(batch)
    assert batch.state is BatchState.RECONCILED
    assert forge.states(members) == {"pending": SIZE}
    assert len(forge.odd(batch)) == SIZE
    (event,) = forge.told(batch, "odd_lines")
    assert (event["unknown_ids"], event["missing"], event["told_succeeded"]) == (SIZE, SIZE, SIZE)
    registry.close()
