"""What `import orchestrator` gives, and costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator
from orchestrator.domain import errors as all_errors

ROOT = Path(__file__).parents[2]
EXAMPLE = """
from decimal import Decimal

import polars
import pydantic

from orchestrator import AsyncOrchestrator, JobSpec, Orchestrator, Outcome, errors


class Verdict(pydantic.BaseModel):
    mood: str


def ask(frame: polars.DataFrame) -> list[Decimal | None]:
    spec = JobSpec(name="a", source=frame, key="id", prompt="{text}", answer=Verdict)
    with Orchestrator(env="prod") as orc:
        job = orc.submit(orc.plan(spec))
        try:
            job.wait(timeout="6h", raise_on_failed=True)
        except errors.RecordsFailed as failed:
            print(failed.code, failed.next)
        table: polars.DataFrame = job.outcomes().to_polars()
        print(table.height, job.progress().books.succeeded)
        return [cost_of(outcome) for outcome in job.outcomes(state="succeeded")]


def cost_of(outcome: Outcome) -> Decimal | None:
    return outcome.cost


def lazily(frame: polars.LazyFrame, take: list[Outcome]) -> JobSpec:
    return JobSpec(name="c", source=frame, prompt="{text}", sinks=["a.csv", take.extend])


async def twin() -> list[str]:
    async with AsyncOrchestrator.sandbox() as orc:
        rows = [{"id": 1, "text": "x"}]
        job = await orc.submit(JobSpec(name="b", source=rows, messages=lambda row: [dict(row)]))
        return [outcome.key async for outcome in (await job.wait()).outcomes()]
"""


def python(*argv: str, cwd: Path) -> str:
    ran = subprocess.run(
        [sys.executable, *argv], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )
    return ran.stdout + ran.stderr


def test_importing_the_package_does_no_work(tmp_path: Path):
    counting = "import sys; before = set(sys.modules); import orchestrator; "
    counting += "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before}))"
    loaded = set(eval(python("-c", counting, cwd=tmp_path)))
    assert loaded <= {"orchestrator", "__future__"}
    quiet = "import sys, orchestrator; print([m for m in sys.modules if m.startswith('orch')])"
    assert python("-c", quiet, cwd=tmp_path).strip() == "['orchestrator']"


def test_a_frame_is_a_source_without_its_library_being_loaded_before(tmp_path: Path):
    quiet = "import sys; from orchestrator import Orchestrator, JobSpec; "
    quiet += "print(sorted({'pandas', 'polars', 'pyarrow', 'IPython'} & set(sys.modules)))"
    assert python("-c", quiet, cwd=tmp_path).strip() == "[]"


@pytest.mark.parametrize("name", orchestrator.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(orchestrator, name) is not None
    assert name in dir(orchestrator)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Job_'"):
        _ = orchestrator.Job_


def test_every_error_that_a_user_can_meet_has_its_public_name():
    public = {getattr(orchestrator.errors, name) for name in orchestrator.errors.__all__}
    ours = {
        kind
        for kind in vars(all_errors).values()
        if isinstance(kind, type) and issubclass(kind, all_errors.OrchestratorError)
    }
    internal = {all_errors.ClaimLost, all_errors.IllegalTransition}
    assert ours - public == internal
    error = orchestrator.errors.OrchestratorError("what", where="where", next="do")
    parts = ("code", "message", "where", "why", "safe", "next", "exit_code", "retryable")
    assert all(hasattr(error, part) for part in (*parts, "request_id"))


def test_a_program_with_the_public_names_passes_strict_type_checking(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(EXAMPLE)
    # The project's own settings and cache: what it was checked with is not checked again.
    checked = python("-m", "mypy", str(program), cwd=ROOT)
    assert checked.strip() == "Success: no issues found in 1 source file"
