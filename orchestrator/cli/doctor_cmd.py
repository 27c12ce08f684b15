"""`orchestrator doctor`: what the work needs, checked; with --probe what the provider does."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from orchestrator import human
from orchestrator.cli.command import command
from orchestrator.cli.options import DURATION, yes_option
from orchestrator.cli.output import Console
from orchestrator.cli.session import Session
from orchestrator.domain.errors import UsageError
from orchestrator.human import pad, plain

if TYPE_CHECKING:
    from orchestrator.app import App
    from orchestrator.service.doctor import Check
    from orchestrator.service.probe import Offer
    from orchestrator.service.probe_findings import Finding
    from orchestrator.service.signals import Signals

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(
    examples=(
        "orchestrator doctor",
        "orchestrator doctor kimi",
        "orchestrator doctor --offline",
        "orchestrator doctor kimi --probe",
    )
)
@click.argument("provider", required=False)
@click.option("--offline", is_flag=True, help="ask nothing of the provider")
@click.option("--probe", is_flag=True, help="make one tiny batch and see what the provider does")
@click.option("--model", metavar="M", help="the model that a probe asks")
@click.option(
    "--timeout",
    type=DURATION,
    default="10m",
    show_default=True,
    metavar="T",
    help="end a probe after this long",
)
@yes_option()
@click.pass_obj
def doctor(
    session: Session,
    provider: str | None,
    offline: bool,
    probe: bool,
    model: str | None,
    timeout: timedelta,
    yes: bool,
) -> int:
    """Check registry, disk, key, clock and provider: one line each, with what to do.

    Exits 0 when nothing failed; a failure's own code else (69 unreachable, 77 key, 78 settings).
    With --probe it finds what unanswered creations rest on: how late the lists are, what they
    show, what becomes of a batch over a deleted file. It says the cost first and asks (--yes);
    what it made is removed at the end. Ctrl-C ends it early, a second one at once.
    """
    from orchestrator.app import App  # noqa: PLC0415 - help needs none of it
    from orchestrator.service.doctor import examine, exit_status  # noqa: PLC0415
    from orchestrator.service.signals import Signals  # noqa: PLC0415

    console = session.console
    found: list[Check] = []
    data: dict[str, object] = {"checks": found}
    lines: list[str] = []
    interrupted = 0
    with App(session.configuration) as app:
        sent = None
        if probe:
            provider, sent = _offered(app, provider, model, offline=offline)
            _confirm(console, provider, sent, timeout, yes=yes)
        for check in examine(app, provider, offline=offline):
            _found(console, found, check)
        if provider is not None and sent is not None and not exit_status(found):
            with Signals(leave=lambda status: _leave(console, status)) as signals:
                findings = _probe(session, app, signals, provider, sent, timeout, found)
                interrupted = signals.exit_status
            lines = [finding.line for finding in findings if finding.line]
            data["probe"] = {"model": sent.model, "findings": findings, "profile_lines": lines}
        data |= {name: sum(c.verdict == v for c in found) for name, v in _COUNTED}
        advice = _advice(app, provider, lines) if provider and lines else []
    console.document("doctor", data, lambda shown: _end(shown, found, advice))
    return interrupted or exit_status(found)


_COUNTED = (("failed", "fail"), ("warned", "warn"))


def _found(console: Console, found: list[Check], check: Check) -> None:
    found.append(check)
    if console.machine:
        return
    verdict = console.style(pad(check.verdict, 4), _COLOURS[check.verdict])
    console.say(f"{verdict}  {pad(check.name, 8)}  {plain(check.text)}")
    if check.next:
        console.say(f"{'':<14}  next  {plain(check.next)}")
    console.flush()


def _end(console: Console, found: list[Check], advice: list[str]) -> None:
    for line in advice:
        console.say(line)
    failed = sum(check.verdict == "fail" for check in found)
    warned = sum(check.verdict == "warn" for check in found)
    said = f"{failed} failed, {warned} to look at" if failed or warned else "all is well"
    console.note(said)


# The probe


def _offered(
    app: App, provider: str | None, model: str | None, *, offline: bool
) -> tuple[str, Offer]:
    from orchestrator.domain.rules import model_reason  # noqa: PLC0415 - help needs none of it
    from orchestrator.service.probe import offer  # noqa: PLC0415

    name = provider or app.configuration.default_provider()
    if offline or name is None:
        raise UsageError(
            "--probe asks the provider, --offline forbids it"
            if offline
            else "it is not said which provider to probe",
            safe="nothing was sent",
            next=f"orchestrator doctor {name or 'PROVIDER'} --probe",
        )
    profile = app.providers.profile(name)
    usual = app.configuration.settings.defaults.model
    if model is None and usual and not model_reason(usual, profile):
        model = usual
    return name, offer(profile, model)


def _confirm(console: Console, name: str, sent: Offer, timeout: timedelta, *, yes: bool) -> None:
    price = "its price is not known"
    if sent.price is not None:
        price = f"at most {human.money(sent.price.amount, sent.price.currency)}"
    facts = [
        f"one batch of one request to {sent.model}, {price}, and two tiny files",
        "a batch over a deleted file is asked for; if one is made it is cancelled at once",
        f"it takes up to {human.duration(timeout)}; what it made is then cancelled and deleted",
        "no other file or batch of the account is touched",
    ]
    if yes:
        for fact in facts:
            console.note(fact)
    console.confirm(f"probe {name}?", yes=yes, facts=facts)


def _probe(
    session: Session,
    app: App,
    signals: Signals,
    name: str,
    sent: Offer,
    timeout: timedelta,
    found: list[Check],
) -> list[Finding]:
    """Run the probe, say each finding as it is made, and remove everything it has made."""
    import secrets  # noqa: PLC0415 - help needs none of it

    from orchestrator.service.doctor import probed  # noqa: PLC0415
    from orchestrator.service.probe import Probe  # noqa: PLC0415

    console = session.console
    token = secrets.token_hex(8)
    console.note(f"the probe's files and batches carry {token}")
    findings: list[Finding] = []

    def keep(finding: Finding) -> None:
        findings.append(finding)
        _found(console, found, probed(finding))

    with Probe(
        app.providers.get(name),
        sent,
        token=token,
        seconds=timeout.total_seconds(),
        settle=app.pace.settle_seconds,
        monotonic=app.clock.monotonic,
        pause=signals.wait,
        stopping=signals.stopping,
        tell=console.note,
    ) as probe:
        for finding in probe.findings():
            keep(finding)
        keep(probe.clean_up())
    return findings


def _leave(console: Console, status: int) -> None:
    """End at once, at the second signal; the token is the last word on what may be left."""
    import os  # noqa: PLC0415 - help needs none of it

    console.note("left at once: what the probe has made stays, at most one request is answered")
    console.flush()
    os._exit(status)


def _advice(app: App, name: str, lines: list[str]) -> list[str]:
    """Say which lines the user's own copy of the profile needs, and how it becomes the one used."""
    from orchestrator.shipped import shipped  # noqa: PLC0415 - help needs none of it

    profile = app.configuration.provider(name).profile
    if profile.endswith(".toml"):
        way = [f"  in {profile}"]
    else:
        source = shipped("config") / "providers" / f"{profile}.toml"
        way = [
            f"  in your own copy:  cp {source} {profile}.toml",
            f'  named in orchestrator.toml:  [providers.{name}]  profile = "{profile}.toml"',
        ]
    return [
        f"{name} is not as its profile {profile} says; it needs",
        "    [quirks]",
        *(f"    {line}" for line in lines),
        *way,
    ]
