"""Deliveries as people and programs see them: how far each sink is, and why it does not go on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from orchestrator.domain.model import Delivery, DeliveryState, Job
from orchestrator.registry import deliveries, jobs
from orchestrator.registry.session import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkView:
    """One sink of a job: how far it is, and why it does not go on, if so.

    `next_try`: when a sink that failed is tried again.
    """

    job: str
    sink: str
    stream: bool
    state: str
    rows: int
    recorded: int
    code: str | None
    reason: str | None
    next_try: datetime | None
    finished_at: datetime | None
    next: str

    def to_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def sink_view(job: Job, delivery: Delivery) -> SinkView:
    """Return the view of one delivery of a job."""
    held = delivery.state is DeliveryState.HELD
    failing = delivery.state is DeliveryState.RUNNING and delivery.tries > 0
    return SinkView(
        job=job.name,
        sink=delivery.name,
        stream=delivery.stream,
        state="failing" if failing else delivery.state.value,
        rows=delivery.rows,
        recorded=job.books.recorded,
        code=delivery.code,
        reason=delivery.reason,
        next_try=delivery.due_at if failing else None,
        finished_at=delivery.finished_at,
        next=f"orchestrator resume {job.name}" if held or failing else "",
    )


def held_lines(views: Iterable[SinkView]) -> list[str]:
    """Return a line for each sink that waits for a person: what is wrong, and what to do next."""
    return [
        f"outcomes of {sink.job} do not get to {sink.sink}: {sink.reason}"
        f"; mend the sink, then: {sink.next}"
        for sink in views
        if sink.state == DeliveryState.HELD
    ]


def list_sinks(
    registry: Registry, job: Job | None = None, *, after: int = 0, limit: int = 50
) -> list[tuple[int, SinkView]]:
    """Return the sinks of a job, or of all jobs, each with the id that the next page goes on at."""
    with registry.read() as db:
        found = (
            [each for each in deliveries.of_job(db, job.id) if each.id > after][:limit]
            if job is not None
            else deliveries.page(db, after=after, limit=limit)
        )
        owners = {job_id: jobs.get(db, job_id) for job_id in {each.job_id for each in found}}
    return [(each.id, sink_view(owners[each.job_id], each)) for each in found]
