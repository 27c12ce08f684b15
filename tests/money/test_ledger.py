"""What the ledger holds is what the job's rows add up to, whatever the answers were."""

import sqlalchemy as sa

from orchestrator.api.verifying import verify
from orchestrator.domain.model import ChargeKind
from orchestrator.registry.tables import batches, charges
from orchestrator.sandbox.temper import Lines, Temper


def _ledger(world):
    with world.registry.read() as db:
        return db.execute(sa.select(charges).order_by(charges.c.kind)).mappings().all()


def test_answers_are_charged_at_the_price_of_their_day(world):
    job = world.submit(120, body={"max_tokens": 64})
    job = world.run()
    (row,) = _ledger(world)
    assert (row["kind"], row["requests"], row["unpriced"]) == (ChargeKind.ANSWERED, 120, 0)
    assert (row["day"], row["currency"], row["model"]) == ("2026-09-01", "USD", "kimi-k2.6")
    fresh = row["tokens_in"] - row["tokens_cached"]
    amount = fresh * 570_000 + row["tokens_cached"] * 100_000 + row["tokens_out"] * 2_400_000
    assert row["amount"] == amount
    assert row["online"] > row["amount"]
    assert row["est_out"] == 120 * 64
    assert row["tokens_in"] / row["est_in"] < 2
    assert all(equation.ok for equation in verify(world.registry, job))


def test_failed_lines_are_charged_only_where_they_tell_a_usage(world):
    world.sandbox.temper = Temper(lines=Lines(overloaded=0.2, content_filter=0.2, missing=0.1))
    world.submit(100)
    job = world.run(days=60)
    rows = _ledger(world)
    assert {row["kind"] for row in rows} == {ChargeKind.ANSWERED}
    assert sum(row["requests"] for row in rows) == job.books.succeeded < 100
    assert all(equation.ok for equation in verify(world.registry, job))


def test_a_batch_knows_what_it_may_use_and_has_used(world):
    world.submit(60, body={"max_tokens": 9})
    job = world.run()
    with world.registry.read() as db:
        found = db.execute(sa.select(batches).order_by(batches.c.id)).mappings().all()
    assert [batch["est_out"] for batch in found] == [50 * 9, 10 * 9]
    for name in ("tokens_in", "tokens_out", "tokens_cached"):
        assert sum(batch[name] for batch in found) == getattr(job, name)
    (row,) = _ledger(world)
    assert sum(batch["est_in"] for batch in found) == row["est_in"]


def test_a_batch_without_a_bound_on_its_answers_says_so(world):
    world.submit(3)
    world.tick()
    (batch,) = world.batches()
    assert batch.est_out is None
    assert batch.est_in > 0
