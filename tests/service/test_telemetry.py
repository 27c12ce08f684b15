from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime

import pytest

from orchestrator.domain import transitions
from orchestrator.domain.errors import AuthError, OrchestratorError
from orchestrator.domain.model import Batch, BatchState
from orchestrator.engine.context import Told
from orchestrator.telemetry import TEXTS, Log, style_of

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BATCH = Batch(
    id=1,
    job_id=9,
    number=7,
    provider="kimi",
    state=BatchState.PARKED,
    requests=10_000,
    bytes=1,
    token="t",
    planned_at=NOON,
    due_at=NOON,
    state_at=NOON,
    reason="your\ndecision",
    code="ORC5201",
)


def said(style, *told, verbose=False):
    stream = io.StringIO()
    log = Log(stream, style, now=lambda: NOON, verbose=verbose)
    log.names = {9: "labels"}.get
    log.worker = "w"
    for each in told:
        log.told(each)
    return stream.getvalue()


def every_event(kind=transitions.Event):
    below = kind.__subclasses__()
    return {kind.__name__ for kind in below}.union(*(every_event(kind) for kind in below))


def test_every_move_of_a_batch_has_its_words():
    assert every_event() - set(TEXTS) == set()


def test_an_event_is_one_json_object_a_line_with_the_agreed_keys():
    line = json.loads(said("json", Told(kind="Parked", batch=BATCH)))
    wanted = {
        "at": "2026-11-23T12:00:00.000Z",
        "level": "error",
        "event": "parked",
        "text": "needs you: your decision",
        "job": "labels",
        "batch": "b07",
        "provider": "kimi",
        "worker": "w",
        "code": "ORC5201",
    }
    assert {name: line[name] for name in wanted} == wanted


def test_under_the_journal_each_line_has_its_priority():
    error = AuthError("the key is refused", request_id="req-1", why="no such key")
    lines = said(
        "journal",
        Told(kind="gate", provider="kimi", error=error, facts={"gate": "closed"}),
        Told(kind="Uploaded", batch=BATCH),
    ).splitlines()
    assert [line[:3] for line in lines] == ["<4>", "<6>"]
    assert json.loads(lines[0][3:])["request_id"] == "req-1"


def test_a_terminal_gets_a_line_that_reads_well():
    line = said("console", Told(kind="put_off", batch=BATCH, error=OrchestratorError("no answer")))
    assert line.partition(" ")[2] == "labels/b07 warning: put off: no answer [ORC9001]\n"


def test_debug_events_are_for_the_verbose():
    told = Told(kind="Built", batch=BATCH)
    assert said("json", told) == ""
    assert json.loads(said("json", told, verbose=True))["event"] == "batch_built"


def test_an_unexpected_error_is_logged_by_kind_and_place_never_by_its_data():
    stream = io.StringIO()
    log = Log(stream, "json", now=lambda: NOON)
    with pytest.raises(KeyError) as caught:
        {}["sk-secret"]
    log.failure("tick_failed", caught.value)
    assert "KeyError" in stream.getvalue()
    assert "test_telemetry.py" in stream.getvalue()
    assert "sk-secret" not in stream.getvalue()


def test_what_a_provider_says_is_cut_and_can_not_forge_a_line():
    error = OrchestratorError("no", why="x" * 10_000 + "\n{}")
    for style in ("json", "console", "journal"):
        text = said(style, Told(kind="put_off", batch=BATCH, error=error))
        assert text.count("\n") == 1
        assert len(text) < 2_000


@pytest.mark.fault("T13")
def test_a_broken_stream_never_stops_the_work():
    stream = io.StringIO()
    log = Log(stream, "json", now=lambda: NOON)
    stream.close()
    log.event("stopped")
    assert stream.closed


@pytest.mark.parametrize(
    ("environ", "style"),
    [({}, "json"), ({"INVOCATION_ID": "a"}, "journal"), ({"JOURNAL_STREAM": "1:2"}, "json")],
)
def test_the_style_fits_the_stream(environ, style, tmp_path):
    with (tmp_path / "log").open("w") as stream:
        assert style_of(stream, environ) == style


def test_the_journal_is_known_by_its_device_and_inode(tmp_path):
    with (tmp_path / "log").open("w") as stream:
        found = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        assert style_of(stream, named) == "journal"
