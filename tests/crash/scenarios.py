"""Small jobs that meet everything: what the matrix breaks, one boundary at a time.

A scenario's commands may be given again from the first one, as a user, a supervisor or a timer
does it after a crash; what was done already is then found done.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from support.world import World

from crash.asking import (
    all_lines_fail,
    answered_before,
    asked_once_more,
    budget_reached,
    canary_judged,
    changed_once,
    changes_only,
    changing,
    judged,
    sharing,
    the_first_of_a_series,
)
from crash.flow_scripts import (
    applying,
    begun,
    both_to_the_end,
    dropped,
    fed,
    first_has_ended,
    flow,
    mended,
    taken_as_it_is,
)
from crash.scripts import (
    BRISK,
    BRISKLY,
    GOOD,
    SLOW,
    UNHURRIED,
    a_clock_put_right,
    a_copy_at_work,
    a_day_at_most,
    a_twin_is_met,
    asked_to_decide,
    asking_again,
    cancelling,
    close_gates,
    console,
    expired,
    forget_the_batch,
    forget_the_create,
    given_up,
    halves_are_sent,
    hold_the_create,
    hold_up_all_but_one,
    hold_up_the_second,
    in_a_better_world,
    judging_by_hand,
    lose_and_find,
    lose_creates,
    lose_the_batch,
    lose_uploads,
    make_a_twin,
    misconfigured,
    nothing,
    one_batch_is_read,
    one_line_is_out,
    pass_an_hour,
    plain,
    small,
    small_and_live,
    steering,
    stopped_and_told_to_go_on,
    submit_keys,
    taken_late,
    to_the_end,
    until_live,
)
from crash.sinks import (
    answers_for_bad_sinks,
    answers_for_sinks,
    every_sink_has_every_outcome_once,
    into_sinks,
    into_sinks_that_fail,
)
from orchestrator import api
from orchestrator.domain.pacing import Pace
from orchestrator.sandbox.temper import Batches, Bounds, Lines, Temper


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Commands, what is wrong with the world they are given in, and what may be left at the end.

    Boundaries are those of `script`; `begin` leads to it undisturbed and `finish` away from it.
    `meets`: kinds of events that it is there for; a run without a fault of ours must leave them.
    `parked`: codes of the reasons for which a batch may wait for a person at the end. `twins`: the
    scenario itself makes a second remote batch of what was sent once.
    """

    name: str
    begin: Callable[[World], None] = nothing
    script: Callable[[World], None]
    finish: Callable[[World], None] = nothing
    temper: Temper = GOOD
    pace: Pace = UNHURRIED
    per_batch: int = 4
    meets: Collection[str] = ()
    parked: Collection[str] = ()
    twins: bool = False


_UNEVEN = Lines(overloaded=0.1, content_filter=0.15, missing=0.3, garbage=0.35, duplicated=0.1)
_EXPIRING = Batches(validating=(1, 1), running=(60, 60), finalizing=(1, 1), expired=1.0)
_RARELY = Pace(poll_max=21_600, cap=43_200, poll_min=14_400, stale_seconds=50_000)

