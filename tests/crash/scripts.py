"""The commands of the scenarios: what users, time and the provider do in them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from support.world import World

from crash.boundaries import Crash
from crash.memory import Memory, put_back, remember
from orchestrator.api import control, recovering
from orchestrator.api.strays import forget
from orchestrator.domain.errors import ConfigError, GuardError
from orchestrator.domain.model import BatchState
from orchestrator.domain.pacing import Pace
from orchestrator.domain.spec import Policy
from orchestrator.domain.transitions import JOB_FINAL
from orchestrator.failpoints import watched
from orchestrator.registry import jobs, strays
from orchestrator.sandbox.core import Sandbox
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.temper import Batches, Temper

BRISK = Batches(validating=(1, 1), running=(100, 100), finalizing=(1, 1), cancelling=(1, 1))
"""Long enough that a call applied late still finds the input file, if it was sent again blindly."""

SLOW = Batches(validating=(1, 1), running=(200, 200), finalizing=(1, 1), cancelling=(1, 1))
GOOD = Temper(batches=BRISK)
UNHURRIED = Pace(poll_min=60)
BRISKLY = Policy(linger_seconds=30, rounds=3)
AT_THE_PROVIDER = (BatchState.LIVE, BatchState.REMOTE_DONE, BatchState.COLLECTED)
DAYS = 3.0


def nothing(_world: World) -> None:
    """Do nothing."""


def until(world: World, reached: Callable[[], bool], *, days: float = DAYS) -> bool:
    """Let time pass until something is so; False if it never comes to be."""
    end = world.clock.seconds + days * 86_400
    while not reached():
        if world.clock.seconds > end or not world.advance():
            return reached()
    return True


def ended(world: World, name: str) -> bool:
    return world.job(name).state in JOB_FINAL


def run(world: World, *names: str) -> None:
    """Let time pass until the jobs have ended and everything is cleaned up."""
    until(world, lambda: all(ended(world, name) for name in names))
    until(world, lambda: not world.unsettled(), days=2)


def states(world: World, name: str) -> list[BatchState]:
    return [batch.state for batch in world.batches(name)]


def steer(world: World, command: Callable[[], Any]) -> None:
    """Give a command, again while the batch is being sent and a cancel is refused."""
    while not ended(world, "small"):
        try:
            command()
        except GuardError:
            world.advance()
        else:
            return


def to_the_end(world: World) -> None:
    run(world, "small")


def is_there(world: World, *wanted: BatchState) -> bool:
    """Whether a batch of the job stands in one of these states, or the job has ended."""
    return ended(world, "small") or not {*wanted}.isdisjoint(states(world, "small"))


def live(world: World) -> bool:
    return is_there(world, *AT_THE_PROVIDER)


def small_and_live(world: World) -> None:
    world.submit(2, name="small", policy=BRISKLY)
    until(world, lambda: live(world))


# Lines


def plain(world: World) -> None:
    """Three batches, several chunks of everything."""
    world.submit(5, name="small")
    run(world, "small")


def one_batch_is_read(world: World) -> None:
    """Lines that are refused, missing, repeated, garbage: some are asked again."""
    until(world, lambda: len(world.batches("small")) > 1 or ended(world, "small"))


# Calls


def lose_uploads(world: World) -> None:
    """The first upload arrives when nobody waits for it any more, the second without a word."""
    world.submit(2, name="small")
    world.sandbox.inject("upload", Fault.LATE, seconds=60)
    world.sandbox.inject("upload", Fault.ANSWER_LOST)


def lose_creates(world: World) -> None:
    """The first create is never done, the second one is, and neither is answered."""
    world.submit(2, name="small")
    world.sandbox.inject("create", Fault.GATEWAY_TIMEOUT)
    world.sandbox.inject("create", Fault.ANSWER_LOST)


def close_gates(world: World) -> None:
    """Calls are refused: for a quota, for haste, for no reason, often enough to be put off."""
    world.submit(2, name="small")
    world.sandbox.inject("upload", Fault.QUOTA)
    world.sandbox.inject("create", Fault.THROTTLED)
    world.sandbox.inject("list", Fault.SERVER_ERROR, times=4)
    world.sandbox.inject("content", Fault.UNAVAILABLE, times=4)


def until_live(world: World) -> None:
    until(world, lambda: live(world))


def hold_the_create(world: World) -> None:
    """Have the input file deleted behind our back before the batch is made from it."""
    world.submit(2, name="small")
    world.sandbox.inject("create", Fault.THROTTLED, seconds=30)
    until(world, lambda: is_there(world, BatchState.UPLOADED))
    (file,) = world.sandbox.books().files
    world.sandbox.delete(file.id)


def make_a_twin(world: World) -> None:
    """Something between us and the provider sends a create twice, and we die before its answer."""
    world.submit(2, name="small")

    def send_again(name: str, about: object) -> None:
        if (name, about) == ("call.answered", "create"):
            (first,) = world.sandbox._account.batches.values()
            body = {
                "input_file_id": first.input_file_id,
                "endpoint": first.endpoint,
                "completion_window": first.window,
                "metadata": first.metadata,
            }
            world.sandbox.create(msgspec.json.encode(body))
            raise Crash

    with contextlib.suppress(Crash), watched(send_again):
        to_the_end(world)
    world.boot()


def pass_an_hour(world: World) -> None:
    """Let the hourly audit come; it removes what the twin has left."""
    world.clock.seconds += 3_700
    world.tick()


# Files that are refused


def submit_keys(world: World, *keys: str) -> None:
    """Submit records with these keys."""
    source = world.folder / "by-hand.jsonl"
    rows = [{"id": key, "text": "some record"} for key in keys]
    source.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    world.submit(name="small", source=str(source), policy=BRISKLY)


def halves_are_sent(world: World) -> None:
    """The file of three records is over the provider's limit, its halves are not."""
    until(world, lambda: ended(world, "small") or len(world.batches("small")) == 3)
    until(world, lambda: live(world))


