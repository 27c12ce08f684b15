"""What `load` returns: typed settings, where each value came from, and what follows from them."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from orchestrator.domain.errors import AuthError, ConfigError, NotFound
from orchestrator.domain.profile import Profile
from orchestrator.settings import keys
from orchestrator.settings.layers import ConfigFile, Origin
from orchestrator.settings.references import Run, Secret, SecretReference, follow, run_command
from orchestrator.settings.schema import JobDeclaration, ProviderSettings, Settings
from orchestrator.shipped import shipped

_DEFAULT = Origin("default")


@dataclass(frozen=True, slots=True)
class Value:
    """One value of one setting, typed, in one layer."""

    value: object
    origin: Origin


@dataclass(frozen=True)
class Configuration:
    """The settings in force. `values` holds every layer's value by path, strongest first.

    Follows a secret only in `api_key` and `registry_url`, each time anew, so that a rotated key is
    found. Its repr shows no environment.
    """

    settings: Settings
    values: Mapping[keys.Path, tuple[Value, ...]] = field(repr=False)
    env: str | None
    files: tuple[ConfigFile, ...]
    environ: Mapping[str, str] = field(repr=False)
    cwd: Path
    home: Path

    def origin(self, setting: str) -> Origin:
        """Return where the value of `setting` ("defaults.window") came from."""
        candidates = self.values.get(tuple(setting.split(".")))
        return candidates[0].origin if candidates else _DEFAULT

    @property
    def state_directory(self) -> Path:
        """Where the default registry and spool are; systemd's when it gives one."""
        given = self.environ.get("STATE_DIRECTORY")
        if given:
            return Path(given.split(":")[0])
        base = self.environ.get("XDG_STATE_HOME") or self.home / ".local" / "state"
        return Path(base) / "orchestrator"

    @property
    def spool_directory(self) -> Path:
        """Where files that are made from the registry lie."""
        return self.settings.spool.dir or self.state_directory / "spool"

    @property
    def default_registry_url(self) -> str:
        """SQLite in the state directory."""
        return f"sqlite:///{self.state_directory / 'registry.db'}"

    def registry_url(self, run: Run = run_command) -> str:
        """Return the database URL, with its password if it has one: never print it.

        Raises ConfigError (ORC1106, ORC1107) when the reference leads nowhere.
        """
        url = self.settings.registry.url
        if url is None:
            return self.default_registry_url
        if isinstance(url, str):
            return url
        secret = follow(url, what="the registry's URL", environ=self.environ, run=run)
        if secret is None:
            raise ConfigError(
                "the registry's URL is in none of the places that the configuration names",
                code="ORC1107",
                where=str(self.origin("registry.url")),
                why=_places(url),
                next="orchestrator config explain registry.url",
            )
        return secret.reveal()

    @property
    def registry_label(self) -> str:
        """Return the database URL as it may be shown: a reference is not followed."""
        url = self.settings.registry.url
        return str(url) if isinstance(url, SecretReference) else self.registry_url()

    def zone(self) -> tzinfo:
        """Return the zone that times are shown in."""
        name = self.settings.defaults.timezone
        if name != "local":
            return ZoneInfo(name)
        return local_zone(self.environ)

    @functools.cached_property
    def provider_names(self) -> tuple[str, ...]:
        """The providers that may be named: sections first, then every shipped profile."""
        declared = tuple(self.settings.providers)
        return declared + tuple(name for name in shipped_profiles() if name not in declared)

    def provider(self, name: str) -> ProviderSettings:
        """Return the section of `name`, or what its shipped profile alone makes of it.

        Raises ConfigError (ORC1109) for a name that is neither.
        """
        if name in self.settings.providers:
            return self.settings.providers[name]
        if name in self.provider_names:
            return ProviderSettings(name=name, profile=name)
        near = difflib.get_close_matches(name, self.provider_names, n=1)
        raise ConfigError(
            f'there is no provider "{name}"' + (f', did you mean "{near[0]}"?' if near else ""),
            code="ORC1109",
            why="neither a section nor a shipped profile has this name; there are "
            + ", ".join(self.provider_names),
            next=f"use one of these, or add [providers.{name}] with profile and base_url",
        )

    def default_provider(self) -> str | None:
        """Return where jobs go that name no provider, None if that is not clear.

        That is `defaults.provider`, else the only section, else the only shipped profile whose
        key is in the environment.
        """
        if self.settings.defaults.provider:
            return self.settings.defaults.provider
        if self.settings.providers:
            only = tuple(self.settings.providers)
        else:
            # kimi and kimi-cn share a variable: the first name speaks for it.
            first = {v: name for name, vs in reversed(shipped_profiles().items()) for v in vs}
            only = tuple(dict.fromkeys(name for v, name in first.items() if self.environ.get(v)))
        return only[0] if len(only) == 1 else None

    def api_key(self, provider: str, profile: Profile, run: Run = run_command) -> Secret | None:
        """Return the key of `provider`, None where the profile needs none and none is set.

        Without a reference in the configuration the profile's variables are looked at. Raises
        AuthError (ORC1107) when a needed key is nowhere, ConfigError (ORC1106) when it is there
        and can't be read.
        """
        reference = self.provider(provider).api_key
        what = f"the key of {provider}"
        if reference is not None:
            secret = follow(reference, what=what, environ=self.environ, run=run)
        else:
            secret = self._key_from(profile.key_variables)
        if secret is None and (profile.key_required or reference is not None):
            raise self._no_key(provider, profile, reference)
        return secret

    def _key_from(self, variables: tuple[str, ...]) -> Secret | None:
        for variable in variables:
            if value := self.environ.get(variable, "").strip():
                return Secret(value, f"env {variable}")
        return None

    def _no_key(
        self, provider: str, profile: Profile, reference: SecretReference | None
    ) -> AuthError:
        first = profile.key_variables[0] if profile.key_variables else "API_KEY"
        return AuthError(
            f"there is no key for {provider}",
            code="ORC1107",
            where=str(self.origin(f"providers.{provider}.api_key")) if reference else "",
            why=_places(reference)
            if reference
            else f"{' and '.join(profile.key_variables)} not set, no api_key configured",
            safe="nothing was sent",
            next=f"export {first}=..., or set providers.{provider}.api_key to a reference",
        )

    def connection_url(self, name: str, run: Run = run_command) -> str:
        """Return the URL of `[connections.NAME]`, with its password if it has one: never print it.

        Raises ConfigError for a name that is not there (ORC1111) and for a reference that leads
        nowhere (ORC1106, ORC1107).
        """
        known = self.settings.connections
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f', did you mean "{near[0]}"?' if near else ""
            raise ConfigError(
                f'there is no connection "{name}"{hint}',
                code="ORC1111",
                why=f"the configuration declares {', '.join(known) or 'none'}",
                next=f'add [connections.{name}] with url = {{ env = "..." }}',
            )
        url = known[name].url
        if isinstance(url, str):
            return url
        secret = follow(url, what=f"the URL of {name}", environ=self.environ, run=run)
        if secret is None:
            raise ConfigError(
                f"the URL of connection {name} is in none of the places that are named for it",
                code="ORC1107",
                where=str(self.origin(f"connections.{name}.url")),
                why=_places(url),
                next=f"orchestrator config explain connections.{name}.url",
            )
        return secret.reveal()

    def job(self, name: str) -> JobDeclaration:
        """Return the job spec `[jobs.NAME]`. Raises NotFound (ORC1202)."""
        if name in self.settings.jobs:
            return self.settings.jobs[name]
        near = difflib.get_close_matches(name, self.settings.jobs, n=1)
        known = ", ".join(self.settings.jobs) or "none"
        raise NotFound(
            f'there is no job spec "{name}"' + (f', did you mean "{near[0]}"?' if near else ""),
            code="ORC1202",
            why=f"the configuration declares {known}",
            next=f"add [jobs.{name}], or name a file",
        )


def _places(reference: SecretReference) -> str:
    return "looked at " + ", then ".join(str(source) for source in reference.sources)


def local_zone(environ: Mapping[str, str]) -> tzinfo:
    """Return the zone of TZ if it names one, else the machine's."""
    named = environ.get("TZ", "").lstrip(":")
    if named:
        try:
            return ZoneInfo(named)
        except (ValueError, OSError):
            pass  # a POSIX rule like CET-1: the C library reads it, zoneinfo does not
    return _zone_file() or UTC


def _zone_file() -> tzinfo | None:
    """Return the zone of /etc/localtime, which knows of daylight saving; None if unknown."""
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return None


@functools.cache
def shipped_profiles() -> dict[str, tuple[str, ...]]:
    """Return the shipped profiles by name, each with the variables its key may be in."""
    found: dict[str, tuple[str, ...]] = {}
    paths = (shipped("config") / "providers").glob("*.toml")
    for path in sorted(paths, key=lambda path: path.stem):
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        found[path.stem] = tuple(facts.get("key_variables", ()))
    return found
