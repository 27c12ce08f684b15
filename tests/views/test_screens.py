from __future__ import annotations

import json
import subprocess
import sys

import jsonschema
from jsonschema import Draft202012Validator

from orchestrator.domain.model import BatchState, Gate
from orchestrator.domain.transitions import Parked
from orchestrator.registry import accounts, batches
from orchestrator.shipped import shipped


def schema_of(name):
    return json.loads((shipped("config") / "schemas" / f"{name}.schema.json").read_text())


SCREENS = {
    "status": ("status",),
    "jobs": ("jobs",),
    "jobs-show": ("jobs", "show", "labels"),
    "batches": ("batches",),
    "batches-show": ("batches", "show", "labels/b01"),
    "records": ("records", "done", "--where", "state:failed"),
    "records-show": ("records", "show", "r-00003", "--job", "done"),
    "events": ("events", "labels", "--limit", "6", "--fields", "at,event,job,batch,actor"),
    "errors": ("errors", "done"),
    "explain-job": ("explain", "labels"),
    "explain-batch": ("explain", "labels/b02"),
    "explain-record": ("explain", "r-00003", "--job", "done"),
    "explain-provider": ("explain", "provider:sandbox"),
    "verify": ("verify", "labels"),
    "verify-all": ("verify",),
    "quarantine": ("quarantine", "done"),
}
SCHEMAS = {
    "jobs-show": "jobs.show",
    "batches-show": "batches.show",
    "records-show": "records.show",
    "explain-job": "explain",
    "explain-batch": "explain",
    "explain-record": "explain",
    "explain-provider": "explain",
    "verify-all": "verify",
}


def test_every_screen_is_as_its_golden_file_on_a_terminal_and_in_a_pipe(shared, screen, golden):
    world = shared
    for name, argv in SCREENS.items():
        shown = screen(world, *argv, tty=True)
        assert shown.err == ""
        golden(world, f"{name}.tty", shown.out)
        golden(world, f"{name}.pipe", screen(world, *argv).out)