def one_line_is_out(world: World) -> None:
    """One line breaks a rule, and the whole batch fails for it."""
    until(world, lambda: world.job("small").books.failed == 1)


def asked_to_decide(world: World) -> None:
    """Something is parked: a person lets it go on."""
    until(world, lambda: ended(world, "small") or BatchState.PARKED in states(world, "small"))
    world.sandbox.temper = GOOD
    control.resume(world.context, names=["small"], providers=[])
    until(world, lambda: live(world) and BatchState.PARKED not in states(world, "small"))


# A person at work


def steering(world: World) -> None:
    """Pause, resume, cancel a batch that runs and one that was never sent, ask again."""
    control.pause(world.context, names=["small"], providers=["sandbox"])
    world.tick()
    control.resume(world.context, names=["small"], providers=["sandbox"])
    until(world, lambda: live(world))
    steer(world, lambda: control.cancel_batch(world.context, "small", 1))
    steer(world, lambda: control.cancel_batch(world.context, "small", 2))
    until(world, lambda: world.job("small").books.in_flight == 0)


def asking_again(world: World) -> None:
    control.retry(world.context, "small", ())


def console(world: World) -> None:
    """A batch is cancelled in the provider's console."""
    small_and_live(world)
    world.clock.seconds += 40
    (remote,) = world.sandbox.books().batches
    world.sandbox.cancel(remote.id)


def hold_up_the_second(world: World, *, records: int = 4) -> None:
    """Two batches at a time; the second one's upload does not get through for some minutes."""
    world.providers.in_flight = 2
    world.sandbox.inject("upload", Fault.DROPPED, skip=1, times=3)
    world.submit(records, name="small", policy=BRISKLY)


def hold_up_all_but_one(world: World) -> None:
    hold_up_the_second(world, records=5)
    until(world, lambda: live(world))


def cancelling(world: World) -> None:
    """Cancel a job with one batch live, one held up before it is sent, and records waiting."""
    control.cancel_job(world.context, "small")
    run(world, "small")


# Ends that are no good ends


def a_day_at_most(world: World) -> None:
    world.submit(2, name="small", window="12h", policy=BRISKLY)
    until(world, lambda: live(world))


def expired(world: World) -> None:
    """Look a few times, then collect what was done before the window closed."""
    until(world, lambda: world.batches("small")[0].state not in AT_THE_PROVIDER)


def in_a_better_world(world: World) -> None:
    world.sandbox.temper = GOOD
    run(world, "small")


# Batches that are lost


