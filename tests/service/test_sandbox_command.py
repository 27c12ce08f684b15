from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from orchestrator.cli.sandbox_cmd import PORT
from orchestrator.provider.profiles import load_profile


@pytest.fixture
def served(tmp_path):
    started = []

    def start(*argv):
        child = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli.main", "sandbox", "--port", "0", *argv],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            stream.close()


def test_the_profile_looks_where_the_command_listens():
    assert load_profile("sandbox").base_url == f"http://127.0.0.1:{PORT}/v1"


def test_it_prints_where_it_is_and_ends_well_on_term(served):
    child = served("--speed", "3600x", "--temper", "bad", "--state", "kept")
    url = child.stdout.readline().strip()
    assert httpx.get(f"{url}/models").status_code == 200
    assert f"sandbox at {url}  3600x, bad temper" in child.stderr.readline()
    assert "--provider sandbox" in child.stderr.readline()
    assert f'base_url="{url}"' in child.stderr.readline()
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0


def test_a_key_makes_every_other_one_wrong(served):
    child = served("--key", "sk-mine", "--json")
    text = iter(child.stdout.readline, "}\n")
    document = json.loads("".join([*text, "}"]))
    url = document["data"]["base_url"]
    statuses = [
        httpx.get(f"{url}/models", headers={"authorization": f"Bearer {key}"}).status_code
        for key in ("sk-mine", "sk-other")
    ]
    assert statuses == [200, 401]


def test_it_ends_with_whoever_holds_its_standard_input(served):
    child = served("--while-stdin")
    assert child.stdout.readline().startswith("http://127.0.0.1:")
    child.stdin.close()
    assert child.wait(20) == 0


@pytest.mark.parametrize("speed", ["0", "fast", "-1x", "inf", "nan"])
def test_a_speed_that_is_none_is_refused(offline, speed):
    ran = offline.run("sandbox", "--speed", speed)
    assert (ran.status, "is not a speed" in ran.err) == (2, True)


def test_a_port_that_is_taken_and_a_temper_that_is_none_are_told(offline):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ran = offline.run("sandbox", "--port", str(listener.getsockname()[1]))
    assert (ran.status, "[ORC3803]" in ran.err) == (78, True)
    assert "[ORC3801]" in offline.run("sandbox", "--temper", "ugly").err
