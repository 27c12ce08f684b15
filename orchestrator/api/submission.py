"""Plan and submit: records become a registered job, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from pathlib import Path

import msgspec

from orchestrator.domain.cost import estimate, online
from orchestrator.domain.errors import NotFound, PlanChanged, SourceError
from orchestrator.domain.estimating import NOTHING, Estimate, History, no_history, together
from orchestrator.domain.estimating import estimate as forecast
from orchestrator.domain.intake import Request
from orchestrator.domain.money import Money
from orchestrator.domain.packing import MAX_REQUESTS
from orchestrator.domain.profile import Profile
from orchestrator.domain.spec import JobSpec
from orchestrator.engine import intake
from orchestrator.engine.checking_sinks import check_sinks
from orchestrator.engine.context import Context
from orchestrator.engine.intake import Scan
from orchestrator.engine.registration import Progress, Submitted, no_progress, register, scanned
from orchestrator.engine.repeats import Bodies
from orchestrator.engine.sharing import Reuse
from orchestrator.settings.templates import changed_since
from orchestrator.sources.port import NOTHING_OPEN, Opening

PLAN_FILE = "orchestrator.plan-file/1"
NO_FILES: Mapping[str, str] = {}


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """A plan kept in a file: what was shown is what `submit --plan` registers, or it refuses.

    `files`: what template and schema were read from, absolute paths each with the SHA-256 of what
    stood there. `template_file` is what plans of the first release name instead.
    """

    schema: str = PLAN_FILE
    spec: JobSpec
    source_digest: str
    requests: int
    bytes: int
    files: dict[str, str] = {}
    template_file: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a job would be. Nothing was sent, nothing stored. Money is None where a price is."""

    spec: JobSpec
    profile: Profile
    scan: Scan
    samples: tuple[Request, ...]
    cost: Money | None
    online_cost: Money | None
    tokens_in: int
    tokens_out: int | None
    estimate: Estimate = NOTHING
    files: Mapping[str, str] = field(default_factory=dict)
    reuse: Reuse = field(default_factory=Reuse)

    @property
    def key(self) -> str | None:
        """The column that identifies a record, None where its place does."""
        return "custom_id" if self.spec.lines else self.spec.key

    @property
    def contract(self) -> Contract:
        """The plan as a file keeps it."""
        return Contract(
            spec=self.spec,
            source_digest=self.scan.source_digest,
            requests=self.scan.requests,
            bytes=self.scan.bytes,
            files=dict(self.files),
        )


def nothing_at_hand(_spec: JobSpec, _bodies: Bodies) -> Reuse:
    """Know of no earlier job."""
    return Reuse()


def plan(
    spec: JobSpec,
    profile: Profile,
    *,
    workdir: Path,
    show: int = 0,
    requests_per_batch: int = MAX_REQUESTS,
    files: Mapping[str, str] = NO_FILES,
    contract: Contract | None = None,
    opening: Opening = NOTHING_OPEN,
    at_hand: Callable[[JobSpec, Bodies], Reuse] = nothing_at_hand,
    day: date = date.max,
    history: History = no_history,
) -> Plan:
    """Read and check the source once, and say what it would become; `show` renders the first n.

    `files` are those that template and schema were read from; the plan's contract names them.
    Raises SourceError that lists every violation, NotFound, TemplateError, and PlanChanged when
    source or template are not what `contract` was made from. `opening` is what the source may
    reach, `at_hand` finds what earlier jobs have answers to. Prices are those of `day`, the latest
    unless given; `history` tells what a model has used here so far.
    """
    _refuse_other_template(contract)
    check_sinks(spec)
    with scanned(spec, profile, opening, workdir, requests_per_batch) as (source, scan):
        _refuse_other_source(contract, scan)
        showing = show and not scan.nothing_changed
        samples = (
            tuple(islice(intake.requests(spec, profile, source, scan), show)) if showing else ()
        )
        made = _priced(spec, profile, scan, samples, day)
        parts = [
            forecast(stats, profile.price_on(stats.model, day), history(spec.provider, stats.model))
            for stats in scan.models
        ]
        reuse = at_hand(spec, scan.bodies) if spec.cache else Reuse()
    return replace(made, files=files, reuse=reuse, estimate=together(parts))


