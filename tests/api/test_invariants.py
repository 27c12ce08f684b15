"""verify over the whole registry: silent over what is right, exact about what is broken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from support.databases import Databases
from support.world import World

from orchestrator.api.invariants import Check, check
from orchestrator.domain.histories import Entry, Rule, breaches_of_batch
from orchestrator.domain.model import BatchState
from orchestrator.registry.session import Registry
from orchestrator.registry.tables import (
    batches,
    events,
    failures,
    jobs,
    metadata,
    requests,
    responses,
    strays,
)
from orchestrator.sandbox.temper import BAD

ALL = {f"I{number}" for number in range(1, 15)}


def checked(world: World, **how: Any) -> list[Check]:
    return check(world.registry, now=world.clock.now(), spool=world.context.spool, **how)


def wrong(world: World, **how: Any) -> set[tuple[str, str]]:
    return {(each.invariant, each.what) for each in checked(world, **how) if not each.ok}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def settled(
    request: pytest.FixtureRequest,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """A job that ended under faults, and one whose batches are on their way."""
    registry = Registry(databases.fresh(request.param), sync=False)
    world = World(registry, tmp_path_factory.mktemp("settled"), temper=BAD)
    world.submit(60, name="done")
    world.run("done")
    world.submit(120, name="open")
    world.tick()
    yield world
    registry.close()


@contextmanager
def changed(world: World, table: sa.Table, which: Any, **values: Any) -> Iterator[None]:
    """Edit a row by hand, as nobody should, and put it back."""
    key = next(iter(table.primary_key))
    with world.registry.read() as db:
        row = db.execute(sa.select(table).where(which).order_by(key).limit(1)).mappings().one()
    before = {name: row[name] for name in values}
    where = key == row[key.name]
    world.registry.write(lambda db: db.execute(sa.update(table).where(where).values(**values)))
    try:
        yield
    finally:
        world.registry.write(lambda db: db.execute(sa.update(table).where(where).values(**before)))


def job_id(world: World, name: str) -> int:
    return world.job(name).id


def test_every_invariant_is_checked_and_holds_under_faults_at_any_stage(settled: World) -> None:
    found = checked(settled, secrets=["sk-test-of-the-suite"])
    assert {each.invariant for each in found} == ALL
    assert [each for each in found if not each.ok] == []
    of_one = check(settled.registry, settled.job("open"), now=settled.clock.now())
    assert [each for each in of_one if not each.ok] == []


DONE = requests.c.state == "succeeded"
OTHER = batches.alias("other")
LAST_LIVE = sa.select(sa.func.max(OTHER.c.id)).where(OTHER.c.remote_id.is_not(None))
FIRST_REMOTE = (
    sa.select(OTHER.c.remote_id)
    .where(OTHER.c.remote_id.is_not(None))
    .order_by(OTHER.c.id)
    .limit(1)
    .scalar_subquery()
)
BROKEN = {
    "a job counts one answer too many": (
        jobs,
        jobs.c.name == "done",
        {"records": jobs.c.records + 1, "succeeded": jobs.c.succeeded + 1},
        ("I1", "the books of every job"),
    ),
    "a batch has lost an odd line": (
        batches,
        batches.c.state == "closed",
        {"odd": batches.c.odd + 1},
        ("I1", "odd lines counted by a batch = its rows in quarantine"),
    ),
    "a record travels in a batch that has ended": (
        requests,
        requests.c.state == "assigned",
        {"batch_id": sa.select(sa.func.min(batches.c.id)).scalar_subquery()},
        ("I2", "each assigned record travels in exactly one unsettled batch"),
    ),
    "two rows follow one remote batch": (
        batches,
        batches.c.id == LAST_LIVE.scalar_subquery(),
        {"remote_id": FIRST_REMOTE},
        ("I3", "no two rows follow one remote batch"),
    ),
    "a row follows a remote batch that it never made": (
        batches,
        batches.c.state == "closed",
        {"remote_id": "batch-of-another"},
        ("I4", "the remote batch of a row is the one that its events tell of"),
    ),
    "a response names no line": (
        responses,
        responses.c.line > 0,
        {"line": 0},
        ("I5", "each response names a batch of its job, a collected file and a line"),
    ),
    "a response names a file that was never collected": (
        batches,
        batches.c.output_sha256.is_not(None),
        {"output_sha256": None},
        ("I5", "each response names a batch of its job, a collected file and a line"),
    ),
    "a failure names a file that there is not": (
        failures,
        failures.c.source != "none",
        {"source": "else"},
        ("I5", "each failure names a batch of its job, a collected file and a line"),
    ),
    "a record with a response is said to have failed": (
        requests,
        DONE,
        {"state": "failed"},
        ("I6", "a record has a response exactly when it succeeded"),
    ),
    "a closed batch is open again": (
        batches,
        batches.c.state == "closed",
        {"state": "reconciled"},
        ("I7", "the last move ends at the state of the row"),
    ),
    "a batch was never claimed": (
        batches,
        batches.c.state == "closed",
        {"epoch": 0},
        ("I8", "a batch that was worked on was claimed first: its epoch was raised"),
    ),
    "a record was refused for ever": (
        requests,
        DONE,
        {"refusals": 40},
        ("I12", "no record was refused more often than its job's policy allows"),
    ),
    "a record travelled for ever": (
        requests,
        DONE,
        {"rounds": 400},
        ("I12", "no record travelled in more batches than its job's policy allows"),
    ),
    "a key stands in an event": (
        events,
        events.c.kind == "planned",
        {"data": '{"reason": "Bearer sk-test-of-the-suite"}'},
        (
            "I13",
            "no key of a configured provider stands in events, batches, accounts or failures",
        ),
    ),
}


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.replace(" ", "_"))
def test_each_broken_row_is_found_by_its_own_check(settled: World, case: str) -> None:
    table, which, values, expected = BROKEN[case]
    with changed(settled, table, which, **values):
        assert expected in wrong(settled, secrets=["sk-test-of-the-suite"])
    assert wrong(settled) == set()


@pytest.mark.fault("T14")
def test_an_example_names_the_record_and_the_batch(settled: World) -> None:
    with changed(settled, responses, responses.c.line > 0, line=0):
        (found,) = [each for each in checked(settled) if not each.ok and each.invariant == "I5"]
    assert found.broken == 1
    assert found.examples[0].startswith("done/b")
    assert ": r-0" in found.examples[0]


@pytest.mark.fault("T14")
def test_a_line_that_answers_two_records_is_found(settled: World) -> None:
    with settled.registry.read() as db:
        first, second = db.execute(
            sa.select(responses).order_by(responses.c.request_id).limit(2)
        ).mappings()
    of = responses.c.request_id == second["request_id"]
    same = {"batch_id": first["batch_id"], "source": first["source"], "line": first["line"]}
    in_one = requests.c.id == second["request_id"]
    with (
        changed(settled, responses, of, **same),
        changed(settled, requests, in_one, batch_id=first["batch_id"]),
    ):
        assert ("I6", "each line of a result file is the answer of one record at most") in wrong(
            settled
        )


def test_what_is_due_too_late_is_found(settled: World) -> None:
    late = settled.clock.now().replace(year=2099)
    with changed(settled, batches, batches.c.state != "closed", due_at=late):
        assert wrong(settled) == {
            ("I11", "each batch that has not ended is looked at again within the cap")
        }


def test_a_wrong_file_fails_and_a_missing_one_is_only_told(world: World) -> None:
    world.submit(50)
    world.sandbox.inject("upload", "dropped", times=9)
    world.tick()
    (batch,) = world.batches()
    assert batch.state is BatchState.BUILT
    path = world.context.spool.input_path(batch.id)
    written = path.read_bytes()
    path.write_bytes(written.replace(b"record 7", b"record 8"))
    (found,) = [each for each in checked(world) if not each.ok]
    assert (found.invariant, found.examples) == ("I9", (path.name,))
    path.unlink()
    (found,) = [each for each in checked(world) if each.invariant == "I9"]
    assert found.ok
    assert "1 not on this machine" in found.note
    assert wrong(world) == set()


def test_an_extra_remote_batch_that_is_not_listed_is_found(settled: World) -> None:
    (batch,) = [each for each in settled.batches("done") if each.number == 1]
    values = {
        "at": settled.clock.now(),
        "kind": "extra_remote_batch",
        "batch_id": batch.id,
        "job_id": batch.job_id,
        "actor": "test",
        "data": '{"remote_id": "batch_second"}',
    }
    settled.registry.write(lambda db: db.execute(sa.insert(events).values(**values)))
    assert wrong(settled) == {("I3", "each extra remote batch that was met is listed")}
    stray = {
        **{column.name: "" for column in strays.c if not column.nullable},
        "provider": "sandbox",
        "remote_id": "batch_second",
        "verdict": "extra",
        "seen_at": settled.clock.now(),
    }
    settled.registry.write(lambda db: db.execute(sa.insert(strays).values(**stray)))
    assert wrong(settled) == set()


def history(world: World, name: str) -> tuple[Any, list[Entry]]:
    (batch,) = [each for each in world.batches(name) if each.number == 1]
    with world.registry.read() as db:
        rows = db.execute(
            sa.select(events).where(events.c.batch_id == batch.id).order_by(events.c.id)
        )
        return batch, [Entry(row.id, row.kind, msgspec.json.decode(row.data)) for row in rows]


@pytest.mark.parametrize(
    ("lost", "rule"),
    [
        ("upload_began", Rule.INTENT),
        ("create_began", Rule.INTENT),
        ("collected", Rule.MOVES),
        ("planned", Rule.MOVES),
    ],
)
def test_a_history_with_an_event_left_out_breaks_its_rule(
    settled: World, lost: str, rule: Rule
) -> None:
    batch, told = history(settled, "done")
    assert list(breaches_of_batch(batch, told)) == []
    left = [entry for entry in told if entry.kind != lost]
    assert len(left) < len(told)
    assert rule in {breach.rule for breach in breaches_of_batch(batch, left)}


def entries(*steps: tuple[str, str, str]) -> list[Entry]:
    first = Entry(1, "planned", {})
    rest = (
        Entry(number, kind, {"from": came, "to": went, "remote_id": "batch_1"})
        for number, (kind, came, went) in enumerate(steps, start=2)
    )
    return [first, *rest]


@pytest.mark.fault("C02", "C04")
def test_a_creation_sent_again_without_a_revocation_is_found(settled: World) -> None:
    steps = [
        ("built", "planned", "built"),
        ("upload_began", "built", "uploading"),
        ("uploaded", "uploading", "uploaded"),
        ("create_began", "uploaded", "creating"),
        ("create_unanswered", "creating", "create_unknown"),
        ("input_revoked", "create_unknown", "create_unknown"),
        ("renewed", "create_unknown", "built"),
    ]
    batch = settled.batches("done")[0].with_(state=BatchState.BUILT, remote_id=None)
    assert list(breaches_of_batch(batch, entries(*steps))) == []
    hasty = entries(*(step for step in steps if step[0] != "input_revoked"))
    assert [breach.rule for breach in breaches_of_batch(batch, hasty)] == [Rule.CREATED_AGAIN]


def test_a_file_removed_before_its_answers_were_recorded_is_found(settled: World) -> None:
    batch, told = history(settled, "done")
    at = next(n for n, entry in enumerate(told) if entry.kind == "reconciled")
    hasty = [*told[:at], Entry(10**9, "cleaned_up", {"from": "collected", "to": "closed"})]
    assert Rule.REMOVED in {breach.rule for breach in breaches_of_batch(batch, hasty)}


def test_checking_changes_nothing(settled: World) -> None:
    def everything() -> dict[str, Any]:
        with settled.registry.read() as db:
            return {t.name: db.execute(sa.select(t)).all() for t in metadata.sorted_tables}

    before = everything()
    checked(settled, secrets=["sk-test-of-the-suite"])
    assert everything() == before
