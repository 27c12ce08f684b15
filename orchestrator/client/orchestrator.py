"""The way in from Python: one object over a configuration and its registry, nothing global."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from orchestrator import api
from orchestrator.api import overview, providers
from orchestrator.api.costing import By
from orchestrator.api.graphs import stored_graphs
from orchestrator.app import App
from orchestrator.client.answer_types import AnswerType
from orchestrator.client.background import Background
from orchestrator.client.costs import Cost, Since, costs
from orchestrator.client.declaring import Declared, declare
from orchestrator.client.following import interrupts
from orchestrator.client.graph import WorkflowGraph
from orchestrator.client.job import Job
from orchestrator.client.looking import Look, Words
from orchestrator.client.options import Options, Setting
from orchestrator.client.plan import Plan
from orchestrator.client.spec import JobSpec
from orchestrator.domain.filters import EVENT_FIELDS, JOB_FIELDS
from orchestrator.domain.job_names import check_name
from orchestrator.service.doctor import examine
from orchestrator.service.one_shot import OneShot, one_shot
from orchestrator.settings.workflows import read_workflow

if TYPE_CHECKING:
    from orchestrator.api import Applied, EventView
    from orchestrator.api.overview import Overview
    from orchestrator.api.providers import ProviderView
    from orchestrator.service.doctor import Check

_SPOOL = "python-"


class Orchestrator:
    """Plan, submit, follow and steer jobs; the same configuration as the command line's.

    `config` is a project file, `env` one of its environments, `registry` the URL of another
    database. `settings` are further ones by their dotted names: `{"defaults.provider": "kimi"}`.
    Use it in a `with`, or close it. Safe for threads. Nothing is opened before it is needed.
    """

    def __init__(
        self,
        config: str | Path | None = None,
        *,
        env: str | None = None,
        registry: str | None = None,
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        path = None if config is None else Path(config)
        self._begin(Options(config=path).over(env, registry, settings), ExitStack())

    def _begin(self, options: Options, closing: ExitStack) -> None:
        self._options = options
        self._closing = closing
        self._configuration = options.load()
        self._look = Look(self._closing.enter_context(self._app()))
        self._folders = itertools.count(1)
        self._folder: Path | None = None

    @classmethod
    def sandbox(
        cls,
        *,
        registry: str | None = None,
        settings: Mapping[str, Setting] | None = None,
        temper: str | Path = "good",
        speed: float = 3600.0,
        seed: int | str = 0,
    ) -> Self:
        """Return an Orchestrator over a simulated provider in this process: no key, no cost.

        Its registry is in a folder of its own and gone with it, unless `registry` names another.
        An hour at the provider passes in a second, as `speed` says; `temper` is good, bad or a file
        of faults.
        """
        from orchestrator.client.sandbox import opened  # noqa: PLC0415 - a server, for this only

        with ExitStack() as closing:
            options = closing.enter_context(opened(temper=temper, speed=speed, seed=seed))
            made = cls._over(options.over(None, registry, settings), closing)
            made._closing = closing.pop_all()  # noqa: SLF001 - the class's own
        return made

    @classmethod
    def _over(cls, options: Options, closing: ExitStack) -> Self:
        made = cls.__new__(cls)
        made._begin(options, closing)  # noqa: SLF001 - the class's own
        return made

    def with_options(
        self,
        *,
        env: str | None = None,
        registry: str | None = None,
        settings: Mapping[str, Setting] | None = None,
    ) -> Self:
        """Return another Orchestrator that differs in these; close it like any other."""
        return self._over(self._options.over(env, registry, settings), ExitStack())

    def plan(self, spec: JobSpec | str, *, show: int = 0) -> Plan:
        """Read and check a job's records and say what it would be; sends and registers nothing.

        `spec` may be the name of a job of the configuration. `show` renders the first requests.
        Raises SourceError that lists every violation, TemplateError, NotFound, ConfigError.
        """
        app = self._look.app
        declared = self._declared(spec)
        planned = api.plan(
            declared.spec,
            app.providers.profile(declared.spec.provider),
            workdir=self._spool(),
            show=show,
            files=declared.files,
            opening=app.opening(),
            at_hand=app.at_hand,
            day=app.clock.now().date(),
            history=app.history,
        )
        return Plan(planned, declared)

    def submit(self, job: JobSpec | Plan | str) -> Job:
        """Register a job; committed on return. The same name and content is the same job.

        Whoever is at work on the registry sends it: a daemon, `tick`, or `job.watch()`. Raises
        NameTaken for other content under a known name, PlanChanged, SourceError, TemplateError.
        """
        app = self._look.app
        declared = job.declared if isinstance(job, Plan) else self._declared(job)
        contract = job.planned.contract if isinstance(job, Plan) else None
        submitted = api.submit(app.context(), declared.spec, actor=app.actor, contract=contract)
        return Job(self._look, self._app, submitted.job, declared.answer, declared.takers)

    def apply(self, file: str | Path, *, suffix: str = "", dry_run: bool = False) -> Applied:
        """Submit the first jobs of a workflow file; its stages start by themselves.

        The same file again is the same workflow; another `suffix` is another run of it. Raises
        ConfigError, SourceError, TemplateError, GuardError; nothing is registered then.
        """
        app = self._look.app
        path = app.configuration.cwd / Path(file).expanduser()
        workflow = read_workflow(app.configuration, path, suffix=suffix)
        for job in workflow.jobs:
            check_name(job.spec)
        return api.apply(app.context(), workflow, actor=app.actor, dry_run=dry_run)

    def job(self, name: str, *, answer: Any = None) -> Job:  # noqa: ANN401 - any type there is
        """Return a job by its name, the beginning of it, or `@last`. Raises NotFound.

        `answer` is the type that answers are read as.
        """
        found = api.find_job(self._look.registry, name)
        kind = None if answer is None else AnswerType(answer)
        return Job(self._look, self._app, found, kind)

    def jobs(self, where: str = "", *, state: Words = None, limit: int = 50) -> list[Job]:
        """Return jobs, the newest first, all or those that match the filter."""
        look = self._look
        chosen = look.filter(JOB_FIELDS, where, state=state)
        if look.is_empty:
            return []
        found = api.list_jobs(look.registry, chosen, now=look.now(), limit=limit)
        return [Job(look, self._app, view.job) for view in found]

    def tick(self, job: str | None = None) -> OneShot:
        """Do everything that is due, once; `busy` where another worker has the SQLite registry."""
        with interrupts() as signals, self._app() as app:
            return one_shot(app, signals, job=job)

    def daemon(self) -> Background:
        """Do the work in a thread until it is stopped: `with orc.daemon(): ...`.

        While another worker has the SQLite registry it stands by. Remote batches go on without it.
        """
        return Background(self._app)

    def status(self) -> Overview:
        """Return what needs you and what is under way."""
        look, env = self._look, self._options.env
        if look.is_empty:
            return overview.nothing_yet(look.app.registry, now=look.now(), environment=env)
        return overview.overview(look.registry, now=look.now(), environment=env, prices=look.prices)

    def providers(self) -> list[ProviderView]:
        """Return the providers that may be named: whether each may be called, and why not."""
        look = self._look
        registry = None if look.is_empty else look.registry
        return providers.provider_views(registry, look.app.providers)

    def events(
        self, job: str | None = None, where: str = "", *, after: int | None = None, limit: int = 50
    ) -> list[EventView]:
        """Return the audit trail, newest first; behind the event `after`, oldest first."""
        look = self._look
        chosen = look.filter(EVENT_FIELDS, where)
        if look.is_empty:
            return []
        return api.list_events(
            look.registry,
            chosen,
            job=job,
            after=after,
            sort="newest" if after is None else "oldest",
            limit=limit,
        )

    def costs(self, by: By = "job", *, since: Since = None, job: str | None = None) -> list[Cost]:
        """Return what was spent, by job, model, day, provider or kind; never in mixed currencies.

        `since` is a day (UTC) or an age: `"30d"`.
        """
        return costs(self._look, by, since, job)

    def graph(self, workflow: str | None = None) -> list[WorkflowGraph]:
        """Return the workflows that were applied, or the one of this name. Raises NotFound."""
        look = self._look
        if workflow is None and look.is_empty:
            return []
        return [WorkflowGraph(found) for found in stored_graphs(look.registry, workflow)]

    def doctor(self, provider: str | None = None, *, offline: bool = False) -> list[Check]:
        """Check registry, disk, key, clock and provider; each finding with what to do."""
        with self._app() as app:
            return list(examine(app, provider, offline=offline))

    def close(self) -> None:
        """Close connections and remove records that were kept for reading."""
        self._look.closed = True
        self._closing.close()

    def _declared(self, spec: JobSpec | str) -> Declared:
        return declare(self._look.app, spec, self._spool() / str(next(self._folders)))

    def _spool(self) -> Path:
        """Return the folder of this object's own files, made when it is first needed."""
        if self._folder is None:
            parent = self._configuration.spool_directory
            parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = tempfile.TemporaryDirectory(prefix=_SPOOL, dir=parent)
            self._folder = Path(self._closing.enter_context(made))
        return self._folder

    def _app(self) -> App:
        """Return an App of one's own: who works must not share the lease of who looks."""
        app = App(self._configuration)
        if self._options.pace is not None:
            app.pace = self._options.pace
        return app

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """Return one line; the registry's address without its password."""
        env = f" env {self._options.env!r}" if self._options.env else ""
        return f"<Orchestrator{env} {self._look.app.registry.describe()}>"