def lose_the_batch(world: World) -> Sandbox:
    """Let the provider forget a live batch, until it is parked; return the provider that was."""
    small_and_live(world)
    before, world.sandbox = world.sandbox, Sandbox(world.clock.unix, seed=9, temper=GOOD)
    world.providers.made.clear()
    until(world, lambda: BatchState.PARKED in states(world, "small"))
    return before


def given_up(world: World) -> None:
    """A person lets a lost batch go, and its records are asked again."""
    if len(world.batches("small")) == 1:
        control.resume(world.context, names=["small"], providers=[])
    until(world, lambda: len(world.batches("small")) == 2 and live(world))


def lose_and_find(world: World) -> None:
    """Give a lost batch up; before its records are sent again it is there, and has ended."""
    before = lose_the_batch(world)
    control.pause(world.context, names=[], providers=["sandbox"])
    control.resume(world.context, names=["small"], providers=[])
    until(world, lambda: states(world, "small")[0] is BatchState.CLOSED)
    world.sandbox = before
    world.providers.made.clear()


def taken_late(world: World) -> None:
    until(world, lambda: world.job("small").books.succeeded == 2)
    control.resume(world.context, names=[], providers=["sandbox"])


# A registry that knows less than the provider


def forget_the_create(world: World) -> None:
    """Lose the commits from the last moment before the input file was sent."""
    forget_from(world, "call.send", "upload")


def forget_the_batch(world: World) -> None:
    """Lose all commits since the submission."""
    world.submit(2, name="small", policy=BRISKLY)
    before = remember(world.registry)
    until(world, lambda: live(world))
    put_back(world.registry, before)
    world.boot()


def forget_from(world: World, name: str, about: str) -> None:
    world.submit(2, name="small", policy=BRISKLY)
    kept: list[Memory] = []

    def keep(passed: str, what: object) -> None:
        if (passed, what) == (name, about) and not kept:
            kept.append(remember(world.registry))

    with watched(keep):
        until(world, lambda: live(world))
    put_back(world.registry, kept[0])
    world.boot()


def a_copy_at_work(world: World) -> None:
    """A copy of this registry sends a batch of its own under our name."""
    small_and_live(world)
    path = world.folder / "copy.jsonl"
    path.write_bytes(b'{"custom_id":"r-00000","method":"POST"}\n')
    provider = world.providers.get("sandbox")
    file = provider.upload(path, "of-the-copy.jsonl")
    metadata = {"orc_instance": world.context.instance, "orc_token": "f" * 32, "orc_boot": "other"}
    metadata |= {"orc_job": "small", "orc_batch": "b01, 2 requests"}
    world.clock.seconds += 7_200
    provider.create(
        file.id,
        endpoint="/v1/chat/completions",
        window="24h",
        metadata=metadata,
        idempotency_key="",
    )


def stopped_and_told_to_go_on(world: World) -> None:
    until(world, lambda: ended(world, "small"), days=1)
    control.resume(world.context, names=[], providers=["sandbox"])


def a_clock_put_right(world: World) -> None:
    """A clock was a month ahead: the job is due in a month."""
    small(world)
    late = world.clock.now() + timedelta(days=30)
    world.registry.write(lambda db: jobs.set_due(db, world.job("small").id, late))


def a_twin_is_met(world: World) -> None:
    make_a_twin(world)
    until(world, lambda: live(world))


def judging_by_hand(world: World) -> None:
    """Let a second remote batch go, take it in after all, and give the registry another name."""
    with world.registry.read() as db:
        (twin,) = strays.everyone(db)
    forget(world.context, twin.remote_id)
    recovering.adopt(world.context, twin.remote_id)
    recovering.new_identity(world.context)


# A configuration that can't be read for a while


class Unreadable(dict[str, Any]):
    """Profiles that are being edited: none can be read."""

    def get(self, name: str, _default: Any = None) -> Any:
        raise ConfigError(f"the profile of {name} can't be read", code="ORC3111")


def misconfigured(world: World) -> None:
    if not world.batches("small"):
        world.providers.get("sandbox")  # opened before, as in a process that has worked a while
        world.profiles = Unreadable()
        world.tick()
    world.profiles = {}


def small(world: World) -> None:
    world.submit(2, name="small", policy=BRISKLY)
