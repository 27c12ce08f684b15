"""Workflow files: read with the same checks as settings, applied once however often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from support.world import World

from orchestrator import api
from orchestrator.domain.errors import (
    ClaimLost,
    ConfigError,
    GuardError,
    NameTaken,
    NotFound,
    OrchestratorError,
    SourceError,
)
from orchestrator.domain.model import JobState, StageState
from orchestrator.domain.workflow import Workflow, workflow
from orchestrator.engine.steps.feed import feed
from orchestrator.registry import stages
from orchestrator.registry.tables import events, jobs
from orchestrator.registry.tables import stages as stages_table
from orchestrator.settings import job_spec
from orchestrator.settings.load import load
from orchestrator.settings.workflows import read_workflow

FLOW = """
[workflow]
name = "reviews"

[defaults]
provider = "sandbox"
model = "kimi-k2.6"

[jobs.classify]
source = "reviews.jsonl"
key = "id"
prompt = "One word: {text}"

[jobs.rewrite]
source = { job = "classify", answer = "label" }
prompt = "Rewrite {text} as {label}"

[jobs.judge]
source = { job = "rewrite", answer = "better", stream = true }
prompt = "Is {better} better than {text}, which is {label}?"
"""

Read = Callable[..., Workflow]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    rows = "".join(f'{{"id":"r{n}","text":"t{n}"}}\n' for n in range(12))
    (tmp_path / "reviews.jsonl").write_text(rows)

    def reading(text: str = FLOW, suffix: str = "") -> Workflow:
        path = tmp_path / "flow.toml"
        path.write_text(text)
        configuration = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
        return read_workflow(configuration, path, suffix=suffix)

    return reading


def refused(read: Read, text: str) -> OrchestratorError:
    with pytest.raises(OrchestratorError) as caught:
        read(text)
    return caught.value


def rows_of(world: World, table: sa.Table) -> int:
    with world.registry.read() as db:
        return int(db.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def statuses(applied: api.Applied) -> dict[str, str]:
    return {job.name: job.status for job in applied.jobs}


def test_jobs_stand_behind_what_they_wait_for(read: Read) -> None:
    head, *tables = FLOW.split("\n[jobs.")
    shuffled = "\n[jobs.".join([head, *tables[::-1]])
    assert [job.name for job in read(shuffled).jobs] == ["classify", "rewrite", "judge"]
    assert [job.stream for job in read().jobs] == [False, False, True]
    assert read().jobs[1].spec.source == "job:classify"


def test_a_suffix_makes_another_run_of_the_same_file(read: Read) -> None:
    again = read(suffix="2")
    assert again.name == "reviews-2"
    assert [job.name for job in again.jobs] == ["classify-2", "rewrite-2", "judge-2"]
    assert again.jobs[2].upstream == "rewrite-2"


def test_a_circle_is_named(read: Read) -> None:
    error = refused(read, FLOW.replace('source = "reviews.jsonl"', 'source = "job:judge"'))
    assert error.code == "ORC1130"
    assert "classify -> rewrite -> judge -> classify" in error.message
    assert "line" in error.where


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("[workflow]", "[workflows]", "ORC1134", "does not say what it is called"),
        ('name = "reviews"', 'name = "reviews"\nkind = 1', "ORC1134", '"kind" has no meaning'),
        ("[defaults]", "[daemon]\ntick = '1s'\n[defaults]", "ORC1102", 'no place for "daemon"'),
        ("stream =", "steam =", "ORC1102", 'unknown setting "jobs.judge.source.steam"'),
        ("[jobs.judge]", "[jobs.judge]\nname = 'rewrite'", "ORC1132", 'called "rewrite"'),
        ("stream = true }", "stream = true }\nlimit = 3", "ORC1133", "and have limit"),
        ('job = "classify"', "stream = true", "ORC1101", "jobs.rewrite has no source"),
        ('job = "rewrite",', 'file = "x", job = "rewrite",', "ORC1101", "not both"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_with_its_line(
    read: Read, old: str, new: str, code: str, words: str
) -> None:
    error = refused(read, FLOW.replace(old, new))
    told = "\n".join([error.message, error.why, *error.details])
    assert error.code == code, told
    assert words in told
    assert "flow.toml" in f"{error.where} {told}"
    assert "line" in f"{error.where} {told}" or "what it is called" in words


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    configuration = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    with pytest.raises(NotFound):
        read_workflow(configuration, tmp_path / "none.toml")


def test_a_stage_of_the_configuration_can_not_stream(tmp_path: Path) -> None:
    (tmp_path / "orchestrator.toml").write_text(FLOW.replace('[workflow]\nname = "reviews"', ""))
    configuration = load(environ={"HOME": str(tmp_path)}, cwd=tmp_path)
    assert job_spec(configuration, "rewrite").source == "job:classify"
    with pytest.raises(ConfigError) as caught:
        job_spec(configuration, "judge")
    assert caught.value.code == "ORC1135"


def test_a_workflow_runs_to_its_end_by_itself(world: World, read: Read) -> None:
    applied = api.apply(world.context, read(), actor="test")
    assert statuses(applied) == {
        "classify": "submitted",
        "rewrite": "declared",
        "judge": "declared",
    }
    world.rest()
    for name in ("classify", "rewrite", "judge"):
        assert world.job(name).state is JobState.FINISHED
        assert world.job(name).books.succeeded == 12


def test_applied_again_it_is_the_same_workflow(world: World, read: Read) -> None:
    api.apply(world.context, read(), actor="test")
    before = rows_of(world, events), rows_of(world, jobs), rows_of(world, stages_table)
    again = api.apply(world.context, read(), actor="test")
    assert statuses(again) == {
        "classify": "already_submitted",
        "rewrite": "already_declared",
        "judge": "already_declared",
    }
    assert (rows_of(world, events), rows_of(world, jobs), rows_of(world, stages_table)) == before


def test_a_rehearsal_registers_nothing(world: World, read: Read) -> None:
    applied = api.apply(world.context, read(), actor="test", dry_run=True)
    assert statuses(applied) == {
        "classify": "would_submit",
        "rewrite": "would_declare",
        "judge": "would_declare",
    }
    assert rows_of(world, jobs) == rows_of(world, stages_table) == rows_of(world, events) == 0


def test_an_unknown_column_is_refused_before_anything_is_registered(
    world: World, read: Read
) -> None:
    flow = read(FLOW.replace("as {label}", "as {lable}"))
    with pytest.raises(OrchestratorError, match="lable") as caught:
        api.apply(world.context, flow, actor="test")
    assert "flow.toml line" in caught.value.where
    assert rows_of(world, jobs) == rows_of(world, stages_table) == 0


def test_a_job_that_is_nowhere_is_refused_with_the_nearest_one(world: World, read: Read) -> None:
    flow = read(FLOW.replace('job = "classify"', 'job = "clasify"'))
    with pytest.raises(ConfigError, match='did you mean "classify"') as caught:
        api.apply(world.context, flow, actor="test")
    assert caught.value.code == "ORC1131"
    assert rows_of(world, jobs) == 0


def test_one_bad_source_of_two_registers_neither(world: World, read: Read, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"id":"a","text":"x"}\n{"id":"a","text":"x"}\n')
    other = '\n[jobs.other]\nsource = "bad.jsonl"\nkey = "id"\nprompt = "{text}"\n'
    with pytest.raises(SourceError):
        api.apply(world.context, read(FLOW + other), actor="test")
    assert rows_of(world, jobs) == rows_of(world, stages_table) == 0


def test_a_stage_that_has_not_begun_is_replaced(world: World, read: Read) -> None:
    api.apply(world.context, read(), actor="test")
    changed = FLOW.replace("Rewrite {text}", "Write {text} anew")
    again = api.apply(world.context, read(changed), actor="test")
    assert statuses(again)["rewrite"] == "replaced"
    world.rest()
    assert "Write {text} anew" in world.job("rewrite").spec


def test_a_stage_that_has_begun_is_not_changed(world: World, read: Read) -> None:
    api.apply(world.context, read(), actor="test")
    world.rest()
    changed = read(FLOW.replace("Rewrite {text}", "Write {text} anew"))
    with pytest.raises(GuardError) as caught:
        api.apply(world.context, changed, actor="test")
    assert (caught.value.code, caught.value.exit_code) == ("ORC2075", 7)
    assert "--name-suffix" in caught.value.next


def test_a_held_stage_is_mended_by_a_better_file(world: World, read: Read, tmp_path: Path) -> None:
    rows = [f'{{"id":"r{n}","text":"t","more":"m"}}\n' for n in range(3)]
    (tmp_path / "reviews.jsonl").write_text("".join([*rows, '{"id":"bad","text":"t"}\n']))
    wrong = FLOW.replace("Rewrite {text} as", "Rewrite {more} as")
    api.apply(world.context, read(wrong), actor="test")
    world.rest()
    with world.registry.read() as db:
        held = stages.find(db, "rewrite")
    assert held is not None
    assert held.state is StageState.HELD
    assert '"more"' in (held.reason or "")
    api.apply(world.context, read(), actor="test")
    world.rest()
    assert world.job("judge").books.succeeded == 4


def test_the_name_of_a_stage_is_nobody_elses(world: World, read: Read) -> None:
    world.submit(3, name="judge")
    with pytest.raises(GuardError) as caught:
        api.apply(world.context, read(), actor="test")
    assert caught.value.code == "ORC2076"
    api.apply(world.context, read(suffix="2"), actor="test")
    with pytest.raises(NameTaken) as taken:
        world.submit(3, name="judge-2")
    assert taken.value.code == "ORC2074"


def test_a_stage_may_stand_behind_a_job_of_another_file(world: World, read: Read) -> None:
    world.submit(5, name="classify")
    world.run("classify")
    head, _, rest = FLOW.partition("[jobs.classify]")
    alone = head + rest[rest.index("[jobs.rewrite]") :]
    alone = alone.replace('{ job = "classify"', '{ job = "classify"')
    api.apply(world.context, read(alone), actor="test")
    world.rest()
    assert world.job("judge").books.succeeded == 5


def test_a_budget_that_a_stage_could_never_keep_is_refused_before_anything_is_registered(
    world: World, read: Read
) -> None:
    flow = read()
    spec = msgspec.structs.replace(flow.stages[1].spec, budget="5 USD")
    plans = [*flow.jobs[:2], replace(flow.stages[1], spec=spec)]
    with pytest.raises(GuardError, match="nothing bounds the answers"):
        api.apply(world.context, workflow("reviews", plans), actor="test")
    assert rows_of(world, jobs) == rows_of(world, stages_table) == 0


def test_a_job_that_sends_changes_only_is_no_part_of_a_workflow(read: Read) -> None:
    flow = read()
    spec = msgspec.structs.replace(flow.roots[0].spec, changed_only=True)
    with pytest.raises(ConfigError, match="changed_only") as caught:
        workflow("reviews", [replace(flow.roots[0], spec=spec)])
    assert caught.value.code == "ORC1133"


def test_a_stage_that_was_taken_over_is_not_written_by_who_had_it(world: World, read: Read) -> None:
    api.apply(world.context, read(), actor="test")
    now = world.clock.now()
    claim = partial(stages.claim, worker="worker-1", now=now, limit=9)
    mine = next(s for s in world.registry.write(claim) if s.name == "rewrite")
    world.registry.write(lambda db: stages.take_over(db, mine, due_at=now))
    with pytest.raises(ClaimLost):
        feed(world.context, mine)
    world.rest()
    assert world.job("judge").books.succeeded == 12
