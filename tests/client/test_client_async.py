"""The asyncio twin: the same calls, awaited; the loop is never blocked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from client.conftest import ROWS, a_spec

from orchestrator import AsyncJob, AsyncOrchestrator, Job, Orchestrator, errors


def test_a_job_is_awaited_from_end_to_end(registry_url: str, home: Path):
    async def main() -> list[str]:
        async with AsyncOrchestrator.sandbox(registry=registry_url) as orc:
            plan = await orc.plan(a_spec())
            job = await orc.submit(plan)
            await job.wait(timeout="60s", raise_on_failed=True)
            assert await job.state() == "finished"
            assert (await job.progress()).books.succeeded == 12
            assert (await job.verify()).ok
            outcomes = job.outcomes(state="succeeded")
            assert await outcomes.count() == (await outcomes.to_polars()).height == 12
            assert [one.name for one in await orc.jobs()] == ["labels"]
            assert (await orc.status()).fleet.jobs
            return [outcome.key async for outcome in outcomes]

    assert asyncio.run(main()) == [row["id"] for row in ROWS]


def test_several_jobs_are_waited_for_at_once(home: Path):
    async def main() -> list[bool]:
        async with AsyncOrchestrator.sandbox() as orc:
            jobs = [await orc.submit(a_spec(name)) for name in ("a", "b", "c")]
            await asyncio.gather(*(job.wait(timeout="60s") for job in jobs))
            return [job.sync.finished for job in jobs]

    assert asyncio.run(main()) == [True] * 3


def test_a_wait_that_is_cancelled_stops_and_leaves_the_job_alone(home: Path):
    async def main() -> None:
        async with AsyncOrchestrator.sandbox() as orc:
            job = await orc.submit(a_spec())
            waiting = asyncio.ensure_future(job.wait())
            async with asyncio.timeout(30):
                while not await orc.events("labels"):
                    await asyncio.to_thread(job.sync.progress)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await job.wait(timeout="60s")).sync.finished

    asyncio.run(main())


def test_errors_pass_through(home: Path):
    async def main() -> None:
        async with AsyncOrchestrator.sandbox() as orc:
            await orc.submit(a_spec())
            with pytest.raises(errors.NameTaken):
                await orc.submit(a_spec(source=ROWS[:1]))

    asyncio.run(main())


@pytest.mark.parametrize(("twin", "of"), [(AsyncOrchestrator, Orchestrator), (AsyncJob, Job)])
def test_the_twin_has_every_method(twin: type, of: type):
    def methods(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert methods(of) - methods(twin) == ({"deliver", "finished"} if of is Job else set())
