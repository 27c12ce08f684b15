from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from orchestrator.domain.errors import ConfigError, NotFound
from orchestrator.settings import job_spec, keys, load, toml_lines
from orchestrator.settings.keys import all_keys
from orchestrator.shipped import shipped


def window(value):
    return f'[defaults]\nwindow = "{value}"\n'


LAYERS = ("system", "user", "project", "overlay", "environment", "flag")


@pytest.mark.parametrize("highest", range(len(LAYERS) + 1))
def test_the_strongest_layer_wins(project, highest):
    present = LAYERS[:highest]
    if "system" in present:
        project.system.write_text(window("1h"))
    if "user" in present:
        project.user.write_text(window("2h"))
    overlay = '[env.prod.defaults]\nwindow = "4h"\n' if "overlay" in present else ""
    project.project.write_text((window("3h") if "project" in present else "") + overlay)
    environ = {"ORCHESTRATOR_DEFAULTS__WINDOW": "5h"} if "environment" in present else {}
    flags = {"defaults.window": ("--window", "6h")} if "flag" in present else {}
    configuration = project.load(environ, env="prod" if overlay else None, flags=flags)
    assert (
        configuration.settings.defaults.window
        == ("24h", "1h", "2h", "3h", "4h", "5h", "6h")[highest]
    )
    origin = configuration.origin("defaults.window")
    assert (
        origin.layer
        == (
            "default",
            "system file",
            "user file",
            "project file",
            "project file",
            "environment",
            "flag",
        )[highest]
    )
    assert len(configuration.values.get(("defaults", "window"), ())) == highest


def test_an_overlay_of_a_weaker_file_loses_to_a_stronger_file(project):
    project.user.write_text('[env.prod.defaults]\nwindow = "2h"\n')
    project.project.write_text(window("3h"))
    assert project.load(env="prod").settings.defaults.window == "3h"


def test_nothing_set_is_every_default(project):
    configuration = project.load()
    settings = configuration.settings
    assert settings.defaults.requests_per_batch == 50_000
    assert settings.daemon.poll_min == timedelta(seconds=15)
    assert settings.daemon.poll_max == timedelta(minutes=10)
    assert (settings.daemon.lease, settings.daemon.drain) == (
        timedelta(seconds=60),
        timedelta(seconds=25),
    )
    assert configuration.values == {}
    assert str(configuration.origin("daemon.tick")) == "default"


def test_values_are_typed(project):
    project.project.write_text(
        "[daemon]\npoll_min = '90s'\n[spool]\ndir = 'files'\n"
        "[providers.kimi]\nmax_batches_in_flight = 40\n"
        "[providers.own]\nprofile = 'own.toml'\n"
    )
    settings = project.load().settings
    assert settings.daemon.poll_min == timedelta(seconds=90)
    assert settings.spool.dir == project.project.parent / "files"
    assert settings.providers["kimi"].max_batches_in_flight == 40
    assert settings.providers["kimi"].profile == "kimi"
    assert settings.providers["own"].profile == str(project.project.parent / "own.toml")


def test_each_value_knows_its_file_and_line(project):
    project.project.write_text(
        '# a comment\n[providers.kimi]\nbase_url = "https://x/v1" # why\n'
        'api_key = { env = "A", file = "b" }\n\n\n[defaults]\nretry.attempts = 2\n'
    )
    configuration = project.load()
    origin = configuration.origin("defaults.retry.attempts")
    assert (origin.file, origin.line) == (project.project, 8)
    assert configuration.origin("providers.kimi.api_key").line == 4
    assert str(origin) == f"{project.project} line 8"


