from __future__ import annotations

import copy
import datetime
import json
import pickle
import subprocess

import pytest

from orchestrator.domain.errors import AuthError, ConfigError
from orchestrator.domain.profile import Limits, Profile
from orchestrator.settings import Secret, load

KEY = "sk-never-to-be-seen-4711"
KIMI = Profile(
    name="kimi",
    title="Kimi",
    base_url="https://api.moonshot.ai/v1",
    key_variables=("MOONSHOT_API_KEY",),
    as_of=datetime.date(2026, 11, 1),
    limits=Limits(max_file_bytes=100_000_000),
)


def loaded(tmp_path, text, environ=None):
    (tmp_path / "orchestrator.toml").write_text(text)
    return load(environ={"HOME": str(tmp_path), **(environ or {})}, cwd=tmp_path)


def with_key(reference):
    return f"[providers.kimi]\napi_key = {reference}\n"


def test_a_secret_shows_itself_to_nobody():
    secret = Secret(KEY, "env MOONSHOT_API_KEY")
    assert secret.reveal() == KEY
    assert secret.last4 == "4711"
    for shown in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}".strip(), f"{[secret]}"):
        assert KEY not in shown
        assert "MOONSHOT_API_KEY" in shown
    for write in (pickle.dumps, json.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            write(secret)


def test_a_short_secret_gives_no_last_characters():
    assert Secret("short", "file x").last4 == ""


@pytest.mark.parametrize(
    ("reference", "source"),
    [
        ('{ credential = "kimi", env = "K" }', "credential kimi"),
        ('{ credential = "other", env = "K" }', "env K"),
        ('{ env = "UNSET", file = "key" }', "file"),
        ('{ file = "missing", command = ["show", "kimi"] }', "command show kimi"),
    ],
)
def test_the_first_place_that_exists_wins(tmp_path, reference, source):
    for name, folder in (("kimi", "creds"), ("key", "."), ("show", "bin")):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(KEY + "\n")
        path.chmod(0o700)
    environ = {
        "CREDENTIALS_DIRECTORY": str(tmp_path / "creds"),
        "K": KEY,
        "PATH": str(tmp_path / "bin"),
    }
    configuration = loaded(tmp_path, with_key(reference), environ)
    asked = []

    def run(command):
        asked.append(command)
        return KEY.encode() + b"\n"

    secret = configuration.api_key("kimi", KIMI, run)
    assert secret.reveal() == KEY
    assert secret.source.startswith(source)
    assert asked == ([("show", "kimi")] if source.startswith("command") else [])


def test_without_a_section_the_profiles_variable_is_enough(tmp_path):
    configuration = loaded(tmp_path, "", {"MOONSHOT_API_KEY": KEY})
    secret = configuration.api_key("kimi", KIMI)
    assert (secret.reveal(), secret.source) == (KEY, "env MOONSHOT_API_KEY")


def test_a_missing_key_says_where_was_looked(tmp_path):
    with pytest.raises(AuthError) as caught:
        loaded(tmp_path, "").api_key("kimi", KIMI)
    assert (caught.value.code, caught.value.exit_code) == ("ORC1107", 77)
    assert "MOONSHOT_API_KEY not set" in caught.value.why
    with pytest.raises(AuthError) as caught:
        loaded(tmp_path, with_key('{ env = "A", file = "b" }')).api_key("kimi", KIMI)
    assert "env A, then file" in caught.value.why
    assert caught.value.where.endswith("line 2")


def test_a_provider_that_needs_no_key_has_none(tmp_path):
    sandbox = Profile(
        name="sandbox",
        title="Sandbox",
        base_url="http://127.0.0.1/v1",
        key_variables=(),
        key_required=False,
        as_of=datetime.date(2026, 11, 1),
        limits=Limits(max_file_bytes=1_000),
    )
    assert loaded(tmp_path, "").api_key("sandbox", sandbox) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "it is empty"), ("a\nb", "line break"), ("x" * 70_000, "longer than 65,536 bytes")],
)
def test_a_place_that_gives_nothing_usable_is_an_error_not_the_next_place(tmp_path, content, why):
    (tmp_path / "key").write_text(content)
    configuration = loaded(tmp_path, with_key('{ file = "key", env = "K" }'), {"K": KEY})
    with pytest.raises(ConfigError) as caught:
        configuration.api_key("kimi", KIMI)
    assert caught.value.code == "ORC1106"
    assert why in caught.value.why


def test_a_failing_command_is_an_error_without_its_output(tmp_path):
    def run(command):
        raise subprocess.CalledProcessError(3, command, output=KEY.encode())

    configuration = loaded(tmp_path, with_key('{ command = ["sh", "-c", "x"] }'), {"PATH": "/bin"})
    with pytest.raises(ConfigError) as caught:
        configuration.api_key("kimi", KIMI, run)
    assert caught.value.why == "it exits with 3"
    assert KEY not in json.dumps(caught.value.to_dict())


@pytest.mark.parametrize(
    "text",
    [
        with_key(f'"{KEY}"'),
        with_key(f"{{ literal = '{KEY}' }}"),
        with_key(f"['{KEY}']"),
        f'[registry]\nurl = "postgresql://orc:{KEY}@db1/orc"\n',
        f'[registry]\nurl = "postgresql://db1/orc?user=orc&password={KEY}"\n',
        f'[env.prod.registry]\nurl = "postgresql://orc:{KEY}@db1/orc"\n',
    ],
)
def test_a_secret_in_a_file_is_refused_and_never_repeated(tmp_path, text):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert KEY not in json.dumps(caught.value.to_dict())
    assert caught.value.exit_code == 78


def test_a_literal_key_is_answered_with_the_fix(tmp_path):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, with_key(f'"{KEY}"'))
    assert caught.value.code == "ORC1105"
    assert 'api_key = { env = "NAME" }' in caught.value.next


def test_a_secret_in_a_variable_of_ours_stays_a_reference_to_it(tmp_path):
    url = f"postgresql://orc:{KEY}@db1/orc"
    configuration = loaded(
        tmp_path,
        "",
        {"ORCHESTRATOR_REGISTRY__URL": url, "ORCHESTRATOR_PROVIDERS__KIMI__API_KEY": KEY},
    )
    assert configuration.registry_url() == url
    assert configuration.registry_label == '{ env = "ORCHESTRATOR_REGISTRY__URL" }'
    assert configuration.api_key("kimi", KIMI).reveal() == KEY
    assert KEY not in repr(configuration)
    assert KEY not in repr(configuration.settings) + repr(configuration.values)


def test_a_url_without_a_password_may_stand_in_the_file(tmp_path):
    configuration = loaded(tmp_path, '[registry]\nurl = "postgresql+psycopg://orc@db1/orc"\n')
    assert configuration.registry_url() == "postgresql+psycopg://orc@db1/orc"
