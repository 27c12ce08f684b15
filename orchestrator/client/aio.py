"""The same for asyncio: each call runs in a thread, there is no second implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from orchestrator.client.costs import Cost, Since
from orchestrator.client.following import Duration
from orchestrator.client.graph import WorkflowGraph
from orchestrator.client.job import Job, Verified
from orchestrator.client.looking import Words
from orchestrator.client.options import Setting
from orchestrator.client.orchestrator import Orchestrator
from orchestrator.client.outcomes import Outcome, Outcomes, Target
from orchestrator.client.plan import Plan
from orchestrator.client.sinks import NamedSink
from orchestrator.client.spec import JobSpec
from orchestrator.service.signals import Signals

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from orchestrator.api import (
        Applied,
        BatchView,
        EventView,
        Explanation,
        FailureGroup,
        JobView,
        Steered,
    )
    from orchestrator.api.costing import By
    from orchestrator.api.delivering import Delivering
    from orchestrator.api.overview import Overview
    from orchestrator.api.providers import ProviderView
    from orchestrator.api.sink_views import SinkView
    from orchestrator.client.background import Background
    from orchestrator.service.doctor import Check
    from orchestrator.service.one_shot import OneShot

T = TypeVar("T")

in_thread = asyncio.to_thread


class AsyncOrchestrator:
    """An Orchestrator whose calls are awaited; use it in an `async with`."""

    def __init__(
        self,
        config: str | Path | None = None,
        *,
        env: str | None = None,
        registry: str | None = None,
        settings: Mapping[str, Setting] | None = None,
    ) -> None:
        self.sync = Orchestrator(config, env=env, registry=registry, settings=settings)

    @classmethod
    def over(cls, orchestrator: Orchestrator) -> Self:
        """Return the twin of an Orchestrator; closing one closes both."""
        made = cls.__new__(cls)
        made.sync = orchestrator
        return made

    @classmethod
    def sandbox(cls, **options: Any) -> Self:  # noqa: ANN401 - those of Orchestrator.sandbox
        """Return the twin of `Orchestrator.sandbox(...)`."""
        return cls.over(Orchestrator.sandbox(**options))

    def with_options(self, **options: Any) -> Self:  # noqa: ANN401 - those of the sync one
        """Return the twin of `orchestrator.with_options(...)`."""
        return self.over(self.sync.with_options(**options))

    async def plan(self, spec: JobSpec | str, *, show: int = 0) -> Plan:
        """Do as `Orchestrator.plan` does."""
        return await in_thread(self.sync.plan, spec, show=show)

    async def submit(self, job: JobSpec | Plan | str) -> AsyncJob:
        """Do as `Orchestrator.submit` does."""
        return AsyncJob(await in_thread(self.sync.submit, job))

    async def apply(self, file: str | Path, *, suffix: str = "", dry_run: bool = False) -> Applied:
        """Do as `Orchestrator.apply` does."""
        return await in_thread(self.sync.apply, file, suffix=suffix, dry_run=dry_run)

    async def job(self, name: str, *, answer: Any = None) -> AsyncJob:  # noqa: ANN401 - any type
        """Do as `Orchestrator.job` does."""
        return AsyncJob(await in_thread(self.sync.job, name, answer=answer))

    async def jobs(
        self, where: str = "", *, state: Words = None, limit: int = 50
    ) -> list[AsyncJob]:
        """Do as `Orchestrator.jobs` does."""
        found = await in_thread(self.sync.jobs, where, state=state, limit=limit)
        return [AsyncJob(job) for job in found]

    async def tick(self, job: str | None = None) -> OneShot:
        """Do as `Orchestrator.tick` does."""
        return await in_thread(self.sync.tick, job)

    def daemon(self) -> Background:
        """Do as `Orchestrator.daemon` does."""
        return self.sync.daemon()

    async def status(self) -> Overview:
        """Do as `Orchestrator.status` does."""
        return await in_thread(self.sync.status)

    async def providers(self) -> list[ProviderView]:
        """Do as `Orchestrator.providers` does."""
        return await in_thread(self.sync.providers)

    async def events(
        self, job: str | None = None, where: str = "", *, after: int | None = None, limit: int = 50
    ) -> list[EventView]:
        """Do as `Orchestrator.events` does."""
        return await in_thread(self.sync.events, job, where, after=after, limit=limit)

    async def costs(
        self, by: By = "job", *, since: Since = None, job: str | None = None
    ) -> list[Cost]:
        """Do as `Orchestrator.costs` does."""
        return await in_thread(self.sync.costs, by, since=since, job=job)

    async def graph(self, workflow: str | None = None) -> list[WorkflowGraph]:
        """Do as `Orchestrator.graph` does."""
        return await in_thread(self.sync.graph, workflow)

    async def doctor(self, provider: str | None = None, *, offline: bool = False) -> list[Check]:
        """Do as `Orchestrator.doctor` does."""
        return await in_thread(self.sync.doctor, provider, offline=offline)

    async def close(self) -> None:
        """Close the twin."""
        await in_thread(self.sync.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        """Return one line."""
        return f"<Async{repr(self.sync)[1:]}"


class AsyncJob:
    """A Job whose calls are awaited."""

    def __init__(self, job: Job) -> None:
        self.sync = job

    @property
    def name(self) -> str:
        """The name, by which every face knows it."""
        return self.sync.name

    @property
    def id(self) -> int:
        """The number in the registry."""
        return self.sync.id

    async def state(self) -> str:
        """Return the state as shown."""
        return await in_thread(lambda: self.sync.state)

    async def progress(self) -> JobView:
        """Do as `Job.progress` does."""
        return await in_thread(self.sync.progress)

    async def to_dict(self) -> dict[str, Any]:
        """Do as `Job.to_dict` does."""
        return await in_thread(self.sync.to_dict)

    def outcomes(self, where: str = "", **terms: Any) -> AsyncOutcomes:  # noqa: ANN401 - Job's own
        """Do as `Job.outcomes` does; read them with `async for`."""
        return AsyncOutcomes(self.sync.outcomes(where, **terms))

    async def batches(
        self, where: str = "", *, state: Words = None, limit: int = 1_000
    ) -> list[BatchView]:
        """Do as `Job.batches` does."""
        return await in_thread(self.sync.batches, where, state=state, limit=limit)

    async def errors(self, *, limit: int = 50) -> list[FailureGroup]:
        """Do as `Job.errors` does."""
        return await in_thread(self.sync.errors, limit=limit)

    async def explain(self, key: str | None = None) -> Explanation:
        """Do as `Job.explain` does."""
        return await in_thread(self.sync.explain, key)

    async def watch(self, *, timeout: Duration = None) -> None:
        """Do as `Job.watch` does; cancelling the task leaves the job alone."""
        await _stoppable(lambda signals: self.sync.watch(timeout=timeout, signals=signals))

    async def wait(
        self,
        *,
        timeout: Duration = None,
        raise_on_failed: bool = False,
    ) -> Self:
        """Do as `Job.wait` does; cancelling the task leaves the job alone."""
        await _stoppable(
            lambda signals: self.sync.wait(
                timeout=timeout, raise_on_failed=raise_on_failed, signals=signals
            )
        )
        return self

    async def sinks(self) -> list[SinkView]:
        """Do as `Job.sinks` does."""
        return await in_thread(self.sync.sinks)

    async def add_sink(self, sink: NamedSink, *, again: bool = False) -> Delivering:
        """Do as `Job.add_sink` does."""
        return await in_thread(self.sync.add_sink, sink, again=again)

    async def pause(self) -> Steered:
        """Do as `Job.pause` does."""
        return await in_thread(self.sync.pause)

    async def resume(self, *, budget: str | None = None) -> Steered:
        """Do as `Job.resume` does."""
        return await in_thread(self.sync.resume, budget=budget)

    async def cancel(self, batch: str | None = None) -> Steered:
        """Do as `Job.cancel` does."""
        return await in_thread(self.sync.cancel, batch)

    async def retry(self, where: str = "", **terms: Any) -> Steered:  # noqa: ANN401 - Job's own
        """Do as `Job.retry` does."""
        return await in_thread(self.sync.retry, where, **terms)

    async def export(self, target: Target, **how: Any) -> Target:  # noqa: ANN401 - Job's own
        """Do as `Job.export` does."""
        return await in_thread(lambda: self.sync.export(target, **how))

    async def verify(self, *, export: str | Path | None = None) -> Verified:
        """Do as `Job.verify` does."""
        return await in_thread(self.sync.verify, export=export)

    def __repr__(self) -> str:
        """Return one line."""
        return f"<Async{repr(self.sync)[1:]}"


class AsyncOutcomes:
    """Outcomes for `async for`: a chunk at a time is read in a thread."""

    def __init__(self, outcomes: Outcomes) -> None:
        self.sync = outcomes

    async def __aiter__(self) -> AsyncIterator[Outcome]:
        """Yield the outcomes in the order of the source."""
        chunks = self.sync.chunks()
        while chunk := await in_thread(next, chunks, None):
            for outcome in chunk:
                yield outcome

    async def count(self) -> int:
        """Do as `len(outcomes)` does."""
        return await in_thread(len, self.sync)

    async def to_arrow(self) -> pyarrow.Table:
        """Do as `Outcomes.to_arrow` does."""
        return await in_thread(self.sync.to_arrow)

    async def to_polars(self) -> polars.DataFrame:
        """Do as `Outcomes.to_polars` does."""
        return await in_thread(self.sync.to_polars)

    async def to_pandas(self) -> pandas.DataFrame:
        """Do as `Outcomes.to_pandas` does."""
        return await in_thread(self.sync.to_pandas)

    async def to_parquet(self, target: Target) -> Target:
        """Do as `Outcomes.to_parquet` does."""
        return await in_thread(lambda: self.sync.to_parquet(target))


async def _stoppable(work: Callable[[Signals], T]) -> T:
    """Run `work` in a thread; when the task is cancelled, tell it to stop and wait until it has."""
    signals = Signals()
    running = asyncio.ensure_future(in_thread(work, signals))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if not running.done():
            signals.stop()
            await asyncio.wait([running])
        raise
