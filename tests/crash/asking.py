"""Scripts of what a job may be asked with: shared answers, schemas, changes only, guards."""

from __future__ import annotations

import msgspec
from support.world import World

from crash.scripts import BRISK, BRISKLY, GOOD, ended, live, run, to_the_end, until
from orchestrator import api
from orchestrator.api import control
from orchestrator.domain.errors import NameTaken, SourceError
from orchestrator.domain.spec import Answer, Canary, JobSpec
from orchestrator.domain.units import parse_money
from orchestrator.registry import jobs
from orchestrator.sandbox.temper import Lines, Temper


def answered_before(world: World) -> None:
    """An earlier job has had one of the questions answered."""
    submit_texts(world, "before", "b")
    run(world, "before")


def all_lines_fail(world: World) -> None:
    """From now on the provider refuses every line."""
    world.sandbox.temper = Temper(batches=BRISK, lines=Lines(content_filter=1.0))


def sharing(world: World) -> None:
    """Equal requests, one of them answered before; those that failed are asked again and share."""
    submit_texts(world, "small", "a", "b", "a", "a", "b")
    run(world, "small")
    world.sandbox.temper = GOOD
    control.retry(world.context, "small", ())


def submit_texts(world: World, name: str, *texts: str) -> None:
    """Submit records with these texts, whose equal ones share their answers."""
    source = world.folder / f"{name}-texts.jsonl"
    rows = [{"id": f"{name}-{n}", "text": text} for n, text in enumerate(texts)]
    source.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    world.submit(name=name, source=str(source), policy=BRISKLY, dedup=True, cache=True)


def judged(world: World) -> None:
    """Answers must fit a schema, and none does."""
    schema = {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}}}
    answer = Answer(schema={**schema, "additionalProperties": False})
    world.submit(2, name="small", policy=BRISKLY, answer=answer)


def asked_once_more(world: World) -> None:
    """What does not fit is asked again, with the answer and what is wrong with it."""
    until(world, lambda: len(world.batches("small")) > 1 or ended(world, "small"))
    until(world, lambda: live(world))


def _changes_only(world: World, *texts: str) -> None:
    source = world.folder / "series.jsonl"
    rows = [{"id": f"r-{n}", "text": text} for n, text in enumerate(texts)]
    source.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    world.submit(name="small", source=str(source), policy=BRISKLY, changed_only=True)


def the_first_of_a_series(world: World) -> None:
    """Have three records answered."""
    _changes_only(world, "a", "b", "c")
    to_the_end(world)


def changes_only(world: World) -> None:
    """Submit the same source with one record changed and one new."""
    _changes_only(world, "a", "other", "c", "d")
    run(world, "small-2")


def changed_once(world: World) -> None:
    """However often it was given, the command has made one job of the two records."""
    _changes_only(world, "a", "other", "c", "d")
    run(world, "small", "small-2")
    with world.registry.read() as db:
        assert jobs.find(db, "small-3") is None
    assert world.job("small-2").books.records == 2


def changing(world: World) -> None:
    """Submit a source that changes under the submission's hands; then submit it as it is now."""
    source = world.folder / "changing.jsonl"
    rows = [b'{"id":"r-%d","text":"record %d"}\n' % (n, n) for n in range(4)]

    def change(_done: int, _all: int) -> None:
        source.write_bytes(b"".join(rows[:3]))

    spec = JobSpec(
        name="small",
        source=str(source),
        key="id",
        prompt="Say one word about {text}",
        provider="sandbox",
        model="kimi-k2.6",
    )
    if not source.exists():
        source.write_bytes(b"".join(rows))
    try:
        api.submit(world.context, spec, actor="test", on_progress=change)
    except SourceError:
        api.submit(world.context, spec, actor="test")
    except NameTaken:  # cut off after the change: nobody can go on with what it was
        control.cancel_job(world.context, "small")


def canary_judged(world: World) -> None:
    """Half of the records go ahead, fail, and are accepted all the same."""
    canary = Canary(records=2, require=("failed < 2%",))
    world.submit(4, name="small", policy=BRISKLY, canary=canary)
    until(world, lambda: world.job("small").canary is not None)
    control.resume(world.context, names=["small"], providers=[])
    until(world, lambda: sent_again(world))


def sent_again(world: World) -> bool:
    return world.job("small").canary == "accepted" and len(world.batches("small")) > 1


def budget_reached(world: World) -> None:
    """The budget lets some of the records go; a larger one the rest."""
    bound = {"max_tokens": 9}
    world.submit(4, name="small", policy=BRISKLY, budget="0.00019 USD", body=bound)
    until(world, lambda: ended(world, "small") or world.job("small").hold_code is not None)
    budget = parse_money("5 USD")
    control.resume(world.context, names=["small"], providers=[], budget=budget)
