"""Plan, submit, follow and steer from Python: the same powers, the same answers."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from cli.fake_terminal import a_world
from client.conftest import ROWS, a_spec

from orchestrator import Orchestrator, errors
from orchestrator.cli.main import run
from orchestrator.service.signals import Signals


def test_a_job_is_planned_submitted_watched_and_read(orc: Orchestrator, capsys):
    plan = orc.plan(a_spec(), show=2)
    assert (plan.requests, plan.batches, len(plan.samples)) == (12, 1, 2)
    assert plan.samples[0]["messages"] == [{"role": "user", "content": "Positive? it is number 0"}]
    job = orc.submit(plan)
    assert (job.name, job.state, job.finished) == ("labels", "running", False)
    assert [o.state for o in job.outcomes()] == ["open"] * 12
    job.watch(timeout="60s")
    assert (
        capsys.readouterr()
        .out.splitlines()[-1]
        .endswith("12 succeeded + 0 failed + 0 expired + 0 cancelled + 0 open")
    )
    found = list(job.outcomes())
    assert [o.key for o in found] == [row["id"] for row in ROWS]
    assert [o.record for o in found] == ROWS
    assert all(o.succeeded and o.text and o.cost and o.currency == "USD" for o in found)
    assert job.verify().ok
    assert job.progress().books.succeeded == len(job.outcomes()) == 12


def test_the_same_name_and_content_is_the_same_job_and_other_content_is_refused(orc: Orchestrator):
    job = orc.submit(a_spec())
    assert orc.submit(a_spec(source=iter(ROWS))).id == job.id
    with pytest.raises(errors.NameTaken) as refused:
        orc.submit(a_spec(source=ROWS[:3]))
    assert refused.value.code == "ORC7004"
    assert [one.name for one in orc.jobs()] == ["labels"]


def test_a_plan_whose_source_has_changed_is_refused(lite: Orchestrator, home: Path):
    source = home / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    plan = lite.plan(a_spec(source=source))
    source.write_text(json.dumps(ROWS[0]) + "\n")
    with pytest.raises(errors.PlanChanged):
        lite.submit(plan)


def test_a_plan_says_what_it_costs_as_far_as_that_is_known(lite: Orchestrator):
    assert repr(lite.plan(a_spec())) == "<Plan 'labels' 12 requests, 1 batch, cost unknown>"
    bounded = lite.plan(a_spec(body={"max_tokens": 1_000}))
    assert bounded.cost
    assert bounded.estimate.at_most
    assert bounded.cost.amount <= bounded.estimate.at_most.amount
    assert repr(bounded).endswith("1 batch, at most $0.03>")
    lite.submit(a_spec()).wait(timeout="60s")
    assert "1 batch, about " in repr(lite.plan(a_spec("next")))


def test_two_plans_of_one_name_keep_their_records_apart(lite: Orchestrator):
    first, second = lite.plan(a_spec()), lite.plan(a_spec(source=ROWS[:2]))
    assert (first.requests, second.requests) == (12, 2)
    assert len(lite.submit(first).outcomes()) == 12


def test_to_dict_is_what_the_command_line_gives_as_json(home: Path):
    url = f"sqlite:///{home}/registry.db"
    with Orchestrator.sandbox(registry=url) as orc:
        job = orc.submit(a_spec())
        job.wait(timeout="60s")
        world = a_world(home, env={"ORCHESTRATOR_REGISTRY__URL": url})
        assert run(["jobs", "show", "labels", "--json"], world) == 0
        assert job.to_dict() == json.loads(world.stdout.getvalue())["data"]


def test_a_plans_to_dict_is_what_the_command_line_gives_as_json(home: Path):
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    url = f"sqlite:///{home}/registry.db"
    with Orchestrator.sandbox(registry=url) as orc:
        told = orc.plan(a_spec("rows", source="rows.jsonl"), show=1).to_dict()
    world = a_world(home, env={"ORCHESTRATOR_REGISTRY__URL": url})
    asked = ("--prompt", "Positive? {text}", "--provider", "sandbox", "--model", "kimi-k2.6")
    assert run(["plan", "rows.jsonl", *asked, "--show", "1", "--json"], world) == 0
    shown = json.loads(world.stdout.getvalue())["data"]
    assert {**told, "submit": None} == {**shown, "submit": None}


def test_the_work_is_done_by_ticks(orc: Orchestrator):
    job = orc.submit(a_spec())
    assert not orc.tick().busy
    assert job.batches()[0].batch.requests == 12
    assert orc.events("labels")[-1].kind
    assert [view.job.name for view in orc.status().fleet.jobs] == ["labels"]


def test_a_daemon_in_a_thread_does_the_work_and_who_waits_only_looks(orc: Orchestrator):
    job = orc.submit(a_spec())
    with orc.daemon() as daemon:
        assert orc.status().fleet.daemons == 1
        job.wait(timeout="60s")
        assert daemon.alive
        assert daemon.failed is None
    assert not daemon.alive
    assert job.finished


def test_a_second_daemon_works_beside_the_first_or_stands_by(orc: Orchestrator, registry_url: str):
    with orc.daemon() as first, orc.daemon() as second:
        assert first.failed is None
        alone = registry_url.startswith("sqlite")
        assert isinstance(second.failed, errors.AlreadyRunning) == alone
        assert orc.submit(a_spec()).wait(timeout="60s").finished
        assert second.alive


def test_waiting_ends_with_its_time_and_leaves_the_job_alone(lite: Orchestrator):
    job = lite.submit(a_spec())
    with pytest.raises(errors.WaitTimeout) as late:
        job.wait(timeout=0)
    assert late.value.exit_code == 4
    assert job.wait(timeout="60s").finished


def test_an_interrupt_ends_the_watching_and_not_the_job(lite: Orchestrator):
    job = lite.submit(a_spec())

    def take(_chunk: object) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        job.deliver(take, timeout="60s")
    assert job.state in {"running", "finished"}
    assert job.wait(timeout="60s").finished


@pytest.mark.parametrize(
    ("second", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_second_interrupt_is_not_waited_for_and_ends_no_process(
    second: signal.Signals, ends: type[BaseException], lite: Orchestrator
):
    job = lite.submit(a_spec())
    after: list[str] = []

    def take(_chunk: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(second)
        after.append("never")

    with pytest.raises(ends):
        job.deliver(take, timeout="60s")
    assert after == []
    assert job.wait(timeout="60s").finished


def test_a_paused_job_is_at_rest_until_it_is_resumed(lite: Orchestrator):
    job = lite.submit(a_spec())
    assert job.pause().jobs == ["labels"]
    assert not job.wait(timeout="60s").finished
    assert job.resume().jobs == ["labels"]
    assert job.wait(timeout="60s").finished


def test_signals_that_are_given_stop_a_wait_without_a_word(lite: Orchestrator):
    job = lite.submit(a_spec())
    signals = Signals()
    signals.stop()
    assert job.wait(signals=signals) is job
    assert not job.finished


def test_cancelled_records_are_data_unless_an_error_is_asked_for(orc: Orchestrator):
    job = orc.submit(a_spec())
    assert job.cancel().records == 12
    assert job.wait(timeout="60s").progress().books.cancelled == 12
    with pytest.raises(errors.RecordsFailed) as failed:
        job.wait(raise_on_failed=True)
    assert (failed.value.code, failed.value.exit_code) == ("ORC1150", 3)
    assert str(failed.value).startswith("12 of 12 records")


def test_failures_are_grouped_and_asked_again(registry_url: str, home: Path):
    (home / "refusing.toml").write_text("[lines]\ncontent_filter = 1.0\n")
    with Orchestrator.sandbox(temper="refusing.toml", registry=registry_url) as refusing:
        job = refusing.submit(a_spec())
        job.wait(timeout="60s")
        assert [o.key for o in job.outcomes(state="failed", key="r-00*")] == [
            f"r-00{n}" for n in range(10)
        ]
        (group,) = job.errors()
        assert group.records == 12
        outcome = next(iter(job.outcomes()))
        assert outcome.error is not None
        assert outcome.error.message
        assert outcome.answer is None
        assert job.retry(key=["r-001", "r-002"]).records == 2
        assert not job.finished


def test_outcomes_are_delivered_once_each_as_they_come(orc: Orchestrator):
    job = orc.submit(a_spec())
    taken: list[str] = []
    sizes: list[int] = []

    def take(chunk: list) -> None:
        sizes.append(len(chunk))
        taken.extend(outcome.key for outcome in chunk)

    assert job.deliver(take, timeout="60s", size=5) == 12
    assert sorted(taken) == [row["id"] for row in ROWS]
    assert max(sizes) == 5


def test_a_function_among_the_sinks_gets_outcomes_while_the_job_is_followed(lite: Orchestrator):
    taken: list[str] = []

    def take(chunk: list) -> None:
        taken.extend(outcome.key for outcome in chunk)

    job = lite.submit(a_spec(sinks=[take]))
    job.wait(timeout="60s")
    job.wait(timeout="60s")
    assert sorted(taken) == [row["id"] for row in ROWS]


def test_an_error_of_whoever_takes_ends_the_delivery_and_not_the_job(lite: Orchestrator):
    job = lite.submit(a_spec())

    def refuse(_chunk: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job.deliver(refuse, timeout="60s")
    assert job.wait(timeout="60s").finished


def test_a_job_is_found_by_name_beginning_and_last(lite: Orchestrator):
    lite.submit(a_spec("evals-b"))
    assert lite.job("ev").name == lite.job("@last").name == "evals-b"
    with pytest.raises(errors.NotFound, match='did you mean "evals-b"'):
        lite.job("eval-b")


def test_where_nothing_was_submitted_there_is_nothing_to_see_and_no_error(
    lite: Orchestrator, home: Path
):
    with lite.with_options(registry=f"sqlite:///{home}/none.db") as nothing:
        assert (nothing.jobs(), nothing.events()) == ([], [])
        assert nothing.status().to_dict()["jobs"] == []
        assert not any(provider.used for provider in nothing.providers())
        with pytest.raises(errors.NotFound):
            nothing.job("labels")


def test_what_is_tried_again_is_said_with_the_job(lite: Orchestrator):
    plan = lite.plan(a_spec(retry={"attempts": 7, "back_off": "10m", "on_expired": "close"}))
    policy = plan.planned.spec.policy
    assert (policy.attempts, policy.linger_seconds, policy.on_expired) == (7, 600, "close")


@pytest.mark.parametrize("retry", [{"tries": 3}, {"attempts": "many"}, {"back_off": "soon"}])
def test_a_retry_that_is_none_is_refused(retry: dict, lite: Orchestrator):
    with pytest.raises(errors.UsageError, match="retry of job labels is wrong"):
        lite.plan(a_spec(retry=retry))


def test_a_name_that_no_command_could_take_is_refused(lite: Orchestrator):
    with pytest.raises(errors.UsageError) as refused:
        lite.plan(a_spec("a/b"))
    assert refused.value.code == "ORC1302"


def test_nothing_says_where_a_job_goes(home: Path):
    with (
        Orchestrator(registry=f"sqlite:///{home}/r.db", settings={"spool.dir": home}) as plain,
        pytest.raises(errors.ConfigError) as refused,
    ):
        plain.plan(a_spec())
    assert refused.value.code == "ORC1110"


def test_options_are_laid_over_those_that_were_there(lite: Orchestrator, home: Path):
    with lite.with_options(registry=f"sqlite:///{home}/other.db") as other:
        other.submit(a_spec())
        assert [job.name for job in other.jobs()] == ["labels"]
    lite.submit(a_spec("mine"))
    assert [job.name for job in lite.jobs()] == ["mine"]


def test_one_line_tells_what_a_thing_is_without_what_it_holds(lite: Orchestrator):
    job = lite.submit(a_spec(system="the secret sauce"))
    job.wait(timeout="60s")
    shown = [lite, a_spec(), lite.plan(a_spec("other")), job, job.outcomes(), *job.outcomes()]
    lines = [repr(one) for one in shown]
    assert repr(job) == "<Job 'labels' finished 12/12>"
    assert all("\n" not in line and len(line) < 160 for line in lines)
    assert not any("number" in line or "sauce" in line for line in lines)


def test_a_notebook_gets_a_box_with_bar_and_books_and_every_word_escaped(lite: Orchestrator):
    job = lite.submit(a_spec("a<b>&c"))
    box = job._repr_html_()
    assert "a&lt;b&gt;&amp;c" in box
    assert "12 records = 0 succeeded" in box
    assert 'aria-label="0 recorded, 0 reported, 0 in flight, 12 waiting"' in box
    assert "a&lt;b" in lite.plan(a_spec("a<b>"))._repr_html_()


def test_equal_requests_are_sent_once_and_answers_of_earlier_jobs_used(orc: Orchestrator):
    rows = [{"id": n, "text": "the same"} for n in range(5)]
    job = orc.submit(a_spec(source=rows, dedup=True, cache=True)).wait(timeout="60s")
    assert [view.batch.requests for view in job.batches()] == [1]
    assert len({o.text for o in job.outcomes(state="succeeded")}) == 1
    again = a_spec("again", source=rows, cache="7d")
    plan = orc.plan(again)
    assert (plan.identical, plan.at_hand) == (5, 5)
    assert orc.submit(plan).wait(timeout="60s").batches() == []


def test_a_budget_holds_the_job_before_the_batch_and_is_raised(orc: Orchestrator):
    job = orc.submit(a_spec(body={"max_tokens": 64}, budget="0.000001 USD"))
    assert not job.wait(timeout="60s").finished
    assert job.progress().waits_for.who == "you"
    assert job.batches() == []
    with pytest.raises(errors.UsageError, match="not an amount of money"):
        job.resume(budget="much")
    assert job.resume(budget="5 USD").jobs == ["labels"]
    assert job.wait(timeout="60s").finished


def test_what_was_spent_is_told_by_job_and_adds_up_with_the_outcomes(orc: Orchestrator):
    assert orc.costs() == []
    job = orc.submit(a_spec()).wait(timeout="60s")
    (spent,) = orc.costs(since="1d", job="labels")
    assert spent.cost
    assert (spent.name, spent.requests, spent.cost.currency) == ("labels", 12, "USD")
    assert spent.cost.amount == sum(outcome.cost or 0 for outcome in job.outcomes())
    assert [line.name for line in orc.costs("model")] == ["sandbox/kimi-k2.6"]
    with pytest.raises(errors.UsageError, match="neither a day nor an age"):
        orc.costs(since="lately")


def test_a_budget_that_can_not_be_kept_is_refused(lite: Orchestrator):
    with pytest.raises(errors.GuardError) as refused:
        lite.submit(a_spec(budget="5 USD"))
    assert refused.value.exit_code == 7
    assert "max_tokens" in refused.value.next


def test_a_canary_goes_first_and_holds_the_rest_where_it_fails(orc: Orchestrator):
    job = orc.submit(a_spec(canary=3, require=["succeeded > 99%", "tokens_out < 1"]))
    job.wait(timeout="60s")
    assert job.progress().books.recorded == 3
    job.resume()
    assert job.wait(timeout="60s").finished


WORKFLOW = """
[workflow]
name = "twice"