@pytest.mark.parametrize(
    ("text", "code", "line", "says", "following"),
    [
        ("[defaults]\n\nwindw = 1\n", "ORC1102", 3, '"defaults.windw"', "defaults.window?"),
        ("[default]\nwindow = '1h'\n", "ORC1102", 1, '"default"', "did you mean defaults?"),
        ("[providers.k]\nbas_url = ''\n", "ORC1102", 2, "bas_url", "providers.k.base_url?"),
        ("[daemon]\nxyzzy = 1\n", "ORC1102", 2, "daemon.xyzzy", "config schema"),
        ("[env.x.daemon]\ntik = '1s'\n", "ORC1102", 2, "daemon.tik", "daemon.tick?"),
        ("[daemon]\ntick = 5\n", "ORC1101", 2, "daemon.tick", ""),
        ("[daemon]\ntick = '5 parsecs'\n", "ORC1101", 2, "daemon.tick", ""),
        ("[defaults]\nretry.attempts = 0\n", "ORC1101", 2, "retry.attempts", ""),
        ("[defaults]\ndelete_remote_files = 'no'\n", "ORC1101", 2, "delete_remote_files", ""),
        ("[defaults]\ntimezone = 'Europe/Berln'\n", "ORC1101", 2, "timezone", ""),
        ("[defaults]\nretry.on_expired = 'clos'\n", "ORC1101", 2, "on_expired", ""),
        ("[daemon]\npoll_min = '2h'\n", "ORC1101", 2, "poll_min is longer", ""),
        ("[daemon]\nlease = '1s'\n", "ORC1101", 2, "lease", ""),
        ("schema = 2\n", "ORC1101", 1, "schema = 2", ""),
        ("[jobs.a]\nprompt = 'x'\n", "ORC1101", 1, "jobs.a has no source", "source ="),
        ("[jobs.a]\nsource = 'a.csv'\n", "ORC1101", 1, "none of them", ""),
        (
            "[jobs.a]\nsource = 'a.csv'\nlines = true\nprompt = 'x'\n",
            "ORC1101",
            1,
            "prompt and lines",
            "",
        ),
        ("[web]\nlisten = 'x'\n", "ORC1103", 1, "later release", ""),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(project, text, code, line, says, following):
    error = project.problems(text)
    assert (error.code, error.exit_code) == (code, 78)
    assert says in error.message
    assert error.where.startswith(f"{project.project} line {line}")
    assert following in error.next


@pytest.mark.parametrize("key", ["schedule", "deadline", "notify"])
def test_a_setting_that_does_nothing_yet_is_refused(project, key):
    error = project.problems(f"[jobs.a]\nsource = 'a.csv'\nprompt = 'x'\n{key} = 'x'\n")
    assert error.message == f'the setting "jobs.a.{key}" comes in a later release'
    assert error.where.endswith("line 4")


def test_every_problem_is_found_in_one_go_in_the_order_of_the_file(project):
    error = project.problems("[defaults]\nwindw = 1\nretry.attempts = 'x'\n[nope]\na = 1\n")
    assert error.message == "3 settings are wrong"
    assert [detail.partition(" line ")[2][0] for detail in error.details] == ["2", "3", "4"]


def test_a_file_that_is_not_toml_says_where(project):
    error = project.problems("[defaults\n")
    assert error.code == "ORC1104"
    assert "line 1" in error.why


def test_a_named_file_must_be_there_and_others_need_not(project):
    with pytest.raises(ConfigError, match="is not there") as caught:
        project.load(config=Path("other.toml"))
    assert (caught.value.code, caught.value.where) == ("ORC1104", "--config")
    assert project.load().files[0].exists is False


def test_the_project_file_is_searched_upward(project, tmp_path):
    project.project.write_text(window("3h"))
    deep = project.project.parent / "a" / "b"
    deep.mkdir(parents=True)
    configuration = load(environ={"HOME": str(tmp_path)}, cwd=deep)
    assert configuration.settings.defaults.window == "3h"


def test_an_unknown_environment_is_an_error_that_lists_the_known_ones(project):
    project.project.write_text("[env.prod.defaults]\nwindow = '2h'\n")
    with pytest.raises(ConfigError, match='no environment "prd"') as caught:
        project.load({"ORCHESTRATOR_ENV": "prd"})
    assert caught.value.code == "ORC1108"
    assert "prod" in caught.value.why


def test_variables_nest_with_two_underscores_and_find_declared_names(project):
    project.project.write_text("[jobs.nightly-tags]\nsource = 'a.csv'\nprompt = 'x'\n")
    settings = project.load(
        {
            "ORCHESTRATOR_JOBS__NIGHTLY_TAGS__MODEL": "kimi-k2.5",
            "ORCHESTRATOR_DEFAULTS__RETRY__ATTEMPTS": "5",
            "ORCHESTRATOR_DEFAULTS__DELETE_REMOTE_FILES": "no",
            "ORCHESTRATOR_PORT": "tcp://10.0.0.1:80",
        }
    ).settings
    assert settings.jobs["nightly-tags"].model == "kimi-k2.5"
    assert settings.defaults.retry.attempts == 5
    assert settings.defaults.delete_remote_files is False


def test_an_unknown_variable_is_an_error_with_the_nearest_variable(project):
    error = project.problems("", {"ORCHESTRATOR_DEFAULTS__WINDO": "2h"})
    assert error.where == "variable ORCHESTRATOR_DEFAULTS__WINDO"
    assert error.next == "did you mean ORCHESTRATOR_DEFAULTS__WINDOW?"


@pytest.mark.parametrize(
    ("environ", "state"),
    [
        ({}, "home/.local/state/orchestrator"),
        ({"XDG_STATE_HOME": "/x"}, "/x/orchestrator"),
        ({"XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/var/lib/orc:/other"}, "/var/lib/orc"),
    ],
)
def test_registry_and_spool_lie_in_the_state_directory(project, environ, state):
    configuration = project.load(environ)
    expected = project.root / state
    assert configuration.state_directory == expected
    assert configuration.spool_directory == expected / "spool"
    assert configuration.registry_url() == f"sqlite:///{expected}/registry.db"


def test_shipped_profiles_are_providers_by_name(project):
    configuration = project.load()
    assert {"kimi", "openai", "sandbox"} <= set(configuration.provider_names)
    assert configuration.provider("kimi").profile == "kimi"
    with pytest.raises(ConfigError, match='did you mean "kimi"') as caught:
        configuration.provider("kimmi")
    assert caught.value.code == "ORC1109"


@pytest.mark.parametrize(
    ("text", "environ", "chosen"),
    [
        ("", {}, None),
        ("", {"MOONSHOT_API_KEY": "k"}, "kimi"),
        ("", {"OPENAI_API_KEY": "k"}, "openai"),
        ("", {"OPENAI_API_KEY": "k", "MOONSHOT_API_KEY": "k"}, None),
        ("[providers.mine]\nprofile = 'openai'", {"MOONSHOT_API_KEY": "k"}, "mine"),
        ("[defaults]\nprovider = 'sandbox'", {"MOONSHOT_API_KEY": "k"}, "sandbox"),
    ],
)
def test_one_key_in_the_environment_is_enough_to_choose_a_provider(project, text, environ, chosen):
    project.project.write_text(text)
    assert project.load(environ).default_provider() == chosen


def test_a_job_spec_takes_defaults_and_its_template(project):
    project.project.write_text(
        "[defaults]\nprovider = 'kimi'\nretry.attempts = 7\nwindow = '48h'\n"
        "[jobs.tags]\nsource = { file = 'a.data', format = 'jsonl', key = 'id' }\n"
        "template = 'tag.j2'\nrequest = { model = 'kimi-k2.5', max_tokens = 64 }\n"
        "retry = { rounds = 2, back_off = '10s' }\nmetadata = { team = 'support' }\n"
    )
    (project.project.parent / "tag.j2").write_text("{{ text }}")
    spec = job_spec(project.load(), "tags")
    assert spec.source == str(project.project.parent / "a.data")
    assert (spec.name, spec.key, spec.source_format) == ("tags", "id", "jsonl")
    assert (spec.provider, spec.model, spec.body) == ("kimi", "kimi-k2.5", {"max_tokens": 64})
    assert (spec.template, spec.window, spec.metadata) == ("{{ text }}", "48h", {"team": "support"})
    assert (spec.policy.attempts, spec.policy.rounds, spec.policy.linger_seconds) == (7, 2, 10)


def test_a_job_spec_that_is_not_there_is_not_found(project):
    project.project.write_text("[jobs.tags]\nsource = 'a.csv'\nprompt = 'x'\n")
    with pytest.raises(NotFound, match='did you mean "tags"'):
        job_spec(project.load(), "tag")
    with pytest.raises(ConfigError) as caught:
        job_spec(project.load(), "tags")
    assert caught.value.code == "ORC1110"


def test_the_zone_is_the_settings_else_that_of_the_environment(project):
    assert project.load({"TZ": "Asia/Shanghai"}).zone() == ZoneInfo("Asia/Shanghai")
    flags = {"defaults.timezone": ("--tz", "Europe/Berlin")}
    assert project.load({"TZ": "Asia/Shanghai"}, flags=flags).zone() == ZoneInfo("Europe/Berlin")


def test_the_shipped_sample_holds_every_setting_and_loads(project):
    text = (shipped("config") / "orchestrator.toml").read_text(encoding="utf-8")
    project.project.write_text(text)
    assert project.load().values == {}
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    settings = [
        line
        for line in lines
        if line.startswith(("[", "retry.")) or line.partition(" = ")[0].isidentifier()
    ]
    once, seen, table = [], set(), ""
    for line in settings:
        table = line if line.startswith("[") else table
        name = (table, line.partition(" = ")[0])
        if name not in seen:
            seen.add(name)
            once.append(line)
    project.project.write_text("\n".join(once).replace("template =", "#"))
    configuration = project.load()
    written = {key for path in configuration.values if (key := keys.pattern_of(path))}
    optional = {("jobs", "*", "template"), ("jobs", "*", "lines")}
    nested = {
        path
        for path in all_keys()
        if path[:3] in (("jobs", "*", "retry"), ("jobs", "*", "source"), ("jobs", "*", "canary"))
    }
    assert set(all_keys()) - written - optional - nested == set()


def test_every_setting_has_help():
    assert all(key.help for key in all_keys().values())


def test_lines_are_found_in_every_form_of_toml():
    text = (
        'a = 1\n"b c".d = """x\n\n""" # [not.a.table]\n[t] # comment\n'
        "k = [\n  1, # ]\n  { x = '}' },\n]\nm = { n = { o = 2 }, p = 'q' }\n"
        "[t.'u.v']\nw = 'it = 1'\n"
    )
    assert tomllib.loads(text)["t"]["k"] == [1, {"x": "}"}]
    lines = toml_lines.line_numbers(text)
    assert lines[("a",)] == 1
    assert lines[("b c", "d")] == 2
    assert lines[("t",)] == 5
    assert lines[("t", "k")] == 6
    assert lines[("t", "m", "n", "o")] == 10
    assert lines[("t", "m", "p")] == 10
    assert lines[("t", "u.v", "w")] == 12
