"""People: they submit jobs, steer them, and now and then go to the provider's console."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator import api
from orchestrator.api import control
from orchestrator.domain.errors import ClaimLost, GuardError, RegistryError
from orchestrator.domain.spec import Answer, JobSpec, Policy
from orchestrator.engine.context import Context
from orchestrator.provider.client import HttpProvider
from orchestrator.sandbox.refusals import Refusal
from orchestrator.spool import Spool
from simulation.faults import DAY, HOUR
from simulation.network import Wire
from simulation.workers import START, Key, Providers, WorkerClock

if TYPE_CHECKING:
    from simulation.world import World

_VERDICT = Answer(
    schema={
        "type": "object",
        "properties": {"label": {"enum": ["good", "bad"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
)


class Users:
    """Everybody who gives commands. All of it is drawn from the seed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.draw = random.Random(f"{world.seed}/users")
        self.submitted: list[str] = []
        self.records = 0
        self._to_come = 0
        self._clock = WorkerClock(lambda: world.scheduler.now)

    def plan(self) -> None:
        """Foresee what will be done, and when."""
        for number in range(self.draw.choice((1, 2, 2, 3))):
            when = 0.0 if number == 0 else self.draw.uniform(0, DAY / 2)
            self._later(when, "submit", self._submission(f"job-{number}"))
        for _ in range(self.draw.choice((0, 0, 1, 2, 4, 8))):
            when = HOUR / 10 + 1.5 * DAY * self.draw.random() ** 3
            self._later(when, "steer", self._steer)

    def are_done(self) -> bool:
        """Whether nothing more will be asked for."""
        return not self._to_come

    def _later(self, seconds: float, name: str, action: Callable[[], None]) -> None:
        """Do something later; a database that does not answer is asked again."""
        self._to_come += 1

        def do() -> None:
            self._to_come -= 1
            try:
                action()
            except ClaimLost:
                self._later(30.0, name, action)
            except RegistryError:
                self._later(60.0, name, action)
            except GuardError:
                return

        self.world.scheduler.after(seconds, name, do)

    # Commands

    def _submission(self, name: str) -> Callable[[], None]:
        count = self.draw.randint(8, 28)
        source = self.world.folder / f"{name}.jsonl"
        lines = (f'{{"id":"{name}-{n:03d}","text":"record {n}"}}\n' for n in range(count))
        source.write_text("".join(lines), encoding="utf-8")
        spec = JobSpec(
            name=name,
            source=str(source),
            key="id",
            prompt="Say one word about {text}",
            provider="sandbox",
            model="kimi-k2.6",
            window=self.draw.choice(("12h", "24h", "3d", "7d")),
            policy=Policy(
                attempts=self.draw.choice((3, 6)),
                rounds=self.draw.choice((6, 20)),
                on_cancelled=self.draw.choice(("hold", "retry", "close")),
            ),
            answer=random.Random(f"{self.world.seed}/{name}").choice((None, _VERDICT)),
        )

        def submit() -> None:
            api.submit(self._context(), spec, actor="user")
            self.submitted.append(name)
            self.records += count

        return submit

    def _steer(self) -> None:
        if not self.submitted:
            return
        name = self.draw.choice(self.submitted)
        context = self._context()
        match self.draw.choice(("pause", "pause", "resume", "resume", "batch", "retry", "job")):
            case "pause" if self.draw.random() < 0.3:
                control.pause(context, names=[], providers=["sandbox"])
            case "pause":
                control.pause(context, names=[name], providers=[])
            case "resume":
                control.resume(context, names=[name], providers=["sandbox"])
            case "batch":
                numbers = self._batch_numbers(name)
                if numbers:
                    control.cancel_batch(context, name, self.draw.choice(numbers))
            case "retry":
                control.retry(context, name, ())
            case "job" if self.draw.random() < 0.3:
                control.cancel_job(context, name)

    def _batch_numbers(self, name: str) -> list[int]:
        query = "SELECT b.number FROM batches b JOIN jobs j ON j.id = b.job_id WHERE j.name = ?"
        return [row[0] for row in self.world.monitor.execute(f"{query} ORDER BY 1", (name,))]

    def let_all_go_on(self) -> None:
        """Lift every pause. Faults are over by now."""
        paused = "SELECT name FROM jobs WHERE state = 'paused' ORDER BY id"
        names = [row[0] for row in self.world.monitor.execute(paused)]
        control.resume(self._context(), names=names, providers=["sandbox"])

    def release_parked(self) -> None:
        """Decide on every parked batch: let it go on."""
        control.resume(self._context(), names=self.submitted, providers=["sandbox"])

    # The provider's console

    def cancel_in_console(self) -> None:
        """Cancel a batch behind the orchestrator's back."""
        sandbox = self.world.sandbox
        live = [
            batch.id
            for batch in sandbox._account.batches.values()
            if not sandbox._runs.standing(
                batch, START.timestamp() + self.world.scheduler.now
            ).stage.final
        ]
        if live:
            sandbox.cancel(self.draw.choice(live))
            self.world.faults.fired["console cancel"] += 1

    def delete_in_console(self) -> None:
        """Delete a file, of whatever kind, behind the orchestrator's back."""
        sandbox = self.world.sandbox
        files = sandbox._all_files(START.timestamp() + self.world.scheduler.now)
        if not files:
            return
        try:
            super(type(sandbox), sandbox).delete(self.draw.choice(files).id)
        except Refusal:
            return
        self.world.faults.fired["console delete"] += 1

    def _context(self) -> Context:
        world = self.world
        provider = HttpProvider(
            name="sandbox",
            profile=world.profile,
            key=Key(),
            now=self._clock.now,
            monotonic=self._clock.monotonic,
            sleep=lambda _seconds: None,
            rng=self.draw,
            transport=Wire(world.sandbox, world.scheduler),
        )
        return Context(
            registry=world.registry,
            providers=Providers(provider),
            spool=Spool(world.folder / "spool-of-users", owner="user"),
            clock=self._clock,
            pace=world.pace,
            worker="user",
            instance=world.instance,
            new_token=lambda: f"{world.next_number():032x}",
            rng=self.draw,
            actor="user",
            requests_per_batch=world.requests_per_batch,
            transfers=1,
        )
