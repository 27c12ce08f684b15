"""`orchestrator sandbox`: the provider simulator, to try things out for nothing."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import click

from orchestrator.cli.command import command
from orchestrator.cli.session import Session

PORT = 8643
"""Where the profile `sandbox` looks for it."""

FASTEST = 1_000_000.0


class _Speed(click.ParamType[float]):
    name = "speed"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the factor of `3600x` or `3600`."""
        try:
            speed = float(str(value).removesuffix("x"))
        except ValueError:
            speed = -1.0
        if not 0 < speed <= FASTEST:
            self.fail(f"{value!r} is not a speed; write one like 60x or 3600x", param, ctx)
        return speed


@command(
    examples=(
        "orchestrator sandbox --speed 3600x",
        "orchestrator sandbox --temper bad --speed 600x --state /tmp/sandbox",
    )
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=PORT,
    show_default=True,
    metavar="PORT",
    help="on loopback; 0 for any free one",
)
@click.option(
    "--temper", default="good", show_default=True, metavar="good|bad|FILE", help="which faults"
)
@click.option(
    "--speed", type=_Speed(), default=1.0, metavar="3600x", help="how fast its time runs; else 1x"
)
@click.option("--seed", default="0", metavar="SEED", help="the same seed, the same faults")
@click.option("--state", metavar="DIR", help="keep its state there, and go on with it; else memory")
@click.option("--key", metavar="KEY", help="take this key only; else any or none")
@click.option("--while-stdin", is_flag=True, hidden=True, help="end when standard input does")
@click.pass_obj
def sandbox(
    session: Session,
    port: int,
    temper: str,
    speed: float,
    seed: str,
    state: str | None,
    key: str | None,
    while_stdin: bool,
) -> None:
    """Serve the provider simulator until Ctrl-C; nothing leaves this machine, it costs nothing.

    The provider `sandbox` is there without any configuration; any SDK works with its base URL.
    """
    from orchestrator.sandbox.server import serve  # noqa: PLC0415 - help needs none of it
    from orchestrator.sandbox.temper import PRESETS, read_temper  # noqa: PLC0415

    if while_stdin:
        threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    cwd = session.world.cwd
    serve(
        port=port,
        temper=read_temper(temper if temper in PRESETS else str(cwd / temper)),
        seed=seed,
        speed=speed,
        state_dir=cwd / state if state else None,
        key=key,
        ready=lambda url: _say(session, url, speed, temper),
    )


def _end_with_stdin() -> None:
    """Wait for the other end of standard input to go away, however it goes, then end."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _say(session: Session, url: str, speed: float, temper: str) -> None:
    console = session.console
    elsewhere = "" if url == f"http://127.0.0.1:{PORT}/v1" else " with base_url set to it"
    text = (
        f"sandbox at {url}  {speed:g}x, {Path(temper).name} temper, Ctrl-C ends it\n"
        f"  orchestrator submit FILE --key COLUMN --prompt TEXT --provider sandbox"
        f" --model kimi-k2.6 --watch{elsewhere and '   # [providers.sandbox]' + elsewhere}\n"
        f'  any OpenAI SDK: base_url="{url}", any api_key'
    )
    data = {"base_url": url, "speed": speed, "temper": temper, "pid": os.getpid()}
    console.result("sandbox", text, data, piped=url)
    console.flush()