def read_contract(path: Path) -> Contract:
    """Read a plan file. Raises NotFound, and SourceError for a file that is no plan."""
    try:
        text = path.read_bytes()
        found = msgspec.json.decode(text, type=_Head).schema
        if found != PLAN_FILE:
            raise _no_plan(path, f'its schema is "{found[:80]}"; this release reads "{PLAN_FILE}"')
        return msgspec.json.decode(text, type=Contract)
    except FileNotFoundError as exc:
        raise NotFound(f"there is no plan file {path}", code="ORC1203") from exc
    except OSError as exc:
        raise _no_plan(path, exc.strerror or type(exc).__name__) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise _no_plan(path, str(exc)[:200]) from exc


class _Head(msgspec.Struct):
    """What every plan file says of itself, whichever release has made it."""

    schema: str


def _no_plan(path: Path, why: str) -> SourceError:
    return SourceError(
        f"{path} is not a plan file",
        code="ORC2301",
        why=why,
        safe="nothing was registered, nothing was sent",
        next="make one with: orchestrator plan ... -o plan.json",
    )


def submit(
    ctx: Context,
    spec: JobSpec,
    *,
    actor: str,
    contract: Contract | None = None,
    on_progress: Progress = no_progress,
) -> Submitted:
    """Register a job whole; committed on return. Same name and content: the same job.

    A submission that was cut off goes on where it stopped. Raises NameTaken when a job of this
    name has other content, PlanChanged when source or template are not what the plan was made from,
    SourceError that lists every violation; nothing is registered then.
    """
    _refuse_other_template(contract)
    return register(
        ctx,
        spec,
        actor=actor,
        check=lambda scan: _refuse_other_source(contract, scan),
        on_progress=on_progress,
    )


def _priced(
    spec: JobSpec, profile: Profile, scan: Scan, samples: tuple[Request, ...], day: date
) -> Plan:
    cost: Money | None = None
    full: Money | None = None
    known = bool(scan.models)
    for stats in scan.models:
        price = profile.price_on(stats.model, day)
        tokens_out = stats.tokens_out_max or 0
        batch = estimate(stats.tokens_in, tokens_out, price)
        live = online(stats.tokens_in, tokens_out, 0, price)
        known = known and batch is not None and stats.tokens_out_max is not None
        if batch is not None:
            cost = batch if cost is None else cost + batch
        if live is not None:
            full = live if full is None else full + live
    bounded = [stats.tokens_out_max for stats in scan.models]
    return Plan(
        spec=spec,
        profile=profile,
        scan=scan,
        samples=samples,
        cost=cost if known else None,
        online_cost=full if known else None,
        tokens_in=sum(stats.tokens_in for stats in scan.models),
        tokens_out=None if None in bounded else sum(count or 0 for count in bounded),
    )


def _refuse_other_source(contract: Contract | None, scan: Scan) -> None:
    if contract is None:
        return
    if contract.source_digest != scan.source_digest:
        raise _plan_changed(contract.spec.source, "the file has changed since")
    if contract.spec.images and contract.bytes != scan.bytes:
        raise _plan_changed(contract.spec.source, "pictures that it names have changed since")


def _refuse_other_template(contract: Contract | None) -> None:
    """Refuse if a file of template or schema no longer holds what was planned."""
    if contract is None:
        return
    changed = changed_since(contract.files)
    if changed:
        raise _plan_changed(changed, "it has changed since, or can't be read any more")
    if contract.template_file is None:
        return
    planned = contract.spec.template or ""
    # Room for a byte order mark, and for one byte that shows that the file is longer now.
    most = len(planned.encode("utf-8", "surrogatepass")) + 4
    try:
        with Path(contract.template_file).open("rb") as file:
            text = file.read(most).decode("utf-8-sig")
    except OSError as exc:
        why = f"the template can't be read any more: {exc.strerror or type(exc).__name__}"
        raise _plan_changed(contract.template_file, why) from None
    except UnicodeDecodeError:
        text = ""
    if text != planned:
        raise _plan_changed(contract.template_file, "the template has changed since")


def _plan_changed(path: str, why: str) -> PlanChanged:
    return PlanChanged(
        f"{path} is not what the plan was made from",
        why=why,
        safe="nothing was registered, nothing was sent",
        next="make a new plan, look at it, then submit that one",
    )
