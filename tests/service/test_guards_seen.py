"""Budgets and canaries on the command line: given, refused with a remedy, raised, accepted."""

import pytest

PROMPT = "Positive or negative? {text}"
BOUND = ("--set", "body.max_tokens=8")


@pytest.fixture
def reviews(offline):
    (offline.folder / "reviews.csv").write_text("id,text\n1,good\n2,good\n3,bad\n")
    return offline


def submit(project, *more):
    return project.run("submit", "reviews.csv", "--prompt", PROMPT, *more)


def test_a_budget_without_a_bound_on_answers_is_refused_with_its_remedy(reviews):
    ran = submit(reviews, "--budget", "25 USD")
    assert ran.status == 7
    assert "[ORC7015]" in ran.err
    assert "--set body.max_tokens=256" in ran.err
    assert submit(reviews, "--budget", "25 USD", *BOUND).status == 0


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (("--budget", "25"), 2, "ORC1121"),
        (("--budget", "25 CNY"), 7, "ORC7016"),
        (("--budget", "25 USD", "--model", "unheard-of"), 7, "ORC7014"),
        (("--canary", "2", "--require", "faild < 2%"), 2, 'did you mean "failed"'),
        (("--require", "failed < 2%"), 2, "--canary 200"),
    ],
)
def test_what_can_t_be_kept_registers_nothing(reviews, flags, status, words):
    ran = submit(reviews, *BOUND, *flags)
    assert ran.status == status
    assert words in ran.err
    assert not reviews.run("jobs", "--json").data() if reviews.registry.exists() else True


def test_a_job_spec_declares_its_guards(reviews):
    reviews.configure(
        '[jobs.tags]\nsource = "reviews.csv"\nprompt = "{text}"\nrequest = { max_tokens = 8 }\n'
        'budget = "4 USD"\ncanary = { records = 2, require = ["failed < 2%"] }\n'
    )
    assert reviews.run("submit", "tags").status == 0
    held = reviews.run("resume", "tags", "--budget", "5 USD", "--json").data()
    assert held["jobs"] == ["tags"]
    assert reviews.run("resume", "tags", "--budget", "5 USD", "--json").data()["jobs"] == []
    assert reviews.run("resume", "tags", "--budget", "5 CNY").status == 7
    assert reviews.run("resume", "all", "--budget", "5").status == 2


def test_prices_of_the_configuration_count(reviews):
    reviews.configure(
        "[providers.sandbox.prices]\n"
        'm1 = { currency = "EUR", input = 1, cached_input = 0.5, output = 2.000001 }\n'
    )
    ran = reviews.run("plan", "reviews.csv", "--prompt", PROMPT, *BOUND, "--model", "m1", "--json")
    assert ran.data()["cost"]["currency"] == "EUR"
    reviews.configure('[providers.sandbox.prices]\nm1 = { currency = "EUR", inputt = 1 }\n')
    ran = reviews.run("plan", "reviews.csv", "--prompt", PROMPT, "--model", "m1")
    assert (ran.status, 'did you mean "input"' in ran.err) == (78, True)


def test_costs_are_told_by_what_is_asked_in_every_format(project):
    assert project.submit(20, "labels", *BOUND).status == 0
    assert project.run("watch", "labels", "--timeout", "60s").status in {0, 3}
    (line,) = project.run("costs", "--json").data()
    assert (line["name"], line["currency"], line["unpriced"]) == ("labels", "USD", 0)
    assert float(line["estimated"]["amount"]) > 0
    assert float(line["cost"]["amount"]) > float(line["wasted"]["amount"]) == 0
    (line,) = project.run("costs", "--by", "model", "--since", "2d", "--json").data()
    assert line["name"] == "sandbox/kimi-k2.6"
    table = project.run("--format", "csv", "costs", "--by", "kind").out.splitlines()
    assert table[0].startswith("name,requests,tokens_in")
    assert table[1].startswith("answered,")
    shown = project.run("costs", tty=True).out
    assert "ESTIMATED" in shown
    assert project.run("costs", "--since", "soon").status == 2
    assert project.run("costs", "--job", "nobody").status == 66
    plan = project.run("plan", "labels.jsonl", "--prompt", PROMPT, *BOUND, "--json").data()
    assert plan["tokens"]["measured_over"] == line["requests"]
    assert plan["expected_cost"] is not None


def test_watching_ends_when_a_guard_holds_and_goes_on_when_it_is_lifted(project):
    guards = ("--canary", "5", "--require", "valid_json > 99%", "--budget", "1 USD")
    assert project.submit(20, "labels", *BOUND, *guards).status == 0
    watched = project.run("watch", "labels", "--timeout", "60s")
    assert watched.status == 3
    shown = project.run("jobs", "show", "labels", tty=True).out
    assert "canary of 5 records: failed" in shown
    assert "budget $1.00" in shown
    assert "valid_json 0% (0 of 5), wanted valid_json > 99%" in shown
    status = project.run("status", tty=True)
    assert status.status == 3
    assert "ORC7020" in status.out
    data = project.run("jobs", "show", "labels", "--json").data()
    assert (data["state"], data["held"]["code"]) == ("held", "ORC7020")
    assert data["canary"]["state"] == "failed"
    assert project.run("resume", "labels").status == 0
    assert project.run("watch", "labels", "--timeout", "60s").status in {0, 3}
    data = project.run("jobs", "show", "labels", "--json").data()
    assert (data["state"], data["canary"]["state"], data["held"]) == ("finished", "accepted", None)
