from __future__ import annotations

import json
import tomllib

import jsonschema
import pytest
from jsonschema import Draft202012Validator

from orchestrator.shipped import shipped

PROJECT = """\
[defaults]
window = "24h"
[providers.kimi]
api_key = { env = "MOONSHOT_API_KEY" }
[env.prod.defaults]
window = "48h"
"""
KEY = "sk-never-to-be-seen-4711"


def schema_of(name):
    return json.loads((shipped("config") / "schemas" / f"{name}.schema.json").read_text())


@pytest.fixture
def project(tmp_path):
    (tmp_path / "orchestrator.toml").write_text(PROJECT)
    return tmp_path


def test_check_says_what_was_read(cli, project):
    ran = cli("config", "check")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"ok: 2 settings from {project}/orchestrator.toml\n"


def test_check_fails_with_78_and_names_the_setting(cli, project):
    (project / "orchestrator.toml").write_text("[defaults]\nwindw = '1h'\n")
    ran = cli("config", "check")
    assert ran.status == 78
    assert ran.err == (
        'error: unknown setting "defaults.windw"  [ORC1102]\n'
        f"  where  {project}/orchestrator.toml line 2\n"
        "  next   did you mean defaults.window?\n"
    )


def test_show_never_shows_a_secret(cli, project):
    env = {"MOONSHOT_API_KEY": KEY, "ORCHESTRATOR_REGISTRY__URL": f"postgresql://u:{KEY}@db/x"}
    for argv in (("--all",), ("--json",), ("--format", "csv"), ("-v",)):
        ran = cli("config", "show", *argv, env=env)
        assert ran.status == 0
        assert KEY not in ran.out + ran.err
    assert "ORCHESTRATOR_REGISTRY__URL" in ran.out


def test_show_on_a_terminal_is_a_table_and_in_a_pipe_tabs(cli, project):
    ran = cli("config", "show", tty=True, env={"NO_COLOR": "1"}, columns=200)
    assert ran.out.splitlines()[0].split() == ["KEY", "VALUE", "LAYER", "FROM"]
    assert cli("config", "show").out.splitlines()[0] == (
        f'defaults.window\t"24h"\tproject file\t{project}/orchestrator.toml line 2'
    )


def test_show_all_holds_every_default_that_has_a_place(cli, project):
    keys = cli("config", "show", "--all", "--format", "id").out.splitlines()
    assert {"registry.url", "spool.dir", "daemon.lease", "providers.kimi.api_key"} <= set(keys)


def test_explain_shows_every_layer_and_the_winner(cli, project):
    ran = cli(
        *("config", "explain", "defaults.window", "--env", "prod"),
        env={"ORCHESTRATOR_DEFAULTS__WINDOW": "72h"},
    )
    assert ran.out == (
        'defaults.window = "72h"\n'
        "  completion window\n"
        "  flag          -\n"
        '> environment   "72h"  variable ORCHESTRATOR_DEFAULTS__WINDOW\n'
        f'  project file  "48h"  {project}/orchestrator.toml line 6 (env prod)\n'
        f'  project file  "24h"  {project}/orchestrator.toml line 2\n'
        "  user file     -\n"
        "  system file   -\n"
        '  default       "24h"\n'
    )


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("defaults.windw", "config explain defaults.window"),
        ("daemon", "config explain daemon.tick"),
        ("web.listen", "config schema"),
    ],
)
def test_explain_of_no_setting_suggests_one(cli, project, key, says):
    ran = cli("config", "explain", key)
    assert ran.status == 78
    assert says in ran.err


def test_paths_are_in_order_of_precedence(cli, project):
    lines = cli("config", "paths").out.splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        *("project file", "user file", "system file", "state", "spool", "registry")
    ]


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("config.check", ("config", "check")),
        ("config.show", ("config", "show", "--all")),
        ("config.explain", ("config", "explain", "defaults.model")),
        ("config.paths", ("config", "paths")),
        ("config.schema", ("config", "schema")),
        ("init", ("init", "new")),
        ("help", ("help", "exit-codes")),
    ],
)
def test_every_document_fits_its_shipped_schema(cli, project, name, argv):
    ran = cli(*argv, "--json")
    assert ran.status == 0
    jsonschema.validate(json.loads(ran.out), schema_of(name), cls=Draft202012Validator)


def test_an_error_fits_its_shipped_schema(cli):
    ran = cli("config", "explain", "nope", "--json")
    jsonschema.validate(json.loads(ran.err.splitlines()[-1]), schema_of("error"))


def test_every_shipped_schema_is_one():
    paths = list((shipped("config") / "schemas").glob("*.json"))
    for path in paths:
        Draft202012Validator.check_schema(json.loads(path.read_text()))
    assert paths


def test_the_shipped_schema_of_the_configuration_is_the_one_the_command_prints(cli):
    assert json.loads(cli("config", "schema").out) == schema_of("configuration")


@pytest.mark.parametrize("path", ["orchestrator.toml", "init/orchestrator.toml"])
def test_the_shipped_samples_fit_the_schema_of_the_configuration(path):
    sample = tomllib.loads((shipped("config") / path).read_text(encoding="utf-8"))
    jsonschema.validate(sample, schema_of("configuration"), cls=Draft202012Validator)


@pytest.mark.parametrize(
    "text", ["[defaults]\nwindw = '1h'", "[daemon]\ntick = 5", "[providers.k]\napi_key = 'sk'"]
)
def test_the_schema_refuses_what_the_loader_refuses(text):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            tomllib.loads(text), schema_of("configuration"), cls=Draft202012Validator
        )


def test_init_writes_a_project_that_loads_and_says_what_is_next(cli, tmp_path):
    ran = cli("init", "my reviews")
    assert ran.status == 0
    assert ran.out.endswith("next: cd 'my reviews' && orchestrator plan reviews\n")
    folder = tmp_path / "my reviews"
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == {
        "orchestrator.toml",
        "templates/sentiment.j2",
        "data/reviews.csv",
        ".gitignore",
    }
    checked = cli("config", "check", "--config", str(folder / "orchestrator.toml"), "--json")
    assert json.loads(checked.out)["data"]["jobs"] == ["reviews"]


def test_init_twice_is_nothing_to_do(cli):
    cli("init")
    ran = cli("init")
    assert ran.status == 0
    assert ran.out.startswith("nothing to do")


def test_init_overwrites_only_when_forced_and_checks_all_files_first(cli, tmp_path):
    mine = tmp_path / "data" / "reviews.csv"
    mine.parent.mkdir()
    mine.write_text("mine")
    ran = cli("init")
    assert ran.status == 7
    assert str(mine) in ran.err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "orchestrator.toml").exists()
    assert cli("init", "--force").status == 0
    assert mine.read_text().startswith("id,text")


def test_init_where_nothing_can_be_created_says_so(cli, tmp_path):
    (tmp_path / "file").write_text("")
    ran = cli("init", "file/below")
    assert ran.status == 73
    assert "can't be written" in ran.err
