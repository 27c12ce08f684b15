"""Profiles: the shipped ones are sound, a wrong one is refused with the place named."""

from decimal import Decimal

import pytest

from orchestrator.domain.errors import ConfigError
from orchestrator.provider.profiles import load_profile, profile_names
from orchestrator.shipped import shipped

SAMPLE = """
name = "mine"
title = "Mine"
base_url = "https://example.org/v1"
key_variables = ["MINE_KEY"]
as_of = 2026-01-01
[limits]
max_file_bytes = 1_000
[models.m]
price = { currency = "USD", input = 0.1, cached_input = 0.05, output = 2, as_of = 2026-01-01 }
"""


@pytest.fixture
def write(tmp_path):
    def written(text, name="mine.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


@pytest.mark.parametrize("name", ["kimi", "kimi-cn", "openai", "sandbox"])
def test_every_shipped_profile_is_sound_and_named_as_its_file(name):
    assert name in profile_names()
    assert load_profile(name).name == name


def test_kimis_facts_are_those_of_its_pages():
    kimi = load_profile("kimi")
    assert kimi.base_url == "https://api.moonshot.ai/v1"
    assert kimi.limits.max_file_bytes == 100_000_000
    assert kimi.limits.max_requests is None
    assert (kimi.window.min_hours, kimi.window.max_hours) == (12, 168)
    assert kimi.quirks.delete_revokes_create == "documented"
    batch_models = {name for name, model in kimi.models.items() if model.batch}
    assert batch_models == {"kimi-k2.6", "kimi-k2.7-code"}
    for name in batch_models:
        assert {"temperature", "top_p", "n"} < set(kimi.models[name].forbidden)
    assert kimi.models["kimi-k2.7-code"].price.cached_input == Decimal("0.114")


def test_the_sandbox_has_kimis_limits_and_prices_and_needs_no_key():
    kimi, sandbox = load_profile("kimi"), load_profile("sandbox")
    assert sandbox.limits == kimi.limits
    assert sandbox.window == kimi.window
    assert sandbox.models["kimi-k2.6"].price == kimi.models["kimi-k2.6"].price
    assert not sandbox.key_required
    assert sandbox.quirks.delete_revokes_create == "proved"


def test_a_profile_is_read_by_path_as_text_or_path(write):
    path = write(SAMPLE)
    assert load_profile(path) == load_profile(str(path))
    assert load_profile(path).models["m"].price.input == Decimal("0.1")


def test_a_users_own_directory_comes_before_the_shipped_one(write, tmp_path):
    write(SAMPLE.replace('"mine"', '"kimi"', 1), "kimi.toml")
    assert load_profile("kimi", tmp_path).title == "Mine"
    assert load_profile("openai", tmp_path).title == "OpenAI"
    assert "kimi" in profile_names(tmp_path)


@pytest.mark.parametrize(
    ("name", "nearest"), [("kimmi", "kimi"), ("Kimi-CN", "kimi-cn"), ("open-ai", "openai")]
)
def test_an_unknown_profile_gets_the_nearest_name(name, nearest):
    with pytest.raises(ConfigError) as caught:
        load_profile(name)
    assert caught.value.exit_code == 78
    assert caught.value.code == "ORC3110"
    assert nearest in caught.value.next


@pytest.mark.parametrize("name", ["", "../kimi", "/etc/passwd", "zzz", "a" * 500, "\0"])
def test_a_name_that_is_no_name_is_unknown_and_opens_no_file(name):
    with pytest.raises(ConfigError, match="there is no provider profile"):
        load_profile(name)


FAULTS = {
    "no TOML": ("name = ", "invalid value"),
    "no UTF-8": (None, "utf-8"),
    "unknown setting": (
        SAMPLE.replace("max_file_bytes", "max_file_byte"),
        'did you mean "max_file_bytes"?',
    ),
    "missing setting": (SAMPLE.replace('title = "Mine"', ""), "title"),
    "wrong type": (SAMPLE.replace("1_000", '"big"'), "$.limits.max_file_bytes"),
    "zero limit": (SAMPLE.replace("1_000", "0"), "limits.max_file_bytes is 0"),
    "no http": (SAMPLE.replace("https://", "ftp://"), "base_url must be http"),
    "no host": (SAMPLE.replace("https://example.org/v1", "https://"), "with a host"),
    "password in address": (SAMPLE.replace("example", "me:pw@example"), "user or password"),
    "bad port": (SAMPLE.replace("example.org", "example.org:99999"), "no URL"),
    "query": (SAMPLE.replace("/v1", "/v1?key=1"), "query"),
    "no key variable": (SAMPLE.replace('"MINE_KEY"', ""), "key_variables"),
    "endpoint": (SAMPLE.replace("as_of", 'endpoint = "/x"\nas_of', 1), 'endpoint "/x"'),
    "name": (SAMPLE.replace('"mine"', '"a b"', 1), 'name "a b"'),
    "window range": (SAMPLE + "[window]\nmin_hours = 30\n", "no range"),
    "window default": (SAMPLE + '[window]\ndefault = "48h"\n', "not within"),
    "window grammar": (SAMPLE + '[window]\ndefault = "soon"\n', "not within"),
    "window choice": (SAMPLE + '[window]\nchoices = ["1h"]\n', "not one of window.choices"),
    "status word": (SAMPLE + '[quirks.status_words]\nx = "y"\n', "no status of ours"),
    "list limit": (SAMPLE + "[quirks]\nlist_batches_limit = 0\n", "list_batches_limit"),
    "purpose": (SAMPLE + '[quirks]\nupload_purpose = ""\n', "upload_purpose"),
    "balance path": (SAMPLE + '[quirks]\nbalance_path = "x"\n', "balance_path"),
    "negative price": (SAMPLE.replace("0.05", "-0.05"), "price has an amount below zero"),
    "endless price": (SAMPLE.replace("0.05", "inf"), "price has an amount below zero"),
    "currency": (SAMPLE.replace('"USD"', '"$"'), "three capital letters"),
    "context": (SAMPLE + "context_tokens = 0\n", "context_tokens"),
}


@pytest.mark.parametrize(("text", "why"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_profile_is_refused_with_the_place(text, why, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff" if text is None else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert caught.value.code == "ORC3111"
    assert caught.value.where == str(path)
    assert why in caught.value.why


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="can't be used"):
        load_profile(tmp_path / "none.toml")


def test_a_profile_of_megabytes_is_not_read(write):
    path = write(SAMPLE + "#" * (2 << 20))
    with pytest.raises(ConfigError) as caught:
        load_profile(path)
    assert "longer than" in caught.value.why


def test_every_code_of_this_floor_has_its_help_page():
    root = shipped("config").parent
    pages = root / "orchestrator" / "cli" / "help_pages"
    for code in [3101, 3102, 3103, 3104, 3105, 3106, 3107, 3110, 3111, *range(3201, 3213)]:
        text = (pages / f"ORC{code}.md").read_text()
        assert text.startswith(f"# ORC{code}: ")
        assert 5 <= len(text.splitlines()) <= 14