_ALL = (
    Scenario(name="plain", script=plain, per_batch=2),
    Scenario(
        name="lines",
        begin=lambda world: world.submit(4, name="small", policy=BRISKLY) and None,
        script=one_batch_is_read,
        finish=to_the_end,
        temper=Temper(batches=BRISK, lines=_UNEVEN),
        parked=["ORC5205"],
    ),
    Scenario(
        name="uploads",
        meets=["upload_unanswered", "upload_never_arrived"],
        begin=lose_uploads,
        script=to_the_end,
    ),
    Scenario(
        name="creates",
        meets=["create_unanswered", "input_revoked", "renewed", "adopted"],
        begin=lose_creates,
        script=until_live,
        finish=to_the_end,
    ),
    Scenario(
        name="gates",
        meets=["gate_closed", "gate_slowed", "call_refused_for_now"],
        begin=close_gates,
        script=to_the_end,
    ),
    Scenario(
        name="vanishing",
        meets=["input_vanished"],
        begin=hold_the_create,
        script=until_live,
        finish=to_the_end,
    ),
    Scenario(
        name="twin",
        meets=["extra_remote_batch", "adopted"],
        begin=make_a_twin,
        script=until_live,
        finish=to_the_end,
        twins=True,
    ),
    Scenario(
        name="twin-is-swept-up",
        begin=lambda world: make_a_twin(world) or to_the_end(world),
        script=pass_an_hour,
        twins=True,
    ),
    Scenario(
        name="too-large",
        meets=["superseded"],
        begin=lambda world: submit_keys(world, "a", "b", "c"),
        script=halves_are_sent,
        finish=to_the_end,
        temper=Temper(batches=BRISK, limits=Bounds(max_file_bytes=350)),
    ),
    Scenario(
        name="bad-line",
        begin=lambda world: submit_keys(world, "a", "much-longer-than-the-rule", "c"),
        script=one_line_is_out,
        finish=to_the_end,
        temper=Temper(batches=BRISK, limits=Bounds(custom_id_max=10)),
    ),
    Scenario(
        name="refused",
        meets=["parked", "superseded"],
        begin=lambda world: submit_keys(world, "a"),
        script=asked_to_decide,
        finish=to_the_end,
        temper=Temper(batches=BRISK, limits=Bounds(max_file_bytes=100)),
    ),
    Scenario(
        name="empty-handed",
        meets=["parked", "superseded"],
        begin=small_and_live,
        script=asked_to_decide,
        finish=to_the_end,
        temper=Temper(batches=BRISK, lines=Lines(missing=1.0)),
    ),
    Scenario(
        name="console",
        meets=["parked", "released_to_collected"],
        begin=console,
        script=asked_to_decide,
        finish=to_the_end,
        temper=Temper(batches=SLOW),
    ),
    Scenario(
        name="steering",
        meets=["job_paused", "provider_paused", "cancel_asked", "cancel_sent", "superseded"],
        begin=hold_up_the_second,
        script=steering,
        finish=to_the_end,
        per_batch=2,
        temper=Temper(batches=SLOW),
    ),
    Scenario(
        name="asking-again",
        meets=["job_reopened"],
        begin=lambda world: small(world) or to_the_end(world),
        script=asking_again,
        finish=to_the_end,
        temper=Temper(batches=BRISK, lines=Lines(content_filter=1.0)),
    ),
    Scenario(
        name="sharing",
        meets=["job_reopened"],
        begin=lambda world: answered_before(world) or all_lines_fail(world),
        script=sharing,
        finish=to_the_end,
    ),
    Scenario(
        name="unfit",
        begin=judged,
        script=asked_once_more,
        finish=to_the_end,
        temper=Temper(batches=BRISK, lines=Lines(invalid_json=1.0)),
    ),
    Scenario(
        name="cancelling",
        meets=["cancel_sent", "superseded"],
        begin=hold_up_all_but_one,
        script=cancelling,
        per_batch=2,
        temper=Temper(batches=SLOW),
    ),
    Scenario(
        name="expiring",
        begin=a_day_at_most,
        script=expired,
        finish=in_a_better_world,
        pace=_RARELY,
        temper=Temper(batches=_EXPIRING),
    ),
    Scenario(
        name="lost",
        meets=["remote_gone", "parked", "released_to_following", "superseded"],
        begin=lambda world: lose_the_batch(world) and None,
        script=given_up,
        finish=to_the_end,
        pace=_RARELY,
    ),
    Scenario(
        name="late",
        meets=["recovered", "superseded"],
        begin=lose_and_find,
        script=taken_late,
        finish=to_the_end,
        pace=_RARELY,
    ),
    Scenario(
        name="forgotten",
        meets=["recovered"],
        begin=forget_the_create,
        script=until_live,
        finish=to_the_end,
    ),
    Scenario(
        name="stray",
        meets=["recovered", "stray_found"],
        begin=forget_the_batch,
        script=until_live,
        finish=to_the_end,
    ),
    Scenario(
        name="cloned",
        meets=["stray_found"],
        begin=a_copy_at_work,
        script=stopped_and_told_to_go_on,
        finish=to_the_end,
        twins=True,
    ),
    Scenario(
        name="judging",
        begin=a_twin_is_met,
        script=judging_by_hand,
        finish=lambda world: world.boot() and to_the_end(world),
        meets=["stray_forgotten", "stray_extra", "identity_changed"],
        twins=True,
    ),
    Scenario(
        name="applying",
        meets=["stage_declared"],
        script=applying,
        finish=both_to_the_end,
    ),
    Scenario(
        name="fed-whole",
        meets=["stage_fed"],
        begin=lambda world: first_has_ended(world, stream=False),
        script=fed,
        finish=both_to_the_end,
    ),
    Scenario(
        name="fed-as-it-comes",
        meets=["stage_fed"],
        begin=lambda world: first_has_ended(world, stream=True),
        script=fed,
        finish=both_to_the_end,
    ),
    Scenario(
        name="flowing",
        meets=["stage_fed"],
        begin=lambda world: api.apply(world.context, flow(world, stream=True), actor="t") and None,
        script=both_to_the_end,
        per_batch=2,
    ),
    Scenario(
        name="fed-with-nothing",
        meets=["stage_held", "stage_resumed", "stage_fed"],
        begin=lambda world: first_has_ended(world, stream=False),
        script=taken_as_it_is,
        finish=both_to_the_end,
        temper=Temper(batches=BRISK, lines=Lines(content_filter=1.0)),
    ),
    Scenario(
        name="mending-a-stage",
        meets=["stage_held", "stage_replaced", "stage_fed"],
        begin=lambda world: first_has_ended(world, stream=False, prompt="{more}"),
        script=mended,
        finish=both_to_the_end,
    ),
    Scenario(
        name="dropping-a-stage",
        meets=["job_cancel_asked", "stage_fed"],
        begin=begun,
        script=dropped,
        finish=both_to_the_end,
        per_batch=1,
        temper=Temper(batches=SLOW),
    ),
    Scenario(name="clock", begin=a_clock_put_right, script=until_live, finish=to_the_end),
    Scenario(
        name="canary",
        meets=["canary_failed", "job_held", "canary_accepted", "job_let_go"],
        script=canary_judged,
        finish=to_the_end,
        temper=Temper(batches=BRISK, lines=Lines(content_filter=1.0)),
    ),
    Scenario(
        name="budget",
        meets=["job_held", "budget_set", "job_let_go"],
        script=budget_reached,
        finish=to_the_end,
        per_batch=2,
    ),
    Scenario(name="changing", script=changing, finish=to_the_end),
    Scenario(
        name="changes-only",
        begin=the_first_of_a_series,
        script=changes_only,
        finish=changed_once,
    ),
    Scenario(name="misconfigured", begin=small, script=misconfigured, finish=to_the_end),
    Scenario(
        name="sinks",
        meets=["delivered"],
        begin=answers_for_sinks,
        script=into_sinks,
        finish=every_sink_has_every_outcome_once,
    ),
    Scenario(
        name="sinks-that-fail",
        meets=["delivery_held", "delivery_released", "delivery_restarted", "delivered"],
        begin=answers_for_bad_sinks,
        script=into_sinks_that_fail,
        finish=every_sink_has_every_outcome_once,
    ),
)
SCENARIOS: Mapping[str, Scenario] = {scenario.name: scenario for scenario in _ALL}
