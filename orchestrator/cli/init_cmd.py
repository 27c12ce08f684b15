"""`orchestrator init`: a project to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from orchestrator.cli.command import command
from orchestrator.cli.session import Session
from orchestrator.domain.errors import GuardError, OrchestratorError, SinkError
from orchestrator.shipped import shipped

FILES = {
    "orchestrator.toml": "orchestrator.toml",
    "templates/sentiment.j2": "sentiment.j2",
    "data/reviews.csv": "reviews.csv",
    ".gitignore": "gitignore",
}
"""What is written -> the shipped file in `config/init`."""


@command(examples=("orchestrator init", "orchestrator init reviews"))
@click.argument("folder", required=False, default=".", metavar="[DIR]")
@click.option("--force", is_flag=True, help="overwrite files that are there and differ")
@click.pass_obj
def init(session: Session, folder: str, force: bool) -> None:
    """Write a configuration, a template and sample data to start from.

    Files that are there already are left alone; where one differs nothing is written at all.
    """
    target = session.world.cwd / folder
    samples = shipped("config") / "init"
    wanted = {target / name: (samples / file).read_bytes() for name, file in FILES.items()}
    missing = [path for path, content in wanted.items() if _holds(path) != content]
    differing = [path for path in missing if path.exists()]
    if differing and not force:
        raise _would_overwrite(differing, folder)
    for path in missing:
        _write(path, wanted[path])
    _tell(session, folder, target, missing)


def _holds(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _cannot(path, exc) from None


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as exc:
        raise _cannot(path, exc) from None


def _tell(session: Session, folder: str, target: Path, created: list[Path]) -> None:
    enter = "" if folder == "." else f"cd {shlex.quote(folder)} && "
    following = f"{enter}orchestrator plan reviews"
    names = [str(path.relative_to(target)) for path in created]
    did = f"wrote {', '.join(names)}" if names else "nothing to do: every file is there"
    data = {"folder": str(target), "created": names, "next": following}
    session.console.result("init", f"{did}\nnext: {following}", data)


def _would_overwrite(paths: list[Path], folder: str) -> OrchestratorError:
    files = f"{len(paths)} files that are" if len(paths) > 1 else "a file that is"
    return GuardError(
        f"init would overwrite {files} there already",
        code="ORC7006",
        where=", ".join(str(path) for path in paths),
        safe="nothing was written",
        next=f"orchestrator init {shlex.quote(folder)} --force, or name another folder",
    )


def _cannot(path: Path, exc: OSError) -> OrchestratorError:
    return SinkError(
        f"{path} can't be written",
        code="ORC6002",
        why=(exc.strerror or type(exc).__name__).lower(),
        next="name a folder that you may write to",
    )