[jobs.first]
source = "rows.jsonl"
key = "id"
prompt = "{text}"

[jobs.second]
source = { job = "first" }
prompt = "Again: {answer_text}"
"""


def test_a_workflow_is_applied_and_goes_through_by_itself(orc: Orchestrator, home: Path):
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (home / "flow.toml").write_text(WORKFLOW)
    rehearsed = orc.apply("flow.toml", dry_run=True)
    assert [job.status for job in rehearsed.jobs] == ["would_submit", "would_declare"]
    assert [job.name for job in orc.apply("flow.toml").jobs] == ["first", "second"]
    with orc.daemon():
        orc.job("first").wait(timeout="60s")
        while not any(job.name == "second" for job in orc.jobs()):
            orc.status()
        orc.job("second").wait(timeout="60s", raise_on_failed=True)
    assert [o.key for o in orc.job("second").outcomes()] == [row["id"] for row in ROWS]
    assert orc.apply("flow.toml").jobs[0].status == "already_submitted"
    (graph,) = orc.graph()
    assert str(graph).splitlines()[0] == "workflow twice"
    assert repr(graph) == "<WorkflowGraph 'twice' 2 jobs>"
    assert graph._repr_svg_().startswith("<svg")
    assert [node["job"] for node in graph.to_dict()["jobs"]] == ["first", "second"]
    with pytest.raises(errors.NotFound):
        orc.graph("thrice")


def test_a_closed_sandbox_says_that_it_is_closed(home: Path):
    orc = Orchestrator.sandbox()
    job = orc.submit(a_spec())
    orc.close()
    for look in (orc.jobs, orc.status, lambda: orc.job("labels"), job.progress):
        with pytest.raises(errors.UsageError, match="this Orchestrator is closed"):
            look()
