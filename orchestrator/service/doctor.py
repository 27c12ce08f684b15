"""The doctor: is everything there that the work needs? Each check is one line with its remedy."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from sqlalchemy import text

from orchestrator.app import App
from orchestrator.domain.errors import (
    AuthError,
    ConfigError,
    OrchestratorError,
    ProviderError,
    RegistryError,
)
from orchestrator.domain.profile import Profile
from orchestrator.domain.remote import RemoteFile
from orchestrator.provider.client import HttpProvider
from orchestrator.registry import fitness, migrate, workers
from orchestrator.registry.session import WAL_WARN, Registry
from orchestrator.registry.tables import SCHEMA
from orchestrator.service.probe_findings import Finding
from orchestrator.service.work import is_held

Verdict = Literal["ok", "warn", "fail"]

SAFE_SQLITE = (3, 51, 3)
"""From here on two connections may checkpoint at once; before, a rare race damages the file."""

ROOM_WANTED = 2_000_000_000
ROOM_NEEDED = 200_000_000
"""Bytes: one input file and its results at Kimi's limit of 100 MB."""

SKEW_WARN = 120.0
FILES_COUNTED = 10_000
_NEARLY_FULL = 0.9
NOBODY_ALIVE = "ORC4010"
_DAMAGE_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. `next` is typable; `exit_code` is that of a failure."""

    name: str
    verdict: Verdict
    text: str
    next: str = ""
    exit_code: int = 0


def examine(app: App, provider: str | None = None, *, offline: bool = False) -> Iterator[Check]:
    """Yield every finding, the machine first, then the provider; `offline` asks nobody outside.

    Raises ConfigError for a provider that is not there.
    """
    yield from _registry(app)
    yield _sqlite(app)
    yield from _disk(app)
    name = provider or app.configuration.default_provider()
    if name is None:
        yield Check(
            "provider",
            "warn",
            "none is chosen: there is no default, and not exactly one to choose",
            "set defaults.provider, or: orchestrator doctor PROVIDER",
        )
        return
    yield from _provider(app, name, offline=offline)


def probed(finding: Finding) -> Check:
    """Return a finding of a live probe as a check: 78 where the profile must be corrected."""
    status = 0
    if finding.verdict == "fail":
        status = ConfigError.exit_code if finding.line else ProviderError.exit_code
    return Check(finding.name, finding.verdict, finding.text, finding.next, status)


def exit_status(checks: Sequence[Check]) -> int:
    """Return the status of the first failure, 0 without one."""
    return next((check.exit_code for check in checks if check.verdict == "fail"), 0)


def _failed(name: str, error: OrchestratorError) -> Check:
    why = f": {error.why}" if error.why else ""
    return Check(name, "fail", f"{error.message}{why} [{error.code}]", error.next, error.exit_code)


def _registry(app: App) -> Iterator[Check]:
    try:
        registry = app.registry
        began = app.clock.monotonic()
        found = migrate.current(registry)
        took = (app.clock.monotonic() - began) * 1000
    except (RegistryError, ConfigError) as error:
        yield _failed("registry", error)
        return
    except OSError as exc:
        yield Check(
            "registry",
            "fail",
            f"{exc.filename or 'its folder'}: {(exc.strerror or 'I/O error').lower()}",
            "orchestrator config explain registry.url",
            RegistryError.exit_code,
        )
        return
    yield Check("registry", "ok", f"{registry.describe()} answers in {took:.0f} ms")
    yield from _schema(registry, found)
    if found == SCHEMA:
        yield _workers(app)
    yield from _server(registry) if registry.dialect == "postgresql" else _wal(registry)


def _schema(registry: Registry, found: str | None) -> Iterator[Check]:
    if found is None:
        yield Check("schema", "ok", "empty: made with the first submission")
        return
    try:
        migrate.check(registry)
    except RegistryError as error:
        yield _failed("schema", error)
    else:
        yield Check("schema", "ok", f"{found}, as this release needs it")


def _workers(app: App) -> Check:
    now = app.clock.now()
    try:
        with app.registry.read() as db:
            alive = workers.alive(db, now)
    except RegistryError as error:
        return _failed("workers", error)
    if not alive:
        return Check(
            "workers",
            "warn",
            "nobody is at work: what is submitted waits",
            "orchestrator daemon, or orchestrator watch JOB",
        )
    shown = ", ".join(f"{kind} on {host} (process {pid})" for kind, host, pid, _ in alive[:5])
    return Check("workers", "ok", f"{len(alive)} alive: {shown}")


def _server(registry: Registry) -> Iterator[Check]:
    try:
        faults = fitness.server_faults(registry)
    except RegistryError as error:
        yield _failed("server", error)
        return
    for what, remedy in faults:
        yield Check("server", "fail", f"{what} [{fitness.UNSAFE}]", remedy, ConfigError.exit_code)
    if not faults:
        yield Check("server", "ok", "keeps what it has committed")


def _wal(registry: Registry) -> Iterator[Check]:
    size = registry.wal_bytes()
    if size > WAL_WARN:
        yield Check(
            "wal",
            "warn",
            f"the registry's log has {size / 1e6:,.0f} MB: no worker is alive, or a reader stays",
            "orchestrator tick, and end what reads the file for long",
        )


def _sqlite(app: App) -> Check:
    version = sqlite3.sqlite_version
    try:
        used = app.registry.dialect == "sqlite"
    except ConfigError as error:
        return _failed("sqlite", error)
    if not used:
        return Check("sqlite", "ok", f"{version}, not used by this registry")
    if tuple(int(part) for part in version.split(".")) >= SAFE_SQLITE:
        return Check("sqlite", "ok", version)
    needed = ".".join(str(part) for part in SAFE_SQLITE)
    return Check(
        "sqlite",
        "warn",
        f"{version} is older than {needed}: only the worker at work checkpoints the file",
        "open the registry with this program only, and copy it with: orchestrator db backup",
    )


def _disk(app: App) -> Iterator[Check]:
    places = {"spool": app.configuration.spool_directory}
    path = None
    try:
        path = app.registry.path
    except (ConfigError, OSError):
        path = None  # told above
    if path is not None:
        places["state"] = path.parent
    for name, folder in places.items():
        yield _room(name, folder)


def _room(name: str, folder: Path) -> Check:
    nearest = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    try:
        free = shutil.disk_usage(nearest).free
    except OSError as exc:
        why = (exc.strerror or "I/O error").lower()
        return Check(name, "fail", f"{folder}: {why}", f"mend {folder}", 74)
    said = f"{free / 1e9:,.1f} GB free in {folder}"
    if not os.access(nearest, os.W_OK):
        return Check(name, "fail", f"{nearest} can't be written", f"mend {nearest}", 73)
    if free < ROOM_NEEDED:
        return Check(name, "fail", f"{said}; one batch needs up to 0.2 GB", "make room there", 74)
    if free < ROOM_WANTED:
        return Check(name, "warn", f"{said}; several batches side by side need 2 GB", "make room")
    return Check(name, "ok", said)


def _provider(app: App, name: str, *, offline: bool) -> Iterator[Check]:
    configuration = app.configuration
    profile = app.providers.profile(name)
    address = configuration.provider(name).base_url or profile.base_url
    yield Check("provider", "ok", f"{name}: {profile.title}, {address}")
    try:
        key = configuration.api_key(name, profile)
    except (AuthError, ConfigError) as error:
        yield _failed("key", error)
        return
    if key is None:
        yield Check("key", "ok", "none is set, none is needed")
    else:
        shown = f", ends in {key.last4}" if key.last4 else ""
        yield Check("key", "ok", f"from {key.source}{shown}")
    if offline:
        return
    yield from _remote(app, app.providers.get(name), profile)


_UNUSABLE = "ORC3204"
"""The provider layer's word for an answer that can't be read."""


def _remote(app: App, provider: HttpProvider, profile: Profile) -> Iterator[Check]:
    try:
        skew = provider.clock_skew()
    except ProviderError as error:
        yield _failed("answers", error)
        return
    yield Check("answers", "ok", f"{provider.name} answers and takes the key")
    yield _skew(skew)
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("models", lambda: _models(app, provider)),
        ("quota", lambda: _quota(provider, profile)),
        ("batches", lambda: _batches(provider)),
        ("balance", lambda: _balance(provider)),
    )
    for name, check in checks:
        try:
            yield check()
        except ProviderError as error:
            if name == "models" and error.code == _UNUSABLE:
                yield _failed(name, error)  # something answers, but no Batch API
                continue
            # It answers: what it can't say is no reason to stop, only to know.
            yield Check(name, "warn", f"{error.message} [{error.code}]", error.next)


def _skew(skew: float | None) -> Check:
    if skew is None:
        return Check("clock", "ok", "the provider says no time to compare with")
    said = f"{abs(skew):,.0f} s {'ahead of' if skew > 0 else 'behind'} the provider's"
    if abs(skew) <= 2:
        return Check("clock", "ok", "as the provider's")
    if abs(skew) < SKEW_WARN:
        return Check("clock", "ok", said)
    return Check("clock", "warn", said, "set this machine's clock (timedatectl set-ntp true)")


def _models(app: App, provider: HttpProvider) -> Check:
    known = provider.models()
    wanted = app.configuration.settings.defaults.model
    if wanted and wanted not in known:
        shown = ", ".join(known[:5]) or "none"
        return Check(
            "models",
            "warn",
            f"the default model {wanted} is not among the {len(known)} that the key may use",
            f"set defaults.model; there is {shown}",
        )
    default = f", the default {wanted} among them" if wanted else ""
    return Check("models", "ok", f"{len(known)} may be used{default}")


def _quota(provider: HttpProvider, profile: Profile) -> Check:
    files: list[RemoteFile] = list(islice(provider.list_files(), FILES_COUNTED))
    size = sum(file.size or 0 for file in files)
    limits = profile.limits
    used = f"{len(files):,}{f' of {limits.files:,}' if limits.files else ''} files"
    used += f", {size / 1e9:,.2f}"
    used += f" of {limits.storage_bytes / 1e9:,.0f} GB" if limits.storage_bytes else " GB"
    shares = [
        have / bound
        for have, bound in ((len(files), limits.files), (size, limits.storage_bytes))
        if bound
    ]
    if any(share >= _NEARLY_FULL for share in shares):
        return Check("quota", "warn", f"{used} used", "delete remote files that are not needed")
    return Check("quota", "ok", f"{used} used")


def _batches(provider: HttpProvider) -> Check:
    shown = len(list(islice(provider.list_batches(), 20)))
    return Check("batches", "ok", f"can be listed ({'none yet' if not shown else 'some there'})")


def _balance(provider: HttpProvider) -> Check:
    amount = provider.balance()
    if amount is None:
        return Check("balance", "ok", "can't be asked for here")
    try:
        empty = float(amount) <= 0
    except ValueError:
        empty = False
    if empty:
        return Check("balance", "warn", f"{amount} available", "top up the account")
    return Check("balance", "ok", f"{amount} available")


def check_alive(app: App) -> None:
    """Raise RegistryError (ORC4010) unless a worker of this host is alive."""
    path = app.registry.path
    here = socket.gethostname()
    now = app.clock.now()
    with app.registry.read() as db:
        alive = [host for _kind, host, _pid, _since in workers.alive(db, now) if host == here]
    if not alive or (path is not None and not is_held(path)):
        raise RegistryError(
            "no daemon of this host is alive",
            code=NOBODY_ALIVE,
            where=app.registry.describe(),
            safe="remote batches go on; nothing is lost",
            next="orchestrator daemon",
        )


def damage(registry: Registry) -> list[str]:
    """Return what SQLite finds broken in its file, at most 20 findings; nothing elsewhere."""
    if registry.path is None:
        return []
    found: list[str] = []
    with registry.read() as db:
        rows = db.execute(text(f"PRAGMA integrity_check({_DAMAGE_SHOWN})")).scalars()
        found += [str(row) for row in rows if row != "ok"]
        broken = db.execute(text("PRAGMA foreign_key_check")).fetchmany(_DAMAGE_SHOWN)
        found += [
            f"row {row[1]} of {row[0]} names a row of {row[2]} that is gone" for row in broken
        ]
    return found[:_DAMAGE_SHOWN]