def test_every_document_fits_its_shipped_schema(shared, screen, golden):
    world = shared
    for name, argv in SCREENS.items():
        ran = screen(world, *argv, "--json")
        document = json.loads(ran.out)
        if "--fields" not in argv:
            shape = schema_of(SCHEMAS.get(name, name))
            jsonschema.validate(document, shape, cls=Draft202012Validator)
        golden(world, f"{name}.json", json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def test_events_fit_their_schema_in_a_list_and_as_they_follow(world, screen):
    world.submit(3)
    world.tick()
    whole = json.loads(screen(world, "events", "--json").out)
    jsonschema.validate(whole, schema_of("events"), cls=Draft202012Validator)
    assert {event["event"] for event in whole["data"]} >= {"job_registered", "planned", "created"}


def test_a_screen_without_unicode_and_at_eighty_columns_stays_legible(world, screen):
    world.submit(130)
    world.tick()
    text = screen(world, "jobs", "show", "labels", tty=True, encoding="ascii", columns=80).out
    assert text.isascii()
    assert "[" + "-" * 38 in text
    for argv in (("jobs",), ("batches",), ("status",)):
        lines = screen(world, *argv, tty=True, columns=80).out.splitlines()
        assert max(map(len, lines[1:])) <= 80


def test_colours_come_only_where_they_are_wanted(world, screen):
    world.submit(3)
    coloured = screen(world, "jobs", "show", "labels", tty=True, env={"NO_COLOR": ""}).out
    assert "\x1b[" in coloured
    assert "\x1b[" not in screen(world, "jobs", "show", "labels", tty=True).out


def test_status_exits_with_3_only_when_something_needs_a_person(world, screen):
    world.submit(10)
    assert screen(world, "status").status == 0
    world.tick()
    now = world.clock.now()

    def stop(db):
        account = accounts.ensure(db, "sandbox", now)
        reason = "the account's balance is exhausted"
        accounts.set_gate(
            db, account, Gate.CLOSED, now=now, actor="t", code="ORC3104", reason=reason
        )
        batch = batches.claim(db, worker="w", now=now.replace(year=2030), limit=1)[0]
        parked = Parked(parked_from=BatchState.LIVE, reason="gone at the provider", code="ORC5207")
        batches.move(db, batch, parked, now=now, due_at=now, actor="t")

    world.registry.write(stop)
    ran = screen(world, "status", tty=True)
    assert ran.status == 3
    assert "! NEEDS YOU" in ran.out
    assert "orchestrator resume provider:sandbox" in ran.out
    assert "orchestrator resume labels" in ran.out
    assert "gone at the provider  [ORC5207]" in ran.out
    data = json.loads(screen(world, "status", "--json").out)["data"]
    assert [need["cause"] for need in data["needs_you"]] == ["gate", "parked"]
    piped = screen(world, "status").out.splitlines()
    assert [line.split("\t")[0] for line in piped] == ["needs_you", "needs_you", "job"]


def test_a_noun_alone_lists_and_its_pages_follow_each_other(world, screen):
    for number in range(5):
        world.submit(1, name=f"job-{number}")
    whole = screen(world, "jobs", "--format", "id").out.split()
    first = screen(world, "jobs", "list", "--limit", "2", "--format", "id").out.split()
    rest = screen(world, "jobs", "--after", first[-1], "--format", "id").out.split()
    assert whole == [f"job-{number}" for number in (4, 3, 2, 1, 0)]
    assert first + rest == whole
    by_name = screen(world, "jobs", "--sort", "name", "--after", "job-2", "--format", "id").out
    assert by_name.split() == ["job-3", "job-4"]


def test_records_page_by_key_and_sort_from_the_last(world, screen):
    world.submit(7)
    first = screen(world, "records", "labels", "--limit", "3", "--format", "id").out.split()
    rest = screen(
        world, "records", "labels", "--limit", "0", "--after", first[-1], "--format", "id"
    )
    assert first + rest.out.split() == [f"r-{number:05d}" for number in range(7)]
    last = screen(world, "records", "labels", "--sort", "last", "--limit", "1", "--format", "id")
    assert last.out == "r-00006\n"
    missing = screen(world, "records", "labels", "--after", "nobody")
    assert missing.status == 66


def test_batches_page_by_name_newest_first(world, screen):
    world.submit(160)
    world.tick()
    first = screen(world, "batches", "labels", "--limit", "3", "--format", "id").out.split()
    rest = screen(world, "batches", "labels", "--after", first[-1], "--format", "id").out.split()
    assert first + rest == ["labels/b04", "labels/b03", "labels/b02", "labels/b01"]


NOT_THERE = (
    ("jobs", "show", "nobody"),
    ("batches", "show", "labels/b09"),
    ("records", "show", "nobody"),
    ("explain", "nobody"),
    ("explain", "provider:nobody"),
    ("errors", "nobody"),
    ("verify", "nobody"),
    ("verify", "labels", "--export", "nothing.jsonl"),
    ("export", "nobody", "-o", "x.jsonl"),
)


def test_what_is_not_there_exits_with_66_and_says_what_to_type(world, screen):
    world.submit(3)
    for argv in NOT_THERE:
        ran = screen(world, *argv)
        assert (ran.status, ran.out) == (66, ""), argv
        assert "next" in ran.err


def test_an_empty_registry_is_said_to_be_so_and_nothing_fails(world, screen):
    assert "no job is under way" in screen(world, "status", tty=True).err
    assert screen(world, "jobs").status == 0
    assert "nothing has failed" in screen(world, "errors").err


def test_looking_imports_neither_engine_nor_client_nor_migrations():
    code = (
        "import sys, orchestrator.cli.status_cmd, orchestrator.api.needs, orchestrator.api.views,"
        " orchestrator.registry.migrate, orchestrator.settings\n"
        "bad = ('alembic', 'httpx', 'orchestrator.engine', 'orchestrator.provider', 'minijinja')\n"
        "print([m for m in sys.modules if m.startswith(bad)])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
