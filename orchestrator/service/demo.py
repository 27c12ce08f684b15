"""The demo: 300 real records through the sandbox, faults on, in a folder that holds everything.

The folder is a project like any other: its configuration, registry and results can be looked at
with every command. It may be killed at any moment and run again.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.domain.errors import GuardError, SinkError, UnavailableError
from orchestrator.domain.pacing import Pace
from orchestrator.shipped import shipped

JOB = "devils-dictionary"
RECORDS = "devils-dictionary.csv"
TEMPLATE = "tone.j2"
TEMPER = "demo-temper.toml"
RESULTS = "demo-results.csv"
CONFIGURATION = "orchestrator.toml"
SPEED = 3600
"""An hour at the sandbox passes in a second."""

PACE = Pace(
    poll_min=0.3,
    poll_max=1.0,
    back_off_min=0.2,
    back_off_max=2.0,
    call_deadline=8.0,
    lease_seconds=6.0,
    # Real settle times wait for calls that come minutes late; here minutes are milliseconds.
    settle_seconds=2.0,
    revoke_seconds=0.5,
    file_grace=2.0,
    gone_seconds=4.0,
    overdue_seconds=10.0,
    stale_seconds=2.0,
    cap=2.0,
    gate_slow_max=2.0,
    gate_probe=1.0,
)

_MARK = "# Made by orchestrator demo."
_PORT_SECONDS = 15.0
_START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Place:
    """A demo's folder and the port that its sandbox has, always the same one."""

    folder: Path
    port: int

    @property
    def configuration(self) -> Path:
        """The project file."""
        return self.folder / CONFIGURATION

    @property
    def results(self) -> Path:
        """Where the outcomes are exported to."""
        return self.folder / RESULTS

    @property
    def base_url(self) -> str:
        """Where the sandbox listens."""
        return f"http://127.0.0.1:{self.port}/v1"


def lay_out(folder: Path) -> Place:
    """Make the demo's folder, or find it as an earlier run has left it.

    Raises GuardError when the folder holds a project of another kind, SinkError when it can't be
    written.
    """
    path = folder / CONFIGURATION
    try:
        if path.exists():
            text = path.read_text(encoding="utf-8")
            if not text.startswith(_MARK):
                raise _not_a_demo(path)
            place = Place(folder, _port_in(text, path))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            place = Place(folder, _free_port())
            _write(path, _settings(place))
        for name in (RECORDS, TEMPLATE, TEMPER):
            if not (folder / name).exists():
                _write(folder / name, (shipped("examples") / name).read_text(encoding="utf-8"))
    except OSError as exc:
        raise SinkError(
            f"the demo's folder can't be written: {(exc.strerror or 'I/O error').lower()}",
            code="ORC6002",
            where=str(exc.filename or folder),
            next="name a folder that you may write to: orchestrator demo --dir DIR",
        ) from None
    return place


def _not_a_demo(path: Path) -> GuardError:
    return GuardError(
        "the folder holds a project that is no demo",
        code="ORC7006",
        where=str(path),
        safe="nothing was changed",
        next="orchestrator demo --dir another-folder",
    )


def _port_in(text: str, path: Path) -> int:
    """Return the port that the project file names: remote ids belong to one address only."""
    marked = 'base_url = "http://127.0.0.1:'
    _, found, rest = text.partition(marked)
    digits = rest.partition("/")[0]
    if not found or not digits.isdigit():
        raise _not_a_demo(path)
    return int(digits)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _write(path: Path, text: str) -> None:
    """Write a file that is whole or not there, whenever the demo is killed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _settings(place: Place) -> str:
    return f"""{_MARK} A project like any other: try every command here.
schema = 1

[registry]
url = "sqlite:///{place.folder.resolve() / "registry.db"}"

[spool]
dir = "spool"

[defaults]
provider = "sandbox"
model = "kimi-k2.6"
window = "12h"
requests_per_batch = 50
retry.back_off = "1s"

[daemon]
tick = "300ms"
poll_min = "1s"
poll_max = "10s"

# The demo starts it. By hand:
# orchestrator sandbox --port {place.port} --state sandbox --speed {SPEED}x
[providers.sandbox]
base_url = "{place.base_url}"

[jobs.{JOB}]
source = "{RECORDS}"
key = "id"
template = "{TEMPLATE}"
request = {{ max_tokens = 64 }}
"""


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` without our own settings: a demo is the same whatever is set outside."""
    return {name: value for name, value in environ.items() if not _is_ours(name)}


def _is_ours(name: str) -> bool:
    return name.startswith("ORCHESTRATOR_") and name != "ORCHESTRATOR_SYSTEM_CONFIG"


@contextmanager
def sandbox_at(place: Place, temper: str, *, pause: Callable[[float], None]) -> Iterator[str]:
    """Serve the demo's sandbox from a process of its own, and yield its base URL.

    It ends when this process does, however that ends: its standard input is a pipe that we hold.
    `pause` waits so many seconds. Raises UnavailableError when it can't be started.
    """
    _await_port(place, pause)
    command = [sys.executable, "-m", "orchestrator.cli.main", "-q", "sandbox"]
    command += ["--port", str(place.port), "--state", str(place.folder / "sandbox")]
    command += ["--speed", f"{SPEED}x", "--temper", temper, "--seed", "demo", "--while-stdin"]
    child = subprocess.Popen(  # noqa: S603 - our own program, with arguments made here
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(os.environ),
        cwd=place.folder,
        text=True,
        # Ctrl-C is for the demo: it ends the sandbox when it is done with it.
        start_new_session=True,
    )
    try:
        yield _listening(child)
    finally:
        _end(child)


def _await_port(place: Place, pause: Callable[[float], None]) -> None:
    """Wait until the sandbox of a demo that was killed has let go of the port."""
    tries = int(_PORT_SECONDS / 0.1)
    for attempt in range(tries):
        try:
            socket.create_server(("127.0.0.1", place.port)).close()
        except OSError as exc:
            if attempt + 1 < tries:
                pause(0.1)
                continue
            raise UnavailableError(
                f"port {place.port} of the demo's sandbox is taken",
                code="ORC3803",
                why=(exc.strerror or "in use").lower(),
                safe="nothing was changed",
                next="end the program that has it, or start anew: orchestrator demo --dir DIR",
            ) from None
        return


def _listening(child: subprocess.Popen[str]) -> str:
    """Return the base URL once the sandbox has printed it."""
    assert child.stdout is not None  # noqa: S101 - a pipe was asked for
    clock = threading.Timer(_START_SECONDS, child.kill)
    clock.start()
    try:
        url = child.stdout.readline().strip()
    finally:
        clock.cancel()
    if not url:
        _, said = child.communicate()
        raise UnavailableError(
            "the demo's sandbox did not start",
            code="ORC3804",
            why=said.strip().partition("\n")[0][:300],
            safe="nothing was sent",
            next="run it again, or in another folder: orchestrator demo --dir DIR",
        )
    return url


def _end(child: subprocess.Popen[str]) -> None:
    for stream in (child.stdin, child.stdout, child.stderr):
        if stream is not None:
            stream.close()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
