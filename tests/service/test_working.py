"""tick, watch, daemon: commands that do the work, against a sandbox behind a real socket."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing

import pytest
from cli.fake_terminal import a_world

from orchestrator.app import App
from orchestrator.cli.main import run
from orchestrator.sandbox.temper import Lines, Temper
from orchestrator.service.work import at_work
from orchestrator.settings import load


def books(project, name="labels"):
    with closing(sqlite3.connect(project.registry)) as db:
        return db.execute(
            "SELECT state, records, succeeded, failed, waiting + in_flight FROM jobs"
            " WHERE name = ?",
            (name,),
        ).fetchone()


def every_record_once(project, count):
    with closing(sqlite3.connect(project.registry)) as db:
        answered = db.execute("SELECT count(*), count(DISTINCT request_id) FROM responses")
        assert answered.fetchone() == (count, count)


def test_watch_does_the_work_itself_and_tells_each_change_in_a_line(project):
    project.submit(120)
    ran = project.run("watch", "labels")
    assert ran.status == 0
    assert "no daemon is alive: this watch does the work while it runs" in ran.err
    rows = [line.split("\t")[1:] for line in ran.out.splitlines()]
    assert rows[0][:3] == ["labels", "running", "120"]
    assert rows[-1] == ["labels", "finished", "120", "120", "0", "0", "0", "0", "0", "0"]
    assert len(rows) == len({tuple(row) for row in rows})
    every_record_once(project, 120)


def test_watch_redraws_a_block_in_place_on_a_terminal(project):
    project.submit(60)
    ran = project.run("watch", "labels", tty=True, columns=100)
    assert ran.status == 0
    shown = ran.out.split("\x1b[?7h")
    assert shown[1].startswith("\x1b["), "the second drawing goes up over the first"
    last = shown[-2].replace("\x1b[K", "")
    assert "100 % recorded" in last
    assert " 60 records = 60 succeeded + 0 failed + 0 expired + 0 cancelled + 0 open" in last


def test_json_lines_hold_one_object_a_change_and_json_the_end(project):
    project.submit(20)
    ran = project.run("watch", "--json-lines")
    views = [json.loads(line)["data"] for line in ran.out.splitlines()]
    assert [view["state"] for view in views][-1] == "finished"
    assert views[0]["open"] == 20
    project.submit(20, "more")
    done = project.run("watch", "more", "--json").data()
    assert (done["exit_code"], done["jobs"][0]["succeeded"]) == (0, 20)


def test_nothing_open_is_nothing_to_watch(project):
    project.submit(1)
    project.run("watch")
    ran = project.run("watch")
    assert (ran.status, "no job is open" in ran.out) == (0, True)


def test_the_exit_status_tells_of_records_without_success(project, sandbox):
    sandbox.temper = Temper(lines=Lines(content_filter=0.2))
    project.submit(40)
    ran = project.run("watch", "--progress", "off")
    _, _, succeeded, failed, _ = books(project)
    assert failed > 0
    assert (ran.status, succeeded + failed) == (3, 40)
    for flags, status in (
        (("--allow-failed", str(failed)), 0),
        (("--allow-failed", str(failed - 1)), 3),
        (("--allow-failed", "90%"), 0),
        (("--allow-failed", "0.1%"), 3),
        (("--allow-failed", "some"), 2),
        (("--allow-failed", "101%"), 2),
    ):
        assert project.run("watch", "labels", *flags, "--progress", "off").status == status


def test_a_daemon_waits_for_a_watch_that_has_the_registry(project, until):
    project.submit(1)
    with App(load(environ={}, cwd=project.folder)) as app, at_work(app, "watch"):
        daemon = project.start("daemon")
        try:
            until(daemon, "registry_busy")
        except AssertionError:
            _end(daemon)
            raise
    until(daemon, "started")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0
    daemon.stderr.close()


def test_a_time_out_leaves_the_job_alone(offline):
    offline.submit(5)
    ran = offline.run("watch", "labels", "--timeout", "50ms", "--progress", "off")
    assert (ran.status, "[ORC1301]" in ran.err) == (4, True)
    assert books(offline) == ("running", 5, 0, 0, 5)


def test_a_stopped_provider_needs_a_person(project):
    (project.folder / "key").write_text("sk-wrong\n")
    project.submit(5)
    ran = project.run("watch", "labels", "--timeout", "60s")
    assert ran.status == 3
    assert "held" in ran.out.splitlines()[-1]


def test_ctrl_c_stops_watching_and_the_job_lives(project):
    project.submit(5)
    watching = project.start("-v", "watch", "labels", "--timeout", "60s")
    try:
        for line in watching.stderr:
            if "does the work while it runs" in line:
                watching.send_signal(signal.SIGINT)
                break
        rest = watching.stderr.read()
        assert watching.wait(30) == 130
        assert "labels lives" in rest
    finally:
        _end(watching)
    assert project.run("watch", "labels").status == 0


def test_tick_does_what_is_due_once_and_says_when_the_next_is_useful(project):
    project.submit(5)
    done = project.run("tick", "--json").data()
    assert done["planned"] == 1
    assert done["steps"]["create"] == 1
    assert done["next_at"] is not None
    ran = project.run("tick", "--job", "labels")
    assert ran.status == 0, ran.err
    assert "next useful in" in ran.out or "nothing is open" in ran.out, ran.out


def test_tick_for_a_job_that_is_not_there_says_so(project):
    project.submit(1)
    assert project.run("tick", "--job", "nope").status == 66


@pytest.mark.fault("T02", "T05")
def test_a_daemon_drains_on_term_and_a_second_one_is_refused(project, until):
    project.submit(60)
    daemon = project.start("daemon")
    try:
        until(daemon, "started")
        second = project.start("daemon")
        assert second.wait(30) == 8
        assert "[ORC4008]" in second.stderr.read()
        second.stderr.close()
        busy = project.run("tick")
        assert (busy.status, "another worker" in busy.err) == (0, True)
        assert project.run("health").status == 0
        finished = until(daemon, "job_finished")
        assert (finished["job"], finished["succeeded"]) == ("labels", 60)
        assert project.run("watch", "labels", "--progress", "off").status == 0
        daemon.send_signal(signal.SIGTERM)
        until(daemon, "stopped")
        assert daemon.wait(30) == 0
    finally:
        _end(daemon)
    assert project.run("health").status == 69
    assert project.run("health", "--ready").out == "ready\n"
    every_record_once(project, 60)


@pytest.mark.fault("T04", "T08")
def test_a_daemon_that_is_killed_goes_on_when_started_again(project, until):
    project.submit(150)
    first = project.start("daemon")
    try:
        until(first, "collected")
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait(30) == -signal.SIGKILL
    finally:
        _end(first)
    second = project.start("daemon")
    try:
        until(second, "job_finished")
    finally:
        second.send_signal(signal.SIGTERM)
        _end(second)
    assert books(project) == ("finished", 150, 150, 0, 0)
    every_record_once(project, 150)


def test_hup_reads_the_configuration_again_and_a_bad_file_keeps_the_old_one(project, until):
    project.submit(1)
    daemon = project.start("daemon")
    good = (project.folder / "orchestrator.toml").read_text()
    try:
        until(daemon, "started")
        (project.folder / "orchestrator.toml").write_text("nonsense")
        daemon.send_signal(signal.SIGHUP)
        until(daemon, "reload_refused")
        until(daemon, "started")
        (project.folder / "orchestrator.toml").write_text(good)
        daemon.send_signal(signal.SIGHUP)
        until(daemon, "reloaded")
        until(daemon, "started")
        daemon.send_signal(signal.SIGUSR1)
        assert until(daemon, "status")["jobs"] in (0, 1)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    finally:
        _end(daemon)


def test_the_log_never_holds_key_prompt_or_answer(project):
    project.submit(5)
    daemon = project.start("daemon", "-v")
    lines = []
    try:
        for line in daemon.stderr:
            lines.append(line)
            if '"job_finished"' in line:
                break
        daemon.send_signal(signal.SIGTERM)
        lines += daemon.stderr.readlines()
        assert daemon.wait(30) == 0
    finally:
        _end(daemon)
    text = "".join(lines)
    assert '"event":"call"' in text, "calls are told with -v"
    for secret in ("sk-test", "Positive or negative", "it is number"):
        assert secret not in text


def test_a_watch_takes_over_when_the_daemon_dies(project, until):
    project.submit(50)
    daemon = project.start("daemon")
    until(daemon, "collected")
    statuses = []
    world = a_world(project.folder)
    thread = threading.Thread(target=lambda: statuses.append(run(["watch", "labels"], world)))
    thread.start()
    os.kill(daemon.pid, signal.SIGKILL)
    _end(daemon)
    thread.join(60)
    assert statuses == [0]
    every_record_once(project, 50)


def test_submit_and_watch_in_one(project):
    ran = project.submit(5, "labels", "--watch")
    assert ran.status == 0
    assert ran.out.splitlines()[0] == "labels"
    assert ran.out.splitlines()[-1].split("\t")[1:5] == ["labels", "finished", "5", "5"]
    assert "nobody is at work" not in ran.err


def _end(child):
    if child.poll() is None:
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    child.stderr.close()
